# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""MTT, FTD, TESLA and DATM on CIFAR-10 at the papers' settings.

Paper:    those of the methods; their test accuracies at 1, 10 and 50 images per class:
          MTT 46.2, 65.4, 71.6; FTD 46.8, 66.6, 73.8; TESLA 48.5, 66.4, 72.6;
          DATM 46.9, 66.8, 76.1.
Command:  DISTILL_JAX_DATA=data distill-jax distill \
            --config=configs/cifar10_trajectory.py:mtt,10 --workdir=runs/cifar10_mtt
Hardware: one GPU; not run yet, neither whole nor with :mtt,10,runlocal.
Reached:  nothing yet; it waits for an accelerator.
"""

from distill_jax.cli import settings
from distill_jax.methods import published_trajectories as published

METHODS = ["mtt", "ftd", "tesla", "datm"]


def get_config(arg=None):
    method, num_per_class, rest = settings.split_arg(arg, METHODS)
    config = settings.default()
    config.title = f"{method.upper()} on CIFAR-10"
    config.data.name = "cifar10"
    row = published.TRAJECTORIES[method].get(("cifar10", num_per_class))
    config.data.normalization = "zca" if row is not None and row.is_zca else "published"
    config.num_per_class = num_per_class
    config.num_steps = 5000
    config.network = {"name": "convnet", "width": 128, "depth": 3}
    kind = "flat" if method in ("ftd", "datm") else "plain"
    # All else is the method's own default; without a row, that of the nearest.
    config.method = {
        "name": method,
        "experts": dict(published.EXPERTS[method]),
        "buffer": f"runs/experts/cifar10_{kind}_{config.data.normalization}_"
        f"{method}_{num_per_class}",
    }
    config.evaluate.num_real_steps = 10_000
    return settings.finish(config, rest)
