# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""What a label is worth on CIFAR-10: ten classes, so little is to be expected.

Paper:    Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
          Distillation", 2024: 21.1 % at 1, 46.3 % at 10, 62.1 % at 50 per class.
Command:  DISTILL_JAX_DATA=data distill-jax study \
            --config=cifar10_soft_labels --workdir=runs/cifar10_labels
Hardware: an accelerator
Reached:  not run here
"""

from typing import Any

from distill_jax.cli import settings


def get_config(arg=None):
    config = settings.study()
    study: dict[str, Any] = {
        "name": "soft_labels",
        "data_name": "cifar10",
        "max_per_class": 5000,
        "experiments": ("epochs", "structure", "temperature"),
        "network": {"name": "convnet", "width": 128, "depth": 3},
        "sizes": (1, 10, 50),
        "chosen_epochs": (20, 40, 128),
        "expert": {
            "epochs": (10, 20, 40, 80, 128, 164),
            "learning_rate": 0.0005,
            "batch_size": 256,
            "augmentation": "color_crop_cutout_flip_scale_rotate",
        },
        "student": {
            "num_steps": (3000, 3000, 6000),
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
