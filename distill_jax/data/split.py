# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The stratified split: a part of the examples with the same share of every class.

    taken_c = floor(fraction * N_c), and one more where the remainder is largest

so that ``round(fraction * N)`` examples are taken in all (Hamilton's method of
apportionment), less where that would leave a class with no example.
"""

import numpy as np

from distill_jax import errors

__all__ = ["stratified_split"]


def stratified_split(
    labels: np.ndarray, fraction: float, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Splits examples in two with the same share of every class.

    Args:
      labels: classes ``[N]``.
      fraction: the share that is taken, at least 0 and below 1.
      seed: the split is a function of it.

    Returns:
      The indices that are kept and those that are taken, each ascending; together they
      are ``0 .. N - 1``. Every class keeps at least one example.

    Raises:
      InputError: when the fraction is not in ``[0, 1)`` or the seed is negative.

    Example:
      >>> kept, taken = stratified_split(np.array([0, 1] * 10), 0.2, seed=0)
      >>> kept.size, taken.size, np.bincount(taken % 2).tolist()
      (16, 4, [2, 2])
    """
    _check(fraction, seed)
    labels = np.asarray(labels)
    _, row, count = np.unique(labels, return_inverse=True, return_counts=True)
    num_taken = _apportion(count, fraction)
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(row[order], kind="stable")]
    start = np.cumsum(count) - count
    position = np.arange(len(labels)) - np.repeat(start, count)  # Within its class.
    is_taken = position < np.repeat(num_taken, count)
    return np.sort(by_class[~is_taken]), np.sort(by_class[is_taken])


def _apportion(count: np.ndarray, fraction: float) -> np.ndarray:
    """How many examples of each class are taken."""
    exact = fraction * count
    num_taken = np.floor(exact).astype(int)
    num_missing = int(np.rint(fraction * count.sum())) - num_taken.sum()
    largest = np.argsort(num_taken - exact, kind="stable")[: max(num_missing, 0)]
    num_taken[largest] += 1
    return np.minimum(num_taken, count - 1)


def _check(fraction: float, seed: int) -> None:
    """Raises unless the fraction is in [0, 1) and the seed a whole number from 0."""
    is_number = isinstance(fraction, int | float | np.number)
    if not is_number or isinstance(fraction, bool) or not 0 <= fraction < 1:
        raise errors.InputError(
            f"A fraction of {fraction!r} of the examples cannot be split off; "
            "`validation_fraction` must be at least 0 and below 1."
        )
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise errors.InputError(
            f"`seed` must be a whole number of at least 0, got {seed!r}."
        )
