# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""DC, DSA, DCC, DSAC, DM, IDC and CAFE on CIFAR-10 at the papers' settings.

Paper:    those of the methods; their test accuracies at 1, 10 and 50 images per class:
          DC 28.3, 44.9, 53.9; DSA 28.8, 52.1, 60.6; DM 26.0, 48.9, 63.0;
          CAFE 30.3, 46.3, 55.5.
Command:  DISTILL_JAX_DATA=data distill-jax distill \
            --config=configs/cifar10_matching.py:dsa,10 --workdir=runs/cifar10_dsa_10
Hardware: one GPU; not run yet. With :dsa,10,runlocal, 2 CPU cores and a minute.
Reached:  nothing yet; it waits for an accelerator.
"""

from distill_jax.cli import settings

# Outer steps. A network of DC serves as many steps as the loops of the paper say, so
# that its 1000 networks are 1000 steps at 1 image per class and 10,000 at 10; each of
# CAFE's 2000 networks serves ten steps or more.
STEPS = {
    "dsa": {1: 1000, 10: 10_000, 50: 50_000},
    "dc": {1: 1000, 10: 10_000, 50: 50_000},
    "dcc": {1: 10_000, 10: 10_000, 50: 50_000},
    "dsac": {1: 10_000, 10: 10_000, 50: 50_000},
    "dm": {1: 20_000, 10: 20_000, 50: 20_000},
    "idc": {1: 200_000, 10: 200_000, 50: 200_000},
    "cafe": {1: 20_000, 10: 20_000, 50: 20_000},
}
METHODS = list(STEPS)


def get_config(arg=None):
    method, num_per_class, rest = settings.split_arg(arg, METHODS)
    config = settings.default()
    config.title = f"{method.upper()} on CIFAR-10"
    config.data.name = "cifar10"
    config.num_per_class = num_per_class
    config.num_steps = STEPS[method].get(num_per_class, 10_000)
    config.network = {"name": "convnet", "width": 128, "depth": 3}
    config.method = {"name": method}  # All else is the method's own default.
    config.evaluate.num_real_steps = 10_000
    return settings.finish(config, rest)
