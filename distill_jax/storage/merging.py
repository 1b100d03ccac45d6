# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distilled sets of the same data become one."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.storage.distilled import DistilledSet

__all__ = ["merge"]


def merge(*sets: DistilledSet) -> DistilledSet:
    """Joins distilled sets of the same data in the same space.

    Rows stay class-major where every set has the same number of rows for each class.
    Absent weights count as ones where another set has weights, and absent targets as
    labels. Labels whose mass is free in one set are free in all. Recipes and configs
    that differ are kept as lists under ``"merged"``; results are dropped, since they
    belong to the parts.

    Args:
      *sets: at least one set.

    Returns:
      One set with the rows of all.

    Raises:
      InputError: for no sets, or sets that differ in targets, data fingerprint,
        arrays, classes, shape of the examples, normaliser or learning rate.

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
    join = functools.partial(_join, num_classes=_num_classes(sets))
    weight = target = None
    if any(one.weight is not None for one in sets):
        weight = join([_weights(one) for one in sets])
    if any(one.target is not None for one in sets):
        target = join([_target(one) for one in sets])
    masses = {one.label_mass for one in sets}
    return dataclasses.replace(
        first,
        x=join([one.x for one in sets]),
        y=join([one.y for one in sets]),
        weight=weight,
        target=target,
        label_mass="free" if "free" in masses else "one",
        recipe=_common([one.recipe for one in sets]),
        config=_common([one.config for one in sets]),
        results={},
    )


def _num_classes(sets: tuple[DistilledSet, ...]) -> int:
    """Of class-major sets their classes; one where rows are in no such order."""
    y = sets[0].y
    if sets[0].targets == "values" or not isinstance(y, np.ndarray):
        return 1
    num_classes = y.shape[1]
    return 1 if any(one.num_examples % num_classes for one in sets) else num_classes


def _join(parts: list[Any], num_classes: int) -> Any:
    """Concatenates rows, class by class; of several arrays each by itself."""
    if parts[0] is None:
        return None
    if isinstance(parts[0], Mapping):
        names = parts[0]
        return {n: _join([part[n] for part in parts], num_classes) for n in names}
    blocks = [part.reshape(num_classes, -1, *part.shape[1:]) for part in parts]
    joined = np.concatenate(blocks, axis=1)
    return joined.reshape(-1, *joined.shape[2:])


def _weights(one: DistilledSet) -> Any:
    """The weights of a set, with ones for the arrays that have none."""
    if isinstance(one.x, Mapping):
        own = one.weight or {}
        if not isinstance(own, Mapping):  # The same for all arrays.
            return {name: own for name in one.x}
        return {n: own.get(n, np.ones(len(one.x[n]), np.float32)) for n in one.x}
    return np.ones(len(one.x), np.float32) if one.weight is None else one.weight


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
        "number of classes": lambda s: _columns(s.y),
        "number of columns of the target": lambda s: _columns(_target(s)),
        "class names": lambda s: s.data.get("class_names"),
        "shape of the examples": lambda s: _shapes(s.x),
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


def _target(one: DistilledSet) -> Any:
    return one.y if one.target is None else one.target


def _shapes(x: Any) -> Any:
    """The shape of one example; by name where there are several arrays."""
    if isinstance(x, Mapping):
        return {name: list(array.shape[1:]) for name, array in x.items()}
    return list(x.shape[1:])


def _columns(y: Any) -> Any:
    """The number of columns; by name where there are several arrays."""
    if isinstance(y, Mapping):
        return {name: array.shape[1] for name, array in y.items()}
    return None if y is None else y.shape[1]
