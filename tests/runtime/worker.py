# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One of several processes that run a small recipe together, for `test_hosts.py`.

Words: number of processes, number of this one, port, folder, what is spread, steps.
"""

import os
import sys

count, number, port, folder, spread, steps = sys.argv[1:]
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax  # noqa: E402  (after the number of devices)

import distill_jax as dj  # noqa: E402
from distill_jax import errors, experiment, runtime, settings  # noqa: E402
from distill_jax.runtime import hosts  # noqa: E402


def main() -> None:
    if int(count) > 1:
        hosts.join(f"localhost:{port}", int(count), int(number))
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
            evaluate_every=20,
            evaluate_fn=lambda step, synthetic: print("step", step, flush=True) or {},
            progress=False,
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
