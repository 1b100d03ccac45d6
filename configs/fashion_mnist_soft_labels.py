# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""What a label is worth on Fashion-MNIST: ten classes, so little is to be expected.

Paper:    Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
          Distillation", 2024; it has no Fashion-MNIST.
Command:  DISTILL_JAX_DATA=data distill-jax study \
            --config=fashion_mnist_soft_labels --workdir=runs/fashion_mnist_labels
Hardware: 2 CPU cores
Reached:  see docs/labels.md
"""

from typing import Any

from distill_jax.cli import settings


def get_config(arg=None):
    config = settings.study()
    study: dict[str, Any] = {
        "name": "soft_labels",
        "data_name": "fashion_mnist",
        "max_per_class": 1000,
        "experiments": ("epochs", "structure", "temperature"),
        "network": {"name": "convnet", "width": 32, "depth": 3},
        "sizes": (1, 10),
        "chosen_epochs": (4, 8),
        "expert": {
            "epochs": (1, 2, 4, 8, 16),
            "learning_rate": 0.01,
            "batch_size": 64,
            "augmentation": "color_crop_cutout_flip_scale_rotate",
        },
        "student": {
            "num_steps": (300, 600),
            "learning_rate": 0.01,
            "augmentation": "color_crop_cutout_flip_scale_rotate",
        },
        "num_draws": 3,
    }
    if arg:
        study |= {"max_per_class": 50, "sizes": (1, 2), "chosen_epochs": (1, 2)}
        study["experiments"] = ("epochs",)
        study["network"]["width"] = 8
        study["expert"]["epochs"] = (1, 2)
        study["student"]["num_steps"] = (20, 20)
    config.study = study
    return settings.finish(config, arg)
