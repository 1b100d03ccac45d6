# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""FRePo on scikit-learn's digits: the demo.

Paper:    Zhou, Nezhadarya, Ba, "Dataset Distillation using Neural Feature Regression",
          2022; here with a pool of wide perceptrons in place of convolutional networks.
Command:  distill-jax distill --config=configs/digits_frepo.py --workdir=runs/digits
Hardware: 2 CPU cores
Reached:  92.7 +- 0.7 % at 1 per class (3000 steps, 7 s) and 97.9 +- 0.2 % at 10 (1000
          steps, 8 s), of five fresh networks.
"""

from distill_jax.cli import settings


def get_config(arg=None):
    config = settings.default()
    config.title = "FRePo on digits"
    config.data.name = "digits"
    config.num_per_class = 10
    config.num_steps = 1000
    config.evaluate.num_real_steps = 300
    config.evaluate.expert_learning_rate = 0.1
    config.network = {"name": "mlp", "hidden": (512, 512)}
    config.method = {
        "name": "frepo",
        "optimizer": "adam",
        "learning_rate": 1e-2,
        "ridge": 1e-3,
        "batch_size": 960,
    }
    config.protocol.update(
        learning_rate=1e-3, num_steps=300, warmup_steps=30, augmentation="none"
    )
    return settings.finish(config, arg)
