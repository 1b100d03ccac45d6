# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""DM on Fashion-MNIST, sized for seven minutes on two CPU cores.

Paper:    Zhao, Bilen, "Dataset Condensation with Distribution Matching", 2023; there
          with width 128 and 20,000 steps.
Command:  DISTILL_JAX_DATA=data distill-jax distill \
            --config=configs/fashion_mnist_dm.py --workdir=runs/fashion_mnist_dm
Hardware: 2 CPU cores
Reached:  81.6 +- 0.4 % at 10 per class, of five fresh networks; 6.6 minutes of
          distilling.
"""

from distill_jax.cli import settings


def get_config(arg=None):
    config = settings.default()
    config.title = "DM on Fashion-MNIST"
    config.data.name = "fashion_mnist"
    config.num_per_class = 10
    config.num_steps = 2500
    config.network = {"name": "convnet", "width": 32, "depth": 3}
    config.method = {
        "name": "dm",
        "batch_size": 64,
        "learning_rate": 1.0,
        "augmentation": "color_crop_cutout_flip_scale_rotate",
    }
    config.evaluate.num_curve_runs = 1
    config.evaluate.num_checkpoints = 2
    config.evaluate.num_real_steps = 500
    config.evaluate.num_expert_epochs = 2
    config.protocol.num_epochs = 301  # the paper: 1001
    return settings.finish(config, arg)
