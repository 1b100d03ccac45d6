# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Examples of a band of a score, such as the easiest tenth of every class."""

from collections.abc import Sequence

import numpy as np

from distill_jax import data as data_lib
from distill_jax import errors

__all__ = ["by_score"]


def by_score(
    scores: Sequence[float] | np.ndarray,
    data: data_lib.Dataset,
    num_per_class: int,
    *,
    band: tuple[float, float] = (0.0, 1.0),
    seed: int = 0,
) -> np.ndarray:
    """Draws examples of every class whose score lies in a band of its quantiles.

    The examples of a class are sorted by score, the first in the file first among
    equals; a band ``(lo, hi)`` of n examples is those from ``round(lo n)`` to before
    ``round(hi n)``. So bands that meet share no example and leave none out.

    Args:
      scores: [N], one for each example of the training split.
      data: the real data set.
      num_per_class: how many of each class, at random within the band.
      band: shares of each class, 0 its lowest score and 1 its highest.
      seed: of the draw. Draws of one seed and band are nested: those of fewer examples
        are the first of those of more.

    Returns:
      [C * num_per_class] positions in the training split, class-major.

    Raises:
      InputError: for scores of another number or that are no numbers, a band that is
        none, or fewer examples in it than are asked for.

    Example:
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> brightness = digits.train.x.mean(axis=(1, 2, 3))
      >>> darkest = by_score(brightness, digits, 2, band=(0.0, 0.1))
      >>> digits.train.y[darkest[:4]].tolist()
      [0, 0, 1, 1]
    """
    scores, classes = np.asarray(scores), data.train.y
    if scores.shape != classes.shape or np.isnan(scores.astype(float)).any():
        raise errors.InputError(
            f"The scores have the shape {scores.shape}, or are no numbers; pass one "
            f"for each of the {len(classes)} training examples."
        )
    low, high = band
    if not 0 <= low < high <= 1:
        raise errors.InputError(
            f"The band {band} is none; pass shares of a class with 0 <= lo < hi <= 1."
        )
    errors.check_counts(num_per_class=num_per_class)
    rng = np.random.default_rng(seed)
    chosen = []
    for label in range(data.spec.num_classes):
        own = np.flatnonzero(classes == label)
        ordered = own[np.argsort(scores[own], kind="stable")]
        inside = ordered[round(low * len(own)) : round(high * len(own))]
        if len(inside) < num_per_class:
            raise errors.InputError(
                f"The band {band} holds {len(inside)} examples of class {label}, fewer "
                f"than the {num_per_class} that were asked for; widen it."
            )
        chosen.append(rng.permutation(inside)[:num_per_class])
    return np.concatenate(chosen)
