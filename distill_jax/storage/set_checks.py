# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a distilled set must be before it is stored, and after it is read."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.storage import label_checks

__all__ = [
    "NORMALIZER_FIELDS",
    "check_facts",
    "check_normalizer",
    "check_rows",
    "check_targets",
]

NORMALIZER_FIELDS = ("scale", "mean", "std", "whiten", "unwhiten", "pixel_range")
_TARGET_FIELDS = ("target_mean", "target_std")  # Of values; since version 2.


def check_rows(x: Any, y: Any, weight: Any, target: Any) -> None:
    """Raises unless the arrays of a set have the same rows.

    Args:
      x: [M, ...], or arrays [M_k, ...] by their names.
      y: [M, C], or arrays [M_k, C] for some of the names of ``x``; ``None`` where ``x``
        has names and nothing is labelled.
      weight: the same without the last axis, or ``None``.
      target: the same as ``y``, or ``None``.

    Raises:
      InputError: if they do not fit each other.

    Example:
      >>> check_rows({"edge": np.ones((4, 2))}, None, {"edge": np.ones(4)}, None)
    """
    if not isinstance(x, Mapping):
        _check_one_array(x, y)
    for name, array in x.items() if isinstance(x, Mapping) else ():
        if not array.ndim or not len(array):
            raise errors.InputError(
                f"`x[{name!r}]` has the shape {list(array.shape)}; an array of a "
                "distilled set needs at least 1 row."
            )
    for name, value, num_axes in (
        ("y", y, 2),
        ("target", target, 2),
        ("weight", weight, 1),
    ):
        _check_beside(name, value, num_axes, x)


def check_targets(targets: str, label_mass: str, y: Any, target: Any) -> None:
    """Raises unless labels are what a set says that they are.

    Args:
      targets: the kind of ``y`` and ``target``.
      label_mass: ``"one"`` or ``"free"``.
      y: an array, arrays by their names, or ``None``.
      target: the same.

    Raises:
      InputError: for an unknown word, or labels that are something else.

    Example:
      >>> check_targets("probabilities", "one", np.eye(2), None)
    """
    for name, word, known in (
        ("targets", targets, label_checks.TARGETS),
        ("label_mass", label_mass, label_checks.LABEL_MASSES),
    ):
        if word not in known:
            raise errors.InputError(
                f"`{name}` is {word!r}, which says nothing about `y`. "
                f"{errors.nearest(str(word), known)}"
            )
    for name, value in (("y", y), ("target", target)):
        named = value if isinstance(value, Mapping) else {None: value}
        for key, labels in named.items():
            full = f"`{name}`" if key is None else f"`{name}[{key!r}]`"
            if labels is not None:
                label_checks.check_labels(labels, targets, label_mass, name=full)


def check_normalizer(normalizer: Mapping[str, Any], x: Any) -> None:
    """Raises unless a normaliser can be inverted.

    Args:
      normalizer: arrays by their names; empty for none.
      x: what it belongs to.

    Raises:
      InputError: if a part is missing or unknown, or ``x`` has several arrays.

    Example:
      >>> check_normalizer({"scale": 1, "mean": 0, "std": 1}, np.ones((2, 3)))
    """
    names = set(normalizer)
    known = {*NORMALIZER_FIELDS, *_TARGET_FIELDS}
    pairs = (("whiten", "unwhiten"), _TARGET_FIELDS)
    is_complete = {"scale", "mean", "std"} <= names <= known
    if names and not (is_complete and all(len({*p} & names) != 1 for p in pairs)):
        raise errors.InputError(
            f"The normaliser has {sorted(names)}, which cannot be inverted; it needs "
            "scale, mean and std, whiten and unwhiten together or not at all, and "
            "target_mean and target_std likewise."
        )
    if names and isinstance(x, Mapping):
        raise errors.InputError(
            f"`x` has the arrays {sorted(x)}, but a normaliser belongs to one array; "
            "store what the networks see, without a normaliser."
        )


def check_facts(facts: Mapping[str, Any]) -> None:
    """Raises unless what is told of a set has the form that readers rely on.

    Args:
      facts: the fields of a set that are no arrays, by name.

    Raises:
      InputError: for texts that are none, or fields without names.

    Example:
      >>> check_facts({"targets": "probabilities", "recipe": {}})
    """
    for name, value in facts.items():
        is_text = name in ("targets", "data_fingerprint")
        if not isinstance(value, str if is_text else Mapping):
            raise errors.InputError(
                f"`{name}` of a distilled set is of type {type(value).__name__}; it "
                f"must be {'a text' if is_text else 'a dictionary'}."
            )


def _check_one_array(x: np.ndarray, y: Any) -> None:
    if y is None:
        raise errors.InputError(
            f"`x` has the shape {list(x.shape)} and there is no `y`; a distilled set "
            'must have x, y, or a mapping as `x`: {"interior": points}.'
        )
    is_label = isinstance(y, np.ndarray)
    shape = list(y.shape) if is_label else f"the arrays {sorted(y)}"
    if x.ndim < 2 or not len(x) or not is_label or y.ndim != 2 or len(x) != len(y):
        raise errors.InputError(
            f"`x` has the shape {list(x.shape)} and `y` {shape}; a distilled "
            "set needs x [M, ...] and y [M, C] with the same M of at least 1."
        )


def _check_beside(name: str, value: Any, num_axes: int, x: Any) -> None:
    """Raises unless there is a row for each of the examples."""
    wanted = {1: "one weight", 2: "one row"}[num_axes]
    if isinstance(value, Mapping):
        if not isinstance(x, Mapping) or not set(value) <= set(x):
            known = sorted(x) if isinstance(x, Mapping) else "one array without a name"
            raise errors.InputError(
                f"`{name}` has the arrays {sorted(value)}, but `x` has {known}; use "
                "the names of `x`."
            )
        pairs = [(f"{name}[{key!r}]", value[key], x[key]) for key in value]
    elif value is None:
        pairs = []
    else:
        arrays = x.values() if isinstance(x, Mapping) else [x]
        pairs = [(name, value, array) for array in arrays]
    for full, array, examples in pairs:
        if array.ndim != num_axes or len(array) != len(examples):
            raise errors.InputError(
                f"`{full}` has the shape {list(array.shape)}, but there are "
                f"{len(examples)} examples; pass {wanted} for each, or None"
                + (
                    ", or a mapping where the arrays of `x` have rows of their own."
                    if isinstance(x, Mapping)
                    else "."
                )
            )
