# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""CAFE on scikit-learn's digits.

Paper:    Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features", 2022.
Command:  distill-jax distill --config=configs/digits_cafe.py --workdir=runs/digits_cafe
Hardware: 2 CPU cores
Reached:  97.6 +- 0.4 % at 10 per class, of five fresh networks; 34 s of distilling on a
          busy machine. Settings were chosen on the validation split alone.
"""

from distill_jax.cli import settings


def get_config(arg=None):
    config = settings.default()
    config.title = "CAFE on digits"
    config.data.name = "digits"
    config.num_per_class = 10
    config.num_steps = 400
    config.network = {"name": "convnet", "width": 32, "depth": 2}
    config.method = {
        "name": "cafe",
        "batch_size": 64,
        "learning_rate": 0.1,
        "initialisation": "real",
        "num_queries": 16,
        "max_epochs": 10,
        "augmentation": "color_crop_cutout_scale_rotate",
    }
    return settings.finish(config, arg)
