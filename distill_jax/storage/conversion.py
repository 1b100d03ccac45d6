# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns what is passed into what two files can hold, and back.

An array of a set is stored under its name, a mapping of arrays under its name and
theirs: ``x`` alone, or ``x_interior`` and ``x_boundary``.
"""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.storage import label_checks

__all__ = ["flatten", "nest", "precision_of", "to_array", "to_arrays", "to_plain"]


def to_array(value: Any, name: str, dtypes: Any = np.float32) -> np.ndarray:
    """Makes a finite array on the host.

    Args:
      value: numbers of any kind.
      name: what it is called in a sentence.
      dtypes: the types that are kept, the first of which everything else gets.

    Raises:
      InputError: for what is not numbers, or not finite.

    Example:
      >>> to_array([1, 2], "x").dtype, to_array(np.ones(2), "x", ("f4", "f8")).dtype
      (dtype('float32'), dtype('float64'))
    """
    usual, *others = map(np.dtype, dtypes if isinstance(dtypes, tuple) else (dtypes,))
    try:
        array = np.asarray(value)
        if array.dtype.kind == "c":
            raise TypeError("they are complex")
        is_kept = hasattr(value, "dtype") and array.dtype in others
        with np.errstate(over="ignore"):  # What becomes infinite is refused below.
            array = array.astype(array.dtype if is_kept else usual, copy=False)
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f"`{name}` is not an array of numbers ({error}); pass numbers."
        ) from error
    label_checks.check_finite(array, f"`{name}`")
    return array


def to_arrays(value: Any, name: str, dtypes: Any, *, named: Any = None) -> Any:
    """Makes an array, or a dictionary of arrays.

    Args:
      value: numbers, or a mapping of names to numbers; ``None`` stays what it is, and
        what a mapping has ``None`` for is left out.
      name: what it is called in a sentence.
      dtypes: as :func:`to_array` takes them.
      named: the same for the arrays of a mapping, where that differs.

    Raises:
      InputError: for what is not numbers or not finite, a mapping without arrays, or a
        name that is not one.

    Example:
      >>> to_arrays({"inside": [[1, 2]], "edge": None}, "x", "f4")
      {'inside': array([[1., 2.]], dtype=float32)}
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return to_array(value, name, dtypes)
    for key in value:
        if not isinstance(key, str) or not key.isidentifier():
            raise errors.InputError(
                f"`{name}` has an array with the name {key!r}, which cannot be part of "
                'a name in a file; use letters, digits and underscores: "boundary".'
            )
    arrays = {
        key: to_array(array, f"{name}[{key!r}]", named or dtypes)
        for key, array in value.items()
        if array is not None
    }
    if not arrays:
        raise errors.InputError(f"`{name}` is a mapping without arrays; pass one.")
    return arrays


def precision_of(x: Any) -> tuple[Any, ...]:
    """Returns the types that labels and weights may have beside the examples.

    Args:
      x: an array, or a dictionary of arrays.

    Returns:
      The usual one, and float64 where some of the examples have it.

    Example:
      >>> precision_of({"inside": np.ones(2)}) == (np.float32, np.float64)
      True
    """
    arrays = x.values() if isinstance(x, Mapping) else [x]
    is_double = any(array.dtype == np.float64 for array in arrays)
    return (np.float32, np.float64) if is_double else (np.float32,)


def to_plain(value: Any, name: str) -> Any:
    """Makes the same value out of what JSON knows.

    Args:
      value: a fact.
      name: what it is called in a sentence.

    Raises:
      InputError: for what cannot be written as JSON.

    Example:
      >>> to_plain({"shape": (8, 8), "limit": float("inf")}, "data")
      {'shape': [8, 8], 'limit': 'inf'}
    """
    if isinstance(value, Mapping):
        return {
            str(key): to_plain(item, f"{name}.{key}") for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [to_plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.generic | np.ndarray):
        return to_plain(value.tolist(), name)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise errors.InputError(
        f"`{name}` is a {type(value).__name__}, which cannot be written to a .json "
        "file; pass numbers, text, lists and mappings of these."
    )


def flatten(fields: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Gives every array the name that it has in the file.

    Args:
      fields: arrays and mappings of arrays by their names; ``None`` is left out.

    Example:
      >>> sorted(flatten({"x": {"inside": 1, "edge": 2}, "y": 3, "weight": None}))
      ['x_edge', 'x_inside', 'y']
    """
    flat = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}_{key}": array for key, array in value.items()}
        elif value is not None:
            flat[name] = value
    return flat


def nest(arrays: Mapping[str, np.ndarray], name: str) -> Any:
    """Returns what :func:`flatten` had under a name: an array, a mapping, or ``None``.

    Args:
      arrays: of a file.
      name: of a field.

    Example:
      >>> nest({"x_edge": 2, "x_inside": 1, "y": 3}, "x")
      {'edge': 2, 'inside': 1}
    """
    if name in arrays:
        return arrays[name]
    start = f"{name}_"
    named = {
        key.removeprefix(start): array
        for key, array in arrays.items()
        if key.startswith(start)
    }
    return named or None
