# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Soft labels for random real images of Digits-100, pairs of scikit-learn's digits.

Paper:    Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
          Distillation", 2024.
Command:  distill-jax label --config=digits100_labels --workdir=runs/labels
Hardware: 2 CPU cores
Reached:  80.3 +- 0.7 % at 1 image per class (34.3 +- 1.1 with hard labels on the same
          images), with labels of two experts after epoch 40 at temperature 4. The
          labels of that epoch at temperature 1 reach 42.7 %.
          42 s where nothing was compiled before, 34 s the second time (the cores had
          other work too); with :runlocal 18 s.
"""

from distill_jax.cli import settings


def get_config(arg=None):
    config = settings.label()
    config.title = "Soft labels on Digits-100"
    config.data.name = "digits100"
    config.num_per_class = 1
    config.network = {"name": "mlp", "hidden": (128,)}
    config.experts.num_experts = 2
    config.experts.num_epochs = 40
    config.experts.learning_rate = 0.1
    config.experts.batch_size = 250
    config.labels.epochs = (4, 6, 8, 12, 24, 40)
    config.labels.temperatures = (1.0, 2.0, 4.0, 8.0)
    config.protocol.learning_rate = 0.05
    config.protocol.num_steps = 600
    config.protocol.augmentation = "none"
    config.evaluate.num_runs = 5
    return settings.finish(config, arg)
