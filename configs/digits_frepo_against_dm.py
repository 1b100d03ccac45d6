# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""FRePo against DM at three sizes on scikit-learn's digits: a small example of a study.

Paper:    Zhou, Nezhadarya, Ba, "Dataset Distillation using Neural Feature Regression",
          2022, which compares the two on CIFAR-10.
Command:  distill-jax study --config=digits_frepo_against_dm --workdir=runs/study
Hardware: 2 CPU cores
Reached:  see below
"""

from distill_jax.cli import settings


def get_config(arg=None):
    config = settings.study()
    config.study = {
        "name": "frepo_against_dm",
        "data_name": "digits",
        "sizes": (1, 2, 3),
        "num_seeds": 6,
        "num_steps": 1000,
        "num_training_steps": 300,
        "num_runs": 2,
        "hidden": (256,),
    }
    return settings.finish(config, arg)
