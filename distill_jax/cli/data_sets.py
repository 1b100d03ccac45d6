# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The data set of a config, whole or in part."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import data, errors
from distill_jax.data import dataset as datasets

__all__ = ["check_fingerprint", "load_for"]


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
    limits = {
        name: section[name]
        for name in ("max_per_class", "max_test_per_class")
        if section.get(name) is not None
    }
    errors.check_counts(of="`config.data`", **limits)
    if most := limits.get("max_per_class"):
        chosen = np.concatenate(_part_of(dataset.train, dataset.spec, most))
        selection = data.make_selection(dataset, chosen)
        dataset = data.select(dataset, selection)
    if most := limits.get("max_test_per_class"):
        dataset = _with_part_of_tests(dataset, most)
    return dataset


def check_fingerprint(stored: Any, dataset: data.Dataset) -> None:
    """Raises unless a distilled set was made from this data set.

    Args:
      stored: a :class:`~distill_jax.DistilledSet`.
      dataset: at hand.

    Raises:
      InputError: when their fingerprints differ.

    Example:
      >>> import distill_jax as dj
      >>> stored = dj.DistilledSet(x=np.eye(2), y=np.eye(2), data_fingerprint="f")
      >>> check_fingerprint(stored, data.load("digits"))
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The data set "digits" at hand is not the one that \
the distilled set was made from (their fingerprints differ); point --data_dir to the \
same files, and keep normalisation and validation split.
    """
    if dataset.spec.fingerprint != stored.data_fingerprint:
        raise errors.InputError(
            f'The data set "{dataset.spec.name}" at hand is not the one that the '
            "distilled set was made from (their fingerprints differ); point --data_dir "
            "to the same files, and keep normalisation and validation split."
        )


def _part_of(split: data.Arrays, spec: data.DataSpec, most: int) -> list[np.ndarray]:
    """At most so many positions of each class, random, and nested in `most`."""
    classes = data.groups_of(split.y, spec.num_classes)
    rng = np.random.default_rng(0)
    return [
        rng.permutation(np.flatnonzero(classes == label))[:most]
        for label in np.unique(classes)
    ]


def _with_part_of_tests(dataset: data.Dataset, most: int) -> data.Dataset:
    """The data set with at most so many held-out examples of each class."""
    parts, rows = {}, dict(dataset.rows)
    total = len(dataset.validation.y) + len(dataset.test.y)
    for name in ("validation", "test"):
        split = getattr(dataset, name)
        if not len(split.y):
            continue
        kept = np.sort(np.concatenate(_part_of(split, dataset.spec, most)))
        parts[name] = data.Arrays(split.x[kept], split.y[kept])
        rows[name] = rows[name][kept]
    if sum(len(part.y) for part in parts.values()) == total:
        return dataset
    fingerprint = datasets.fingerprint(
        [rows["validation"], rows["test"]], dataset.spec.fingerprint
    )
    spec = dataclasses.replace(dataset.spec, fingerprint=fingerprint)
    return dataclasses.replace(dataset, **parts, spec=spec, rows=rows)
