# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Many random things from one draw of numbers.

On the CPU JAX writes each draw, and each split of a key, out as a loop of its own. A
step in which every random thing had its own key would spend half of its compilation on
them (docs/speed.md); so one vector is drawn, and what is random is read off it.
"""

import jax
import jax.numpy as jnp

from distill_jax.types import Array, Key

__all__ = ["permutation", "permutations", "whole_numbers"]


def whole_numbers(u: Array, low: int | Array, high: int | Array) -> Array:
    """Uniform over {low, ..., high - 1}, from numbers in [0, 1).

    Args:
      u: numbers as ``jax.random.uniform`` draws them.
      low: the smallest whole number.
      high: one more than the largest; low + 2**20 at most, as there are 2**23 numbers.

    Returns:
      The shape of ``u``, of jax's integers.

    Example:
      >>> import jax.numpy as jnp
      >>> whole_numbers(jnp.array([0.0, 0.5, 0.99]), -1, 2).tolist()
      [-1, 0, 1]
    """
    return low + jnp.floor(u * (high - low)).astype(int)


def permutations(key: Key, num: int, count: int) -> Array:
    """Some orders of the first whole numbers.

    Args:
      key: a random key.
      num: how many numbers.
      count: how many orders.

    Returns:
      [count, num] int32, each row an order of 0 to num - 1.

    Example:
      >>> import jax
      >>> orders = permutations(jax.random.key(0), 5, 2)
      >>> orders.shape, sorted(orders[0].tolist())
      ((2, 5), [0, 1, 2, 3, 4])
    """
    return jnp.argsort(jax.random.bits(key, (count, num)), axis=1).astype(jnp.int32)


def permutation(key: Key, num: int) -> Array:
    """An order of the first whole numbers, [num] int32.

    Example:
      >>> import jax
      >>> sorted(permutation(jax.random.key(0), 3).tolist())
      [0, 1, 2]
    """
    return permutations(key, num, 1)[0]
