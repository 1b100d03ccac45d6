# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The run that the tests kill: ``python child.py WORKDIR``."""

import signal
import sys

import jax
import toy

from distill_jax import runtime

ARGUMENTS = {
    "num_steps": 80,
    "checkpoint_every": 4,
    "logging": runtime.LoggingOptions(log_every=3),
    "evaluation": runtime.EvaluationOptions(toy.evaluate, 18),
}
NUM_INNER = 500_000  # Two megabytes, so that a save takes a while.


def run(workdir):
    return runtime.run(
        toy.recipe(NUM_INNER),
        toy.DATA,
        key=jax.random.key(toy.KEY_SEED),
        workdir=workdir,
        config={"name": "child"},
        **ARGUMENTS,
    )


def main() -> None:
    # A test that itself runs in the background would hand down an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run(sys.argv[1])
    except runtime.Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(128 + interrupted.signum)


if __name__ == "__main__":
    main()
