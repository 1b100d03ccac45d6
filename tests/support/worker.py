# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One of several processes that run a small recipe together, for `test_processes.py`.

Words: number of processes, number of this one, port, folder, what is spread, steps,
seconds of patience.
"""

import os
import sys

import jax

import distill_jax as dj
from distill_jax import errors, runtime
from distill_jax.cli import experiment, settings
from distill_jax.compute import processes


def main() -> None:
    count, number, port, folder, spread, steps, patience = sys.argv[1:]
    if int(count) > 1:
        processes.join(
            f"localhost:{port}", int(count), int(number), patience=int(patience)
        )
    config = settings.finish(settings.default(), "runlocal")
    config.network = {"name": "mlp", "hidden": (16,)}
    config.method = {"name": "dm", "batch_size": 16, "augmentation": "none"}
    config.num_devices, config.spread = len(jax.devices()), spread
    built = experiment.build(config)
    print("devices", len(jax.devices()), flush=True)
    try:
        state, _ = dj.run(
            built.recipe,
            built.dataset,
            num_steps=int(steps),
            key=jax.random.key(0),
            workdir=folder,
            checkpoint_every=20,
            evaluation=runtime.EvaluationOptions(
                lambda step, synthetic: print("step", step, flush=True) or {}, 20
            ),
            logging=runtime.LoggingOptions(progress=False),
        )
    except runtime.Interrupted as stop:
        print("stopped", stop, flush=True)
        sys.exit(128 + stop.signum)
    except errors.LostProcessError as error:
        print("lost", error, flush=True)
        os._exit(4)
    total = float(abs(jax.device_get(state.latent.learned["x"])).sum())
    print("done", int(state.step), total, flush=True)


if __name__ == "__main__":
    main()
