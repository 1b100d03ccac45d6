# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distilled sets of the same data become one."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.storage.distilled import DistilledSet

__all__ = ["merge"]


def merge(*sets: DistilledSet) -> DistilledSet:
    """Joins distilled sets of the same data in the same space.

    Rows stay class-major where every set has the same number of rows for each class.
    Absent weights count as ones where another set has weights. Recipes and configs that
    differ are kept as lists under ``"merged"``; results are dropped, since they belong
    to the parts.

    Args:
      *sets: at least one set.

    Returns:
      One set with the rows of all.

    Raises:
      InputError: for no sets, or sets that differ in targets, data fingerprint,
        classes, shape of the examples, normaliser or learning rate.

    Example:
      >>> one = DistilledSet(x=np.array([[1.0], [2.0]]), y=np.eye(2))
      >>> two = DistilledSet(x=np.array([[3.0], [4.0]]), y=np.eye(2))
      >>> merge(one, two).x.ravel().tolist()
      [1.0, 3.0, 2.0, 4.0]
    """
    if not sets:
        raise errors.InputError("`merge` was given nothing; pass one set or more.")
    first = sets[0]
    for position, other in enumerate(sets[1:], start=2):
        _check_mergeable(first, other, position)
    weight = None
    if any(one.weight is not None for one in sets):
        weights = [np.ones(len(s.x)) if s.weight is None else s.weight for s in sets]
        weight = _interleave(weights, sets)
    return dataclasses.replace(
        first,
        x=_interleave([one.x for one in sets], sets),
        y=_interleave([one.y for one in sets], sets),
        weight=weight,
        recipe=_common([one.recipe for one in sets]),
        config=_common([one.config for one in sets]),
        results={},
    )


def _interleave(parts: list[np.ndarray], sets: tuple[DistilledSet, ...]) -> np.ndarray:
    """Concatenates rows, class by class where the sets are class-major."""
    num_classes = sets[0].y.shape[1]
    if sets[0].targets == "values" or any(len(p) % num_classes for p in parts):
        return np.concatenate(parts)
    blocks = [p.reshape(num_classes, -1, *p.shape[1:]) for p in parts]
    joined = np.concatenate(blocks, axis=1)
    return joined.reshape(-1, *joined.shape[2:])


def _common(mappings: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The mapping all agree on, or all of them under "merged"."""
    if all(mapping == mappings[0] for mapping in mappings):
        return mappings[0]
    return {"merged": mappings}


def _check_mergeable(first: DistilledSet, other: DistilledSet, position: int) -> None:
    """Raises unless two sets have everything but their rows in common."""
    facts = {
        "targets": lambda s: s.targets,
        "data fingerprint": lambda s: s.data_fingerprint,
        "number of classes": lambda s: s.y.shape[1],
        "class names": lambda s: s.data.get("class_names"),
        "shape of the examples": lambda s: list(s.x.shape[1:]),
        "learning rate": lambda s: s.learning_rate,
        "parts of the normaliser": lambda s: sorted(s.normalizer),
    }
    for what, of in facts.items():
        if of(first) != of(other):
            raise errors.InputError(
                f"Set 1 and set {position} differ in the {what} ({of(first)} and "
                f"{of(other)}), so one network cannot train on both; merge sets "
                f"that have the same {what}."
            )
    for name, array in first.normalizer.items():
        if not np.array_equal(array, other.normalizer[name]):
            raise errors.InputError(
                f"Set 1 and set {position} differ in the {name} of the normaliser, so "
                "their examples live in different spaces; distil both with the same "
                "normalisation."
            )
