# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The unit of inputs, decided once for all splits of a data set.

    pictures of whole numbers within 0 .. 255, the largest above 1     1/255
    pictures of floats within 0 .. 255, the largest above 2            1/255, and said
    all other pictures, and every table                                1

Splits that differ by a factor are of different units: pictures are then refused, and of
tables it is said, since a table may well be tested where it was not trained.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from distill_jax import errors

__all__ = ["Scale", "check_alike", "decide", "tell_unusual"]

BYTE = 255
LARGEST_FACTOR = 10  # Between the splits of one data set.
USUAL = (1 / 8, 20.0)  # The largest unit value of pictures, standardised ones included.
SURE = 14  # Of a chance of exp(-14) at most that a split has no value below zero.
NUM_SAMPLED = 2**22  # Values of a split that are looked at.


class Scale(NamedTuple):
    """How inputs are kept and what their unit is."""

    dtype: type[np.generic]
    unit: float  # raw value -> unit value
    pixel_range: tuple[float, float]  # unit values of black and white


def decide(inputs: Mapping[str, np.ndarray]) -> Scale:
    """Decides the unit of inputs from all splits together.

    Args:
      inputs: by the names that sentences call them, the training split first; each
        ``[N, ...]`` with the same shape of one example.

    Returns:
      The type and the unit that all of them have.

    Raises:
      InputError: when the splits are pictures of different units.

    Example:
      >>> decide({"x": np.array([[[[0]], [[200]]]])})[:2]
      (<class 'numpy.uint8'>, 0.00392156862745098)
      >>> decide({"x": np.array([[0, 200]])})[:2]
      (<class 'numpy.uint8'>, 1.0)
    """
    check_alike(inputs)
    limits = np.array([_limits(x) for x in inputs.values()])
    low, high = float(limits[:, 0].min()), float(limits[:, 1].max())
    is_integer = all(x.dtype.kind in "ui" for x in inputs.values())
    is_within = low >= 0 and high <= BYTE
    dtype = np.uint8 if is_integer and is_within else np.float32
    first, train = next(iter(inputs.items()))
    if train.ndim == 2 or not is_within or (high <= 2 and not is_integer):
        return Scale(dtype, 1.0, _shown_range(*limits[0].tolist()))
    if high == 1:
        errors.warn(
            f'The pictures "{first}" hold the whole numbers 0 and 1 alone, so 1 is '
            "taken for white; multiply them by 255 if they are nearly black bytes."
        )
        return Scale(dtype, 1.0, (0.0, 1.0))
    if not is_integer:
        errors.warn(
            f'The pictures "{first}" hold floats from {low:g} to {high:g}: they are '
            "taken in units of 1/255, so that 255 is white; if another value is white, "
            "divide by it first, so that they lie in the range 0 .. 1."
        )
    return Scale(dtype, 1 / BYTE, (0.0, 1.0))


def check_alike(inputs: Mapping[str, np.ndarray]) -> None:
    """Raises, or warns of tables, where splits are of different units.

    Args:
      inputs: as :func:`decide` takes them.

    Raises:
      InputError: for pictures that differ by a factor, or of which one split alone has
        values below zero.

    Example:
      >>> grey = np.full((4, 2, 2, 1), 0.5)
      >>> check_alike({"x_train": 255 * grey, "x_test": grey})
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: "x_test" is of another scale than "x_train": its \
values lie in 0.5 .. 0.5, those of "x_train" in 127.5 .. 127.5, which are typically \
255 times as large. Bring both to one scale, such as 0 .. 1 or bytes.
    """
    (first, train), *others = inputs.items()
    for name, x in others:
        difference = _difference(train, x)
        if not difference:
            continue
        (low, high), (train_low, train_high) = _limits(x), _limits(train)
        sentence = (
            f'"{name}" is of another scale than "{first}": its values lie in {low:g} '
            f'.. {high:g}, those of "{first}" in {train_low:g} .. {train_high:g}, '
            f"{difference}. Bring both to one scale, such as 0 .. 1 or bytes."
        )
        if train.ndim > 2:
            raise errors.InputError(sentence)
        errors.warn(sentence)


def tell_unusual(x: np.ndarray, unit: float, normalization: str, name: str) -> None:
    """Warns where a normalisation that is meant for unit values meets others.

    Args:
      x: raw inputs of the training split.
      unit: raw value to unit value.
      normalization: the kind; "fitted" and "published" bring every unit to one.
      name: of the data set.

    Example:
      >>> tell_unusual(np.ones((2, 2, 2, 1), np.uint8), 1.0, "zca", "mine")
    """
    if normalization not in ("zca", "none") or not x.size:
        return
    low, high = _limits(x)
    largest = max(high, -low) * unit
    is_table = x.ndim == 2
    is_unusual = largest > USUAL[1] or (0 < largest < USUAL[0] and not is_table)
    if not is_unusual or (is_table and x.dtype != np.uint8):
        return
    effect = "adds 0.1 to variances of" if normalization == "zca" else "leaves"
    taken = "a table is never rescaled" if is_table else f"their unit is {unit:.3g}"
    errors.warn(
        f'The normalization "{normalization}" {effect} unit values, which lie in the '
        f'range 0 .. 1, but the largest of "{name}" is {largest:.3g} ({taken}); divide '
        'the inputs so that it is 1, or use the normalization "fitted".'
    )


def _difference(train: np.ndarray, other: np.ndarray) -> str:
    """Says in words by what two splits differ; empty where they do not."""
    a, b = _sampled(train), _sampled(other)
    if not (a.size and b.size and np.isfinite(a).all() and np.isfinite(b).all()):
        return ""  # The checks of examples say what is wrong.
    factor = _factor(a, b)
    if factor > LARGEST_FACTOR:
        return f"which are typically {factor:.3g} times as large"
    if factor < 1 / LARGEST_FACTOR:
        return f"which are typically {1 / factor:.3g} times as small"
    if _misses_signs(a, b) or _misses_signs(b, a):
        return "and only one of them has values below zero"
    return ""


def _factor(a: np.ndarray, b: np.ndarray) -> float:
    """The ratio of typical sizes: the median over columns, zeros left out.

    A factor of the unit moves every column; a rare large value moves its own alone.
    """
    sizes, counts = [], []
    for values in (a, b):
        count = np.count_nonzero(values, axis=0)
        sizes.append(np.abs(values).sum(axis=0) / np.maximum(count, 1))
        counts.append(count)
    is_seen = (counts[0] > 0) & (counts[1] > 0)
    if not is_seen.any():
        return 1.0
    return float(np.median(sizes[0][is_seen] / sizes[1][is_seen]))


def _misses_signs(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether `b` has no value below zero, though `a` lets one expect some."""
    if (b < 0).any():
        return False
    share = np.count_nonzero((a < 0).any(axis=1)) / (len(a) + 1)
    return -math.log1p(-share) * len(b) > SURE


def _sampled(x: np.ndarray) -> np.ndarray:
    """Examples spread over a split, flattened, [n, D] float64."""
    num = max(16, NUM_SAMPLED // max(math.prod(x.shape[1:]), 1))
    some = x[:: max(1, len(x) // num)]
    return some.reshape(len(some), math.prod(x.shape[1:])).astype(np.float64)


def _limits(x: np.ndarray) -> tuple[float, float]:
    """The least and the largest value; 0 where there is none."""
    return (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)


def _shown_range(low: float, high: float) -> tuple[float, float]:
    """The values that pictures of a unit of their own show as black and white."""
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return min(low, 0.0), max(high, 1.0)
