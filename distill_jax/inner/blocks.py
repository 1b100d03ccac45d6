# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sums over many examples of each class, taken some examples at a time.

    sum_b fn(x_c[b])  =  sum over blocks of  sum_{b in block} fn(x_c[b])

The activations of a few hundred pictures do not fit the caches of a processor, and a
pass over them is then as slow as main memory; those of a few pictures do.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax import base
from distill_jax.types import Array, PyTree

__all__ = ["class_sums", "shares"]

_BLOCK_SIZE = 16


def class_sums(
    fn: Callable[[Array | int, base.Examples], PyTree],
    examples: base.Examples,
    *,
    block_size: int | None = None,
) -> PyTree:
    """Sums a function of examples over those of each class.

    Args:
      fn: ``(number of the block, examples [B', ...])`` to any tree. It must be a sum
        over examples in which one of weight 0 counts nothing.
      examples: ``[C, B, ...]``, with weights; ``index`` is not passed on.
      block_size: at most so many examples at a time; by default 16 on the CPU, and all
        at once elsewhere.

    Returns:
      The tree with a leading axis ``C``.

    Example:
      >>> import jax.numpy as jnp
      >>> examples = base.Examples(
      ...     jnp.arange(10.0).reshape(2, 5), jnp.ones((2, 5)), jnp.ones((2, 5)))
      >>> fn = lambda number, block: jnp.sum(block.weight * block.x)
      >>> class_sums(fn, examples, block_size=2).tolist()
      [10.0, 35.0]
    """
    examples = base.Examples(examples.x, examples.y, examples.weight)
    if block_size is None:
        is_cpu = jax.default_backend() == "cpu"
        block_size = _BLOCK_SIZE if is_cpu else examples.y.shape[1]
    if examples.y.shape[1] <= block_size:
        return jax.vmap(lambda one: fn(0, one))(examples)

    def one_class(blocks):
        numbers = jnp.arange(blocks.y.shape[0])
        parts = jax.lax.map(lambda args: fn(*args), (numbers, blocks))
        return jax.tree.map(lambda leaf: leaf.sum(axis=0), parts)

    return jax.lax.map(one_class, _cut(examples, block_size))


def shares(examples: base.Examples) -> base.Examples:
    """The same examples with weights that sum to one for each class.

    Args:
      examples: ``[C, B, ...]``.

    Returns:
      Them with ``weight`` [C, B]; a class whose weights are all zero keeps those.

    Example:
      >>> import jax.numpy as jnp
      >>> x = y = jnp.ones((1, 2))
      >>> shares(base.Examples(x, y, jnp.array([[3.0, 1.0]]))).weight.tolist()
      [[0.75, 0.25]]
      >>> shares(base.Examples(x, y)).weight.tolist()
      [[0.5, 0.5]]
    """
    weight = examples.weight
    if weight is None:
        shape = examples.y.shape[:2]
        weight = jnp.full(shape, 1 / shape[1], jnp.result_type(examples.y))
    else:
        mass = weight.sum(axis=1, keepdims=True)
        weight = weight / jnp.where(mass > 0, mass, 1.0)
    return examples._replace(weight=weight)


def _cut(examples: Any, block_size: int) -> base.Examples:
    """``[C, B, ...]`` to ``[C, blocks, B', ...]``, as even as can be.

    The last block is filled up with the first examples again, of weight 0: they are
    examples that the function can take.
    """
    num_examples = examples.y.shape[1]
    num_blocks = math.ceil(num_examples / block_size)
    size = math.ceil(num_examples / num_blocks)
    num_missing = num_blocks * size - num_examples

    def cut(leaf: Array) -> Array:
        if num_missing:
            leaf = jnp.concatenate([leaf, leaf[:, :num_missing]], axis=1)
        return leaf.reshape(leaf.shape[0], num_blocks, size, *leaf.shape[2:])

    weight = jnp.pad(examples.weight, ((0, 0), (0, num_missing)))
    weight = weight.reshape(-1, num_blocks, size)
    x, y = jax.tree.map(cut, (examples.x, examples.y))
    return base.Examples(x, y, weight)
