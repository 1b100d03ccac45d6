# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random subsets: equally many examples of every class, or some of all."""

import jax
import numpy as np

from distill_jax import data as data_lib
from distill_jax import errors
from distill_jax.types import Key

__all__ = ["random_subsets"]


def random_subsets(
    key: Key,
    data: data_lib.Dataset,
    num_per_class: int | None = None,
    *,
    num_draws: int,
    num_examples: int | None = None,
) -> np.ndarray:
    """Draws random examples of the training split, as many of every class.

    Draws of one key are nested: those of fewer examples are the first of those of more,
    the first of one permutation of each class, and further draws change none before.

    Args:
      key: of the draws.
      data: the real data set.
      num_per_class: how many of each class, without replacement; or
      num_draws: R.
      num_examples: how many in all, whatever they are. Give one of the two.

    Returns:
      [R, C * num_per_class] positions in the training split, class-major, or
      [R, num_examples].

    Raises:
      InputError: if a class or the split has fewer examples, or both numbers or none
        are there.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax import selection
      >>> data = dj.data.load("digits")
      >>> index = selection.random_subsets(jax.random.key(0), data, 2, num_draws=3)
      >>> index.shape, data.train.y[index[0, :4]].tolist()
      ((3, 20), [0, 0, 1, 1])
    """
    groups, num_of_each = _groups(data, num_per_class, num_examples)
    seed = np.asarray(jax.random.key_data(key)).tolist()
    draws = []
    for number in range(num_draws):
        rng = np.random.default_rng([*seed, number])
        order = [rng.permutation(rows) for rows in groups]
        draws.append(np.concatenate([rows[:num_of_each] for rows in order]))
    return np.stack(draws)


def _groups(
    data: data_lib.Dataset, num_per_class: int | None, num_examples: int | None
) -> tuple[list[np.ndarray], int]:
    """What is drawn from, and how many of each of them."""
    if num_per_class is not None and num_examples is None:
        data_lib.check_num_per_class(data, num_per_class)
        classes = range(data.spec.num_classes)
        return [np.flatnonzero(data.train.y == c) for c in classes], num_per_class
    if num_examples is None or num_per_class is not None:
        raise errors.InputError(
            f"`num_per_class` is {num_per_class} and `num_examples` {num_examples}; "
            "give one of the two: how many examples of each class, or how many in all."
        )
    errors.check_counts(num_examples=num_examples)
    total = len(data.train.y)
    if num_examples > total:
        raise errors.InputError(
            f"`num_examples` is {num_examples}, but the training set has only {total}; "
            "use fewer."
        )
    return [np.arange(total)], num_examples
