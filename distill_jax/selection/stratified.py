# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random subsets with equally many examples of every class."""

import jax
import numpy as np

from distill_jax import data as data_lib
from distill_jax.types import Key

__all__ = ["random_subsets"]


def random_subsets(
    key: Key, data: data_lib.Dataset, num_per_class: int, *, num_draws: int
) -> np.ndarray:
    """Draws random examples of every class of the training split.

    Draws of one key are nested: those of fewer examples are the first of those of more,
    the first of one permutation of each class, and further draws change none before.

    Args:
      key: of the draws.
      data: the real data set.
      num_per_class: how many of each class, without replacement.
      num_draws: R.

    Returns:
      [R, C * num_per_class] positions in the training split, class-major.

    Raises:
      InputError: if a class has fewer examples.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax import selection
      >>> data = dj.data.load("digits")
      >>> index = selection.random_subsets(jax.random.key(0), data, 2, num_draws=3)
      >>> index.shape, data.train.y[index[0, :4]].tolist()
      ((3, 20), [0, 0, 1, 1])
    """
    data_lib.check_num_per_class(data, num_per_class)
    seed = np.asarray(jax.random.key_data(key)).tolist()
    of_class = [
        np.flatnonzero(data.train.y == label) for label in range(data.spec.num_classes)
    ]
    draws = []
    for number in range(num_draws):
        rng = np.random.default_rng([*seed, number])
        order = [rng.permutation(rows) for rows in of_class]
        draws.append(np.concatenate([rows[:num_per_class] for rows in order]))
    return np.stack(draws)
