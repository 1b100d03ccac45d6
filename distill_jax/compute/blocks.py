# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sums over many examples, taken some examples at a time.

    sum_b fn(x[b])  =  sum over blocks of  sum_{b in block} fn(x[b])

The activations of a few hundred pictures do not fit the caches of a processor, and a
pass over them is then as slow as main memory; those of a few pictures do.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax import base
from distill_jax.compute import cost, parallel, rows
from distill_jax.types import Array, PyTree

__all__ = [
    "batch_sum",
    "class_sums",
    "fitting_size",
    "map_chunks",
    "map_rows",
    "shares",
]

_BLOCK_SIZE = 16
# What a forward pass over a block may write, fused or not: 16 to 20 examples of 28x28
# in a ConvNet of width 32, hundreds of 8x8, any number in a perceptron.
_BLOCK_BYTES = 26 * 2**20


def batch_sum(
    fn: Callable[[Array | int, base.Examples], PyTree],
    examples: base.Examples,
    block_size: int,
) -> PyTree:
    """Sums a function of examples over all of them.

    In a function of :func:`distill_jax.compute.parallel.over_mesh` with the axis
    ``"examples"`` each device takes some of them.

    Args:
      fn: ``(number of the block, examples [B', ...])`` to any tree. It must be a sum
        over examples in which one of weight 0 counts nothing.
      examples: ``[B, ...]``, with weights.
      block_size: at most so many examples at a time.

    Returns:
      The tree.

    Example:
      >>> import jax.numpy as jnp
      >>> examples = base.Examples(jnp.arange(5.0), jnp.ones(5), jnp.ones(5))
      >>> fn = lambda number, block: jnp.sum(block.weight * block.x)
      >>> float(batch_sum(fn, examples, 2))
      10.0
    """
    num_devices = parallel.num_devices("examples")
    if num_devices == 1:
        return _local_sum(fn, 0, examples, block_size)
    parts = rows.cut(examples, math.ceil(examples.y.shape[0] / num_devices))
    num_shares, share_size = parts.y.shape[:2]
    firsts = math.ceil(share_size / block_size) * jnp.arange(num_shares)

    def sum_share(part):  # One share on each device.
        first, share = jax.tree.map(lambda leaf: leaf[0], part)
        out = _local_sum(fn, first, share, block_size)
        return jax.tree.map(lambda leaf: leaf[None], out)

    sums = parallel.spread(sum_share, (firsts, parts), "examples")
    return jax.tree.map(lambda leaf: leaf.sum(axis=0), sums)


def map_rows(fn: Callable[[PyTree], PyTree], x: PyTree) -> PyTree:
    """Applies a function that treats every row alone, such as features of a network.

    In a function of :func:`distill_jax.compute.parallel.over_mesh` with the axis
    ``"examples"`` each device takes some of the rows; on the CPU rows that do not fit
    the caches at once are taken 9 to 16 at a time, where their number can be divided
    so.

    Args:
      fn: ``[B', ...]`` to any tree of ``[B', ...]``.
      x: ``[B, ...]``.

    Example:
      >>> import jax.numpy as jnp
      >>> map_rows(lambda x: x + 1, jnp.arange(3)).tolist()
      [1, 2, 3]
    """
    return parallel.spread(functools.partial(_in_chunks, fn), x, "examples")


def map_chunks(fn: Callable[[PyTree], PyTree], x: PyTree, chunk_size: int) -> PyTree:
    """:func:`map_rows` of more rows than any device should take at once.

    Args:
      fn: ``[B', ...]`` to any tree of ``[B', ...]``, every row alone.
      x: ``[N, ...]``.
      chunk_size: so many rows at a time; the remainder is taken after them.

    Example:
      >>> import jax.numpy as jnp
      >>> map_chunks(lambda x: x + 1, jnp.arange(5), 2).tolist()
      [1, 2, 3, 4, 5]
    """
    rows_fn = functools.partial(map_rows, fn)
    num_rows = jax.tree.leaves(x)[0].shape[0]
    num_whole = num_rows - num_rows % chunk_size
    parts = []
    if num_whole:
        cut = lambda leaf: leaf[:num_whole].reshape(-1, chunk_size, *leaf.shape[1:])
        join = lambda leaf: leaf.reshape(num_whole, *leaf.shape[2:])
        parts.append(jax.tree.map(join, jax.lax.map(rows_fn, jax.tree.map(cut, x))))
    if num_whole < num_rows:
        parts.append(rows_fn(jax.tree.map(lambda leaf: leaf[num_whole:], x)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _in_chunks(fn: Callable[[PyTree], PyTree], x: PyTree) -> PyTree:
    """Many rows in equal chunks, where such can be cut; others at once."""
    num_rows = jax.tree.leaves(x)[0].shape[0]
    sizes = range(_BLOCK_SIZE, _BLOCK_SIZE // 2, -1)
    size = next((size for size in sizes if num_rows % size == 0), num_rows)
    is_few = num_rows <= 2 * _BLOCK_SIZE or size == num_rows
    if is_few or num_rows <= fitting_size(fn, x):
        return fn(x)
    cut = lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:])
    join = lambda leaf: leaf.reshape(num_rows, *leaf.shape[2:])
    return jax.tree.map(join, jax.lax.map(fn, jax.tree.map(cut, x)))


def _local_sum(
    fn: Callable, first: Array | int, examples: base.Examples, block_size: int
) -> PyTree:
    """The sum on one device, whose blocks are numbered from ``first`` on."""
    if examples.y.shape[0] <= block_size:
        return fn(first, examples)
    blocks = rows.cut(examples, block_size)
    numbers = first + jnp.arange(blocks.y.shape[0])
    parts = jax.lax.map(lambda args: fn(*args), (numbers, blocks))
    return jax.tree.map(lambda leaf: leaf.sum(axis=0), parts)


def fitting_size(fn: Callable[[Any], PyTree], batch: Any) -> int:
    """How many examples a function, or its gradient, should be taken of at a time.

    Args:
      fn: such as a batch to the loss of each example; it is traced, not run.
      batch: what it takes, a tree of ``[B, ...]``.

    Returns:
      B on accelerators; on the CPU as many as keep what ``fn`` writes in the caches, at
      least 16.

    Example:
      >>> import jax.numpy as jnp
      >>> examples = base.Examples(jnp.ones((100, 3)), jnp.ones(100))
      >>> fitting_size(lambda batch: batch.x.sum(axis=1), examples)
      100
    """
    num_rows = jax.tree.leaves(batch)[0].shape[0]
    if jax.default_backend() != "cpu" or num_rows <= _BLOCK_SIZE:
        return num_rows
    shape_of = lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))
    traced = jax.make_jaxpr(fn)(jax.tree.map(shape_of, batch))
    bytes_per_row = max(1.0, cost.bytes_written(traced) / num_rows)
    return min(num_rows, max(_BLOCK_SIZE, int(_BLOCK_BYTES // bytes_per_row)))


def class_sums(
    fn: Callable[[Array | int, base.Examples], PyTree],
    examples: base.Examples,
    *,
    block_size: int | None = None,
) -> PyTree:
    """Sums a function of examples over those of each class.

    In a function of :func:`distill_jax.compute.parallel.over_mesh` with the axis
    ``"classes"`` each device takes some of the classes.

    Args:
      fn: ``(number of the block, examples [B', ...])`` to any tree. It must be a sum
        over examples in which one of weight 0 counts nothing.
      examples: ``[C, B, ...]``, with weights.
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
    if block_size is None:
        is_cpu = jax.default_backend() == "cpu"
        block_size = _BLOCK_SIZE if is_cpu else examples.y.shape[1]
    if examples.y.shape[1] <= block_size:
        local = jax.vmap(lambda one: fn(0, one))
    else:
        local = lambda part: jax.lax.map(
            lambda one: batch_sum(fn, one, block_size), part
        )
    return parallel.spread(local, examples, "classes")


def shares(examples: base.Examples) -> base.Examples:
    """The same examples with weights that sum to one.

    Args:
      examples: ``[B, ...]``.

    Returns:
      Them with ``weight`` [B]; weights that are all zero stay so.

    Example:
      >>> import jax.numpy as jnp
      >>> x = y = jnp.ones(2)
      >>> shares(base.Examples(x, y, jnp.array([3.0, 1.0]))).weight.tolist()
      [0.75, 0.25]
      >>> shares(base.Examples(x, y)).weight.tolist()
      [0.5, 0.5]
    """
    weight = examples.weight
    if weight is None:
        num_examples = examples.y.shape[0]
        dtype = jnp.result_type(examples.y, jnp.float32)
        weight = jnp.full(num_examples, 1 / num_examples, dtype)
    else:
        mass = weight.sum()
        weight = weight / jnp.where(mass > 0, mass, 1.0)
    return examples._replace(weight=weight)
