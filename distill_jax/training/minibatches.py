# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mini-batches: which examples each step of a training has, and how it sees them.

Every epoch is a fresh permutation cut into mini-batches; the short last one is kept,
filled up with examples of weight 0. All permutations are drawn before the training, so
that a step is one gather; augmentation and mixing are drawn in every step.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base
from distill_jax.augmentation import drawing, policies
from distill_jax.augmentation import mixing as mixing_lib
from distill_jax.compute import randomness, rows
from distill_jax.types import Array, Key

__all__ = [
    "Batching",
    "augment_batch",
    "consecutive_batches",
    "mini_batches",
    "mix_batch",
    "num_steps_per_epoch",
    "some_rows",
]


class Batching(NamedTuple):
    """How the mini-batches of a training come to be.

    Attributes:
      batch_size: B; all M examples at once where it is larger.
      policy: what augmentation is drawn from in every step, or None.
      mixing: how examples are joined in pairs after that.
      mixing_probability: of every batch.
      prepare: what is done to a batch before augmentation (normalising raw images).
      order: [epochs, M] the order of the examples in every epoch; drawn where None.

    Example:
      >>> Batching(256, policies.parse("crop")).mixing
      'none'
    """

    batch_size: int
    policy: policies.Policy | None = None
    mixing: mixing_lib.Kind = "none"
    mixing_probability: float = 1.0
    prepare: Callable[[base.Examples], base.Examples] | None = None
    order: Array | None = None


def num_steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """How many mini-batches an epoch has, the short last one included.

    Example:
      >>> num_steps_per_epoch(7, 4), num_steps_per_epoch(8, 4)
      (2, 2)
    """
    return -(-num_examples // batch_size)


def mini_batches(
    key: Key,
    *,
    num_examples: int,
    batch_size: int,
    num_steps: int,
    order: Array | None = None,
) -> tuple[Array, Array]:
    """The examples of every mini-batch of a training.

    Args:
      key: draws one permutation per epoch.
      num_examples: M.
      batch_size: B, at most M.
      num_steps: T.
      order: [epochs, M] permutations to use instead.

    Returns:
      The positions [T, B] int32 and their weights [T, B], which are 0 for the examples
      that fill up the short last batch of an epoch (the first ones of the same epoch
      again) and 1 for the others.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> index, weight = mini_batches(
      ...     jax.random.key(0), num_examples=3, batch_size=2, num_steps=2,
      ...     order=jnp.array([[2, 0, 1]]))
      >>> index.tolist(), weight.tolist()
      ([[2, 0], [1, 2]], [[1.0, 1.0], [1.0, 0.0]])
    """
    per_epoch = num_steps_per_epoch(num_examples, batch_size)
    num_epochs = -(-num_steps // per_epoch)
    if order is None:
        order = randomness.permutations(key, num_examples, num_epochs)
    num_missing = per_epoch * batch_size - num_examples
    order = jnp.concatenate([order, order[:, :num_missing]], axis=1)[:num_epochs]
    index = order.reshape(-1, batch_size)[:num_steps].astype(jnp.int32)
    is_real = np.arange(per_epoch * batch_size) < num_examples
    weight = np.tile(is_real.reshape(per_epoch, batch_size), (num_epochs, 1))
    return index, jnp.asarray(weight[:num_steps], dtype=float)


def consecutive_batches(
    key: Key, *, num_examples: int, batch_size: int, num_steps: int
) -> tuple[Array, Array] | None:
    """The mini-batches of a student: chunks of random permutations, the last first.

    Args:
      key: draws a permutation for every pass over the examples.
      num_examples: M.
      batch_size: B.
      num_steps: N.

    Returns:
      Rows [N, B] and their weights [N, B]; a short chunk, which comes first in its
      pass, is filled up with rows of weight 0. None where every batch is all examples.

    Example:
      >>> import jax
      >>> rows, weight = consecutive_batches(
      ...     jax.random.key(0), num_examples=5, batch_size=2, num_steps=4)
      >>> rows.shape, weight.sum(axis=1).tolist()
      ((4, 2), [1.0, 2.0, 2.0, 1.0])
    """
    if batch_size >= num_examples:
        return None
    per_pass = num_steps_per_epoch(num_examples, batch_size)
    num_passes = max(1, math.ceil(num_steps / per_pass))
    rows, weight = mini_batches(
        key,
        num_examples=num_examples,
        batch_size=batch_size,
        num_steps=num_passes * per_pass,
    )
    turn = lambda leaf: leaf.reshape(num_passes, per_pass, -1)[:, ::-1].reshape(
        num_passes * per_pass, -1
    )[:num_steps]
    return turn(rows), turn(weight)


def some_rows(key: Key, synthetic: Any, num: int) -> Any:
    """A random subset of a distilled set, or all of it where it is small enough.

    Args:
      key: draws the rows.
      synthetic: :class:`~distill_jax.base.Synthetic` of M rows.
      num: at most so many.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> synthetic = base.Synthetic(jnp.arange(5.0), jnp.eye(5))
      >>> some_rows(jax.random.key(0), synthetic, 2).y.shape
      (2, 5)
    """
    num_rows = synthetic.y.shape[0]
    if num_rows <= num:
        return synthetic
    chosen = randomness.permutation(key, num_rows)[:num]
    taken = rows.take(rows.examples_of(synthetic), chosen)
    kept = {name: getattr(taken, name) for name in ("x", "y", "weight", "target")}
    return synthetic._replace(**kept)


def augment_batch(
    key: Key, policy: policies.Policy | None, batch: base.Examples
) -> base.Examples:
    """A mini-batch after a fresh draw of augmentation.

    Args:
      key: of the draw.
      policy: what is drawn from; None leaves the batch as it is.
      batch: the examples.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> batch = base.Examples(jnp.ones((2, 8, 8, 1)), jnp.eye(2))
      >>> policy = policies.parse("crop")
      >>> augment_batch(jax.random.key(0), policy, batch).x.shape
      (2, 8, 8, 1)
    """
    if policy is None:
        return batch
    num_examples, *shape = batch.x.shape
    params = drawing.sample_augmentation(
        key, policy, num_examples=num_examples, shape=tuple(shape)
    )
    return batch._replace(x=drawing.augment(params, batch.x))


def mix_batch(
    key: Key, kind: mixing_lib.Kind, probability: float, batch: base.Examples
) -> base.Examples:
    """A mini-batch whose examples may be joined in pairs.

    Args:
      key: of the draw.
      kind: how; ``"none"`` leaves the batch as it is.
      probability: of the whole batch being mixed.
      batch: the examples.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> batch = base.Examples(jnp.ones((2, 8, 8, 1)), jnp.eye(2))
      >>> mix_batch(jax.random.key(0), "mixup", 0.5, batch).y.sum(axis=1).tolist()
      [1.0, 1.0]
    """
    if kind == "none" or probability == 0:
        return batch
    key_whether, key_mix = jax.random.split(key)
    num_examples, *shape = batch.x.shape
    params = mixing_lib.sample_mixing(
        key_mix, kind, num_examples=num_examples, shape=tuple(shape)
    )
    mixed = mixing_lib.mix(params, batch)
    if probability == 1:
        return mixed
    is_mixed = jax.random.bernoulli(key_whether, probability)
    return jax.tree.map(lambda new, old: jnp.where(is_mixed, new, old), mixed, batch)
