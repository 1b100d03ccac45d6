# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which entries of a label matter: its values by rank, moved or left out.

Ranks count from 1, the largest entry of a row; entries that are equal stand in the
order of their classes. What moves values only keeps the mass and the entropy of every
row exactly.

Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset Distillation",
2024, section 4.
"""

import jax
import jax.numpy as jnp

from distill_jax.labels import checks, mass
from distill_jax.types import Array, Key

__all__ = ["ranks", "shuffle_non_top", "swap_rank", "swap_ranks", "top_k"]


def ranks(labels: Array) -> Array:
    """The rank of every entry in its row.

    Args:
      labels: [..., C].

    Returns:
      [..., C] int32, 1 for the largest of a row to C for the smallest.

    Example:
      >>> ranks(jnp.array([0.2, 0.5, 0.2, 0.1])).tolist()
      [2, 1, 3, 4]
    """
    order = _descending(labels)
    return jnp.argsort(order, axis=-1).astype(jnp.int32) + 1


def swap_rank(labels: Array, i: int | Array) -> Array:
    """Exchanges the i-th largest entry of every row with the smallest.

    Args:
      labels: [..., C].
      i: from 1 to C, where it changes nothing; may be traced.

    Returns:
      [..., C], the same values in every row.

    Raises:
      InputError: for a rank outside 1 .. C.

    Example:
      >>> swap_rank(jnp.array([0.125, 0.5, 0.375]), 1).tolist()
      [0.5, 0.125, 0.375]

    Reference:
      Qin, Deng, Alvarez-Melis, 2024, section 4 (the i-th label swap test).
    """
    return swap_ranks(labels, i, labels.shape[-1])


def swap_ranks(labels: Array, i: int | Array, j: int | Array) -> Array:
    """Exchanges the i-th and the j-th largest entry of every row.

    Args:
      labels: [..., C].
      i: from 1 to C; may be traced.
      j: from 1 to C; may be traced.

    Returns:
      [..., C], the same values in every row.

    Raises:
      InputError: for a rank outside 1 .. C.

    Example:
      >>> swap_ranks(jnp.array([1.0, 4.0, 2.0]), 1, 2).tolist()
      [1.0, 2.0, 4.0]
    """
    num_classes = labels.shape[-1]
    checks.check_rank("i", i, num_classes)
    checks.check_rank("j", j, num_classes)
    rank = ranks(labels)
    return _by_rank(labels, jnp.where(rank == i, j, jnp.where(rank == j, i, rank)))


def shuffle_non_top(key: Key, labels: Array, keep: int = 1) -> Array:
    """Moves all entries of every row but the largest at random.

    Args:
      key: a random key; every row has an order of its own.
      labels: [..., C].
      keep: how many of the largest stay, from 0 to C.

    Returns:
      [..., C], the same values in every row.

    Raises:
      InputError: for a number outside 0 .. C.

    Example:
      >>> shuffled = shuffle_non_top(jax.random.key(0), jnp.array([5.0, 1.0, 2.0, 3.0]))
      >>> shuffled[0].item(), sorted(shuffled.tolist())
      (5.0, [1.0, 2.0, 3.0, 5.0])

    Reference:
      The control of section 4 of Qin, Deng, Alvarez-Melis, 2024, as its reproductions
      have it: entropy without structure.
    """
    checks.check_rank("keep", keep, labels.shape[-1], least=0)
    rank = ranks(labels)
    numbers = jax.random.uniform(key, labels.shape)
    # By rank: those that stay come first and in order, the others as they were drawn.
    drawn = jnp.where(rank <= keep, rank.astype(numbers.dtype) - keep - 1, numbers)
    return _by_rank(labels, jnp.argsort(jnp.argsort(drawn, axis=-1), axis=-1) + 1)


def top_k(labels: Array, k: int | Array, *, renormalize: bool = False) -> Array:
    """Keeps exactly the k largest entries of every row; the others become 0.

    Args:
      labels: [..., C].
      k: from 0 to C; may be traced. 0 leaves nothing, C everything.
      renormalize: whether rows have the mass one again. The paper leaves them as they
        are, so that a row weighs its example: such a set is of ``label_mass="free"``.

    Returns:
      [..., C].

    Raises:
      InputError: for a number outside 0 .. C.

    Example:
      >>> top_k(jnp.array([0.5, 0.25, 0.25]), 2).tolist()
      [0.5, 0.25, 0.0]

    Reference:
      Qin, Deng, Alvarez-Melis, 2024, section 4 (data-knowledge scaling law).
    """
    checks.check_rank("k", k, labels.shape[-1], least=0)
    kept = jnp.where(ranks(labels) <= k, labels, 0)
    return mass.normalize(kept) if renormalize else kept


def _descending(labels: Array) -> Array:
    """Positions from the largest to the smallest entry; the first of equals first."""
    return jnp.argsort(-labels, axis=-1, stable=True)


def _by_rank(labels: Array, wanted: Array) -> Array:
    """Rows that hold, at every place, the entry of the wanted rank."""
    values = jnp.take_along_axis(labels, _descending(labels), axis=-1)
    return jnp.take_along_axis(values, wanted - 1, axis=-1)
