# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The sections that configs of several kinds have, with the defaults of their fields.

Fields that are ``None`` keep the type they are declared with.
"""

from typing import Any

from ml_collections import config_dict

__all__ = ["data", "protocol"]


def data() -> dict[str, Any]:
    """Returns the section that says which data set is meant.

    Example:
      >>> data()["name"]
      'digits'
    """
    return {
        "name": "digits",
        "data_dir": config_dict.placeholder(str),  # else DISTILL_JAX_DATA
        "normalization": "auto",
        "validation_fraction": config_dict.placeholder(float),
        # Random training examples of each class that are kept; all where None.
        "max_per_class": config_dict.placeholder(int),
        # The same of the validation and the test split, for quick looks alone.
        "max_test_per_class": config_dict.placeholder(int),
    }


def protocol() -> dict[str, Any]:
    """Returns the section of overrides of a protocol.

    Example:
      >>> len(protocol())
      14
    """
    return {
        "optimizer": config_dict.placeholder(str),
        "learning_rate": config_dict.placeholder(float),
        "momentum": config_dict.placeholder(float),
        "weight_decay": config_dict.placeholder(float),
        "schedule": config_dict.placeholder(str),
        "decay_rate": config_dict.placeholder(float),
        "warmup_steps": config_dict.placeholder(int),
        "batch_size": config_dict.placeholder(int),
        "num_epochs": config_dict.placeholder(int),
        "num_steps": config_dict.placeholder(int),
        "mixing": config_dict.placeholder(str),
        "mixing_probability": config_dict.placeholder(float),
        "augmentation": config_dict.placeholder(str),
        "augmentation_align_corners": config_dict.placeholder(bool),
    }
