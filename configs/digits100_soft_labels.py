# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a label is worth: soft labels of experts on Digits-100, claim by claim.

Paper:    Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
          Distillation", 2024, on CIFAR-10, CIFAR-100, Tiny ImageNet and ImageNet.
Command:  distill-jax study --config=digits100_soft_labels --workdir=runs/labels_study
Hardware: 2 CPU cores
Reached:  soft labels are better than hard ones by 29.6, 18.8, 10.3 and 5.8 points at 1,
          2, 5 and 10 per class; docs/labels.md has all claims. It takes
          7 minutes; half a minute to a minute with `:runlocal`.
"""

from typing import Any

from distill_jax.cli import settings


def get_config(arg=None):
    config = settings.study()
    study: dict[str, Any] = {
        "name": "soft_labels",
        "data_name": "digits100",
        "network": {"name": "mlp", "hidden": (128,)},
        "sizes": (1, 2, 5, 10),
        "chosen_epochs": (6, 8, 12, 24),
        "expert": {"epochs": (1, 2, 3, 4, 6, 8, 12, 16, 24, 40, 80)},
        "num_draws": 6,
        "student": {"learning_rate": 0.05, "num_steps": (600, 600, 1000, 1500)},
    }
    if arg:  # Few numbers of few images, and no labels that are learned.
        study |= {
            "experiments": (
                *("epochs", "swap", "structure", "top_k", "zero_shot", "ensembles"),
                *("temperature", "difficulty", "spread"),
            ),
            "sizes": (1, 2),
            "chosen_epochs": (6, 8),
            "expert": {"epochs": (1, 4, 6, 8, 12)},
            "student": {"learning_rate": 0.2, "num_steps": 100},
            "num_draws": 3,
        }
    config.study = study
    return settings.finish(config, arg)
