# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Soft labels for random real images of CIFAR-10, at the settings of the paper.

Paper:    Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
          Distillation", 2024, Table 7; its test accuracies (Table 2): 21.1, 46.3 and
          62.1 at 1, 10 and 50 images per class, with epoch and rate chosen on the test
          set.
Command:  DISTILL_JAX_DATA=data distill-jax label --config=cifar10_labels:10 \
            --workdir=runs/cifar10_labels
Hardware: one GPU; not run here. With :10,runlocal, 2 CPU cores and a minute.
Reached:  nothing yet; it waits for an accelerator.
"""

from distill_jax.cli import settings
from distill_jax.labels import published


def get_config(arg=None):
    _, num_per_class, rest = settings.split_arg(arg, ["labels"])
    row = published.row_for("cifar10", num_per_class)
    config = settings.label()
    config.title = f"Soft labels on CIFAR-10 at {num_per_class} per class"
    config.data.name = "cifar10"
    config.data.normalization = "zca"
    config.num_per_class = num_per_class
    config.network = {"name": "convnet", "width": 128, "depth": 3}
    config.experts.num_epochs = 165
    config.experts.learning_rate = row.expert_rate
    config.experts.augmentation = "color_crop_cutout_flip_scale_rotate"
    # The published epoch, and those of other sizes around it.
    config.labels.epochs = (10, 20, 30, 44, 64, 90, 128, 164)
    config.protocol.learning_rate = row.student_rate
    return settings.finish(config, rest)
