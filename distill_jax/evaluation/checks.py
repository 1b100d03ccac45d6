# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation refuses before anything is trained."""

from typing import Any

import numpy as np

from distill_jax import data as data_lib
from distill_jax import errors

__all__ = ["check_split", "check_synthetic"]


def check_split(data: data_lib.Dataset, split: str) -> None:
    """Raises unless accuracies can be measured on a split.

    Args:
      data: with splits of classes.
      split: its name.

    Raises:
      InputError: if there is no such split, or nothing in it to measure on.

    Example:
      >>> check_split(data_lib.load("digits"), "validation")
    """
    known = ("test", "validation", "train")
    if split not in known:
        raise errors.InputError(
            f'There is no split "{split}". {errors.nearest(str(split), known)}'
        )
    labels = getattr(data, split).y
    if len(labels) == 0:
        raise errors.InputError(
            f'The {split} split of "{data.spec.name}" is empty, so nothing can be '
            "tested on it; use another split or a larger `validation_fraction`."
        )
    if np.ndim(labels) != 1:
        raise errors.InputError(
            f'The examples of "{data.spec.name}" have targets of shape '
            f"{np.shape(labels)}, not classes, so there is no accuracy to measure."
        )


def check_synthetic(synthetic: Any, data: data_lib.Dataset) -> None:
    """Raises unless a distilled set has the shapes of a data set.

    Args:
      synthetic: M rows, with labels [M, C].
      data: that networks trained on the set are tested on.

    Raises:
      InputError: if the shape of an example or the number of classes differ.

    Example:
      >>> import distill_jax as dj
      >>> ones = dj.Synthetic(x=np.ones((10, 8, 8, 1)), y=np.eye(10))
      >>> check_synthetic(ones, data_lib.load("digits"))
    """
    spec = data.spec
    shape, num_classes = np.shape(synthetic.x)[1:], np.shape(synthetic.y)[-1]
    if shape != tuple(spec.shape) or num_classes != spec.num_classes:
        raise errors.InputError(
            f"The distilled set has examples of shape {shape} with {num_classes} "
            f'classes, but "{spec.name}" has {tuple(spec.shape)} with '
            f"{spec.num_classes}; use the data set it was made from."
        )
