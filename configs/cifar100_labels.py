# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Soft labels for random real images of CIFAR-100, at the settings of the paper.

Paper:    Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
          Distillation", 2024, Table 7; its test accuracies (Table 2): 16.0, 34.3, 47.1
          and 51.3 at 1, 10, 50 and 100 images per class, with epoch and rate chosen on
          the test set.
Command:  DISTILL_JAX_DATA=data distill-jax label --config=cifar100_labels:10 \
            --workdir=runs/cifar100_labels
Hardware: one GPU; not run here.
Reached:  nothing yet; it waits for the data and an accelerator.
"""

from distill_jax.cli import settings
from distill_jax.labels import published


def get_config(arg=None):
    _, num_per_class, rest = settings.split_arg(arg, ["labels"])
    row = published.row_for("cifar100", num_per_class)
    config = settings.label()
    config.title = f"Soft labels on CIFAR-100 at {num_per_class} per class"
    config.data.name = "cifar100"
    config.num_per_class = num_per_class
    config.network = {"name": "convnet", "width": 128, "depth": 3}
    config.experts.num_epochs = 126
    config.experts.learning_rate = row.expert_rate
    config.experts.augmentation = "color_crop_cutout_flip_scale_rotate"
    # The published epochs, and some between them.
    config.labels.epochs = (6, 9, 13, 20, 36, 57, 90, 125)
    config.protocol.learning_rate = row.student_rate
    return settings.finish(config, rest)
