# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""FRePo on Fashion-MNIST, sized for ten minutes on two CPU cores.

Paper:    Zhou, Nezhadarya, Ba, "Dataset Distillation using Neural Feature Regression",
          2022. There: 86.2 % at 10 images per class (best checkpoint by test accuracy,
          width 128-256-512, batch norm, 500,000 steps, a GPU); here: width 32 without
          normalisation, batches of 256, a higher learning rate, the final set.
Command:  DISTILL_JAX_DATA=data distill-jax distill \
            --config=configs/fashion_mnist_frepo.py --workdir=runs/fashion_mnist_frepo
Hardware: 2 CPU cores
Reached:  82.8 +- 0.2 % at 10 per class, of five fresh networks; 9.5 minutes of
          distilling.
"""

from distill_jax.cli import settings


def get_config(arg=None):
    config = settings.default()
    config.title = "FRePo on Fashion-MNIST"
    config.data.name = "fashion_mnist"
    config.num_per_class = 10
    config.num_steps = 4000
    config.network = {"name": "convnet", "width": 32, "depth": 3, "norm": "none"}
    config.method = {
        "name": "frepo",
        "optimizer": "adam",
        "learning_rate": 1e-2,
        "ridge": 1e-3,
        "batch_size": 256,
    }
    config.protocol.update(
        learning_rate=1e-3, num_steps=500, warmup_steps=50, augmentation="none"
    )
    config.evaluate.num_curve_runs = 1
    config.evaluate.num_checkpoints = 2
    config.evaluate.num_real_steps = 500
    config.evaluate.num_expert_epochs = 2
    return settings.finish(config, arg)
