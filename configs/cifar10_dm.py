# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""DM on CIFAR-10 at the paper's settings.

Paper:    Zhao, Bilen, "Dataset Condensation with Distribution Matching", 2023: 26.0,
          48.9 and 63.0 % at 1, 10 and 50 images per class.
Command:  DISTILL_JAX_DATA=data distill-jax distill --config=configs/cifar10_dm.py \
            --workdir=runs/cifar10_dm
Hardware: one GPU; not run yet. With :runlocal, 2 CPU cores and a minute.
Reached:  nothing yet; it waits for an accelerator.
"""

from distill_jax import settings


def get_config(arg=None):
    config = settings.default()
    config.title = "DM on CIFAR-10"
    config.data.name = "cifar10"
    config.num_per_class = 10
    config.num_steps = 20000
    config.network = {"name": "convnet", "width": 128, "depth": 3}
    config.method = {
        "name": "dm",
        "batch_size": 256,
        "learning_rate": 1.0,
        "augmentation": "color_crop_cutout_flip_scale_rotate",
    }
    config.evaluate.num_real_steps = 10000
    return settings.finish(config, arg)
