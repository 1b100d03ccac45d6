# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a grid of accuracies says of images and knowledge: fronts, rates, power laws.

A grid holds accuracies by the number of images of each class and by something that
labels can have more or less of: epochs of the expert, entries that are kept,
temperatures. All in numpy.

Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset Distillation",
2024, section 4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from distill_jax import errors

__all__ = [
    "PowerLaw",
    "envelope",
    "exchange_rate",
    "fit_power_law",
    "iso_accuracy",
    "optimal",
    "pareto_front",
]

Numbers = Sequence[float] | np.ndarray


class PowerLaw(NamedTuple):
    """``error = scale * images ** -exponent``."""

    scale: float
    exponent: float
    scale_interval: tuple[float, float]  # 95 %, of resampled draws
    exponent_interval: tuple[float, float]


def envelope(accuracy: np.ndarray, axis: int = -1) -> np.ndarray:
    """The best accuracy along an axis; what is missing (NaN) does not count.

    Args:
      accuracy: any shape.
      axis: of what is chosen, such as the epochs.

    Returns:
      The shape without the axis.

    Example:
      >>> envelope(np.array([[0.2, 0.5, 0.4], [0.3, np.nan, 0.6]])).tolist()
      [0.5, 0.6]
    """
    return np.nanmax(np.asarray(accuracy, float), axis=axis)


def optimal(accuracy: np.ndarray, values: Sequence, axis: int = -1) -> np.ndarray:
    """The value, such as the epoch, at which the accuracy is best.

    Args:
      accuracy: any shape.
      values: of the axis.
      axis: of what is chosen; the first of equals is taken.

    Returns:
      The shape without the axis.

    Example:
      >>> optimal(np.array([[0.2, 0.5, 0.4], [0.3, 0.5, 0.6]]), [1, 6, 40]).tolist()
      [6, 40]
    """
    place = np.nanargmax(np.asarray(accuracy, float), axis=axis)
    return np.asarray(values)[place]


def pareto_front(cost: Numbers, accuracy: Numbers) -> np.ndarray:
    """Which points no other one beats.

    Args:
      cost: [N], such as images or bytes.
      accuracy: [N].

    Returns:
      [N] bool: no point costs at most as much and is at least as accurate, with one of
      the two strict.

    Raises:
      InputError: for arrays of other lengths.

    Example:
      >>> pareto_front([1, 2, 2, 5], [0.3, 0.2, 0.5, 0.5]).tolist()
      [True, False, True, False]
    """
    cost, accuracy = np.asarray(cost, float), np.asarray(accuracy, float)
    if cost.shape != accuracy.shape or cost.ndim != 1:
        raise errors.InputError(
            f"The costs have the shape {cost.shape}, the accuracies {accuracy.shape}; "
            "pass one of each for every point."
        )
    order = np.lexsort((-accuracy, cost))
    front = np.zeros(len(cost), bool)
    best = -np.inf  # of all that cost less
    start = 0
    while start < len(order):
        same = order[cost[order] == cost[order[start]]]
        most = accuracy[same].max()
        if most > best:
            front[same[accuracy[same] == most]] = True
            best = most
        start += len(same)
    return front


def iso_accuracy(images: Numbers, accuracy: Numbers, target: float) -> float:
    """How many images reach an accuracy, on a line over the logarithm of images.

    Args:
      images: [K] of each class, ascending.
      accuracy: [K].
      target: the accuracy.

    Returns:
      The number of images where the curve first reaches it, NaN where it never does;
      the first number where that is above it already.

    Example:
      >>> round(iso_accuracy([1, 10], [0.2, 0.4], 0.3), 2)
      3.16
      >>> iso_accuracy([1, 10], [0.2, 0.4], 0.5)
      nan
    """
    images, accuracy = np.asarray(images, float), np.asarray(accuracy, float)
    reached = np.flatnonzero(accuracy >= target)
    if not reached.size:
        return float("nan")
    after = reached[0]
    if after == 0:
        return float(images[0])
    ends = slice(after - 1, after + 1)
    logs = np.interp(target, accuracy[ends], np.log(images[ends]))
    return float(np.exp(logs))


def exchange_rate(
    images: Numbers, hard: Numbers, soft: Numbers, at: float | None = None
) -> np.ndarray | float:
    """How many images with hard labels one with a soft label is worth.

    Args:
      images: [K] of each class, ascending.
      hard: [K] accuracies with hard labels.
      soft: [K] accuracies with soft labels.
      at: one of ``images``; all of them where None.

    Returns:
      The images that hard labels need for the accuracy of soft ones, divided by those
      of the soft ones; [K], or one number. NaN where hard labels never get there.

    Example:
      >>> print(exchange_rate([1, 10, 100], [0.1, 0.3, 0.5], [0.3, 0.5, 0.6]))
      [10. 10. nan]
    """
    images = np.asarray(images, float)
    rates = np.array(
        [iso_accuracy(images, hard, target) for target in np.asarray(soft)]
    )
    rates /= images
    if at is None:
        return rates
    return float(rates[np.flatnonzero(images == at)[0]])


def fit_power_law(
    images: Numbers,
    accuracy: np.ndarray,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> PowerLaw:
    """Fits ``1 - accuracy = scale * images ** -exponent`` to the means of draws.

    The line is one of least squares through logarithms. Its intervals come from draws
    that are drawn again with replacement, since draws vary more than students do.

    Args:
      images: [K] of each class, at least two.
      accuracy: [R, K] of R draws, or [K].
      num_resamples: how often draws are drawn again.
      seed: of that.

    Returns:
      A :class:`PowerLaw`; its intervals are NaN for fewer than three draws.

    Raises:
      InputError: for fewer than two numbers of images, or an accuracy of 1.

    Example:
      >>> law = fit_power_law([1, 10, 100], 1 - 0.8 * np.array([1, 10, 100.0]) ** -0.3)
      >>> round(law.scale, 3), round(law.exponent, 3)
      (0.8, 0.3)
    """
    images = np.asarray(images, float)
    draws = np.atleast_2d(np.asarray(accuracy, float))
    if len(np.unique(images)) < 2 or draws.shape[1] != len(images):
        raise errors.InputError(
            f"A power law was to be fitted to {len(images)} numbers of images and "
            f"accuracies of shape {draws.shape}; pass [draws, numbers] with at least "
            "two numbers."
        )
    if not (draws.mean(axis=0) < 1).all():
        raise errors.InputError(
            "An accuracy of 1 leaves no error, of which there is no logarithm."
        )
    fit = lambda means: _line(np.log(images), np.log(1 - means))
    scale, exponent = fit(draws.mean(axis=0))
    nothing = (float("nan"), float("nan"))
    if len(draws) < 3:
        return PowerLaw(scale, exponent, nothing, nothing)
    rng = np.random.default_rng(seed)
    again = rng.integers(len(draws), size=(num_resamples, len(draws)))
    fits = np.array([fit(draws[rows].mean(axis=0)) for rows in again])
    low, high = np.nanpercentile(fits, [2.5, 97.5], axis=0)
    return PowerLaw(scale, exponent, (low[0], high[0]), (low[1], high[1]))


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Scale and exponent of the line of least squares through logarithms."""
    slope, start = np.polyfit(x, y, 1)
    return float(np.exp(start)), float(-slope)
