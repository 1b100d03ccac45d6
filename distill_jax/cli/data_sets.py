# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The data set of a config, whole or in part."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import data, errors

__all__ = ["load_for"]


def load_for(config: Mapping[str, Any]) -> data.Dataset:
    """Loads the data set of a config.

    Args:
      config: a config, or a dictionary with its section ``data``.

    Returns:
      The data set.

    Raises:
      InputError: when it cannot be loaded, or less than one example of each class is
        to be kept.

    Example:
      >>> from distill_jax.cli import settings
      >>> load_for(settings.default()).spec.shape
      (8, 8, 1)
    """
    section = config["data"]
    dataset = data.load(
        section["name"],
        section["data_dir"],
        normalization=section["normalization"],
        validation_fraction=section["validation_fraction"],
    )
    most = section.get("max_per_class")
    return dataset if most is None else _part_of(dataset, most)


def _part_of(dataset: data.Dataset, most: int) -> data.Dataset:
    """The data set with at most so many training examples of each class, nested."""
    errors.check_counts(of="`config.data`", max_per_class=most)
    classes = data.groups_of(dataset.train.y, dataset.spec.num_classes)
    rng = np.random.default_rng(0)
    chosen = [
        rng.permutation(np.flatnonzero(classes == label))[:most]
        for label in np.unique(classes)
    ]
    return data.select(dataset, data.make_selection(dataset, np.concatenate(chosen)))
