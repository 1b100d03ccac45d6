# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains a student on synthetic examples by steps that are differentiated through.

    theta_{i+1} = theta_i - beta g_i,    g_i = d/d theta  mean loss(A_i(S_i); theta_i)

S_i is a mini-batch of the synthetic examples, A_i an augmentation of it. "exact" lets
the derivative pass through all theta_i; "tesla" holds each theta_i constant inside its
own g_i, so that theta_N = theta_0 - beta sum_i g_i is linear in the g_i (Cui et al.,
"Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory", 2023, where it is
called exact; it is so for one step only).
"""

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.inner import augment, learn
from distill_jax.types import Array, Key, PyTree

__all__ = ["Estimator", "Remat", "check_unroll", "consecutive_batches", "train_student"]

Estimator = Literal["exact", "tesla"]
Remat = Literal["none", "step", "sqrt"]


def train_student(
    key: Key,
    params: PyTree,
    task: base.Task,
    synthetic: Any,
    *,
    num_steps: int,
    learning_rate: Array | float,
    batches: tuple[Array, Array] | None = None,
    policy: augment.Policy | None = None,
    estimator: Estimator = "exact",
    remat: Remat = "step",
    context: Any = None,
    has_gradients: bool = False,
) -> tuple[PyTree, PyTree | None]:
    """Takes N steps of plain gradient descent; differentiable in all it is given.

    Args:
      key: draws the augmentations, and what the task draws.
      params: theta_0, of a network without running statistics.
      task: gives the loss of each example.
      synthetic: M examples.
      num_steps: N; 0 returns ``params``.
      learning_rate: beta.
      batches: rows [N, B] and weights [N, B] of every step, as
        :func:`consecutive_batches` draws them; all examples in every step where None.
      policy: what augmentation is drawn from in every step, or None.
      estimator: ``"exact"`` or ``"tesla"``; the value is the same.
      remat: what the backward pass computes again: ``"none"``; every ``"step"`` from
        its parameters, so that memory holds N times the parameters and the activations
        of one step; ``"sqrt"``: also the parameters, of which about 2 sqrt(N) are kept.
      context: of the task.
      has_gradients: whether g_0, ..., g_{N-1} are returned too.

    Returns:
      theta_N, and the gradients with a leading axis N or None.

    Raises:
      InputError: for an unknown estimator or form of rematerialisation.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> start = task.init(jax.random.key(0), None).params
      >>> few = dj.Synthetic(x=jax.numpy.ones((10, 8, 8, 1)), y=jax.numpy.eye(10))
      >>> end, _ = train_student(
      ...     jax.random.key(1), start, task, few, num_steps=3, learning_rate=0.1)
      >>> jax.tree.map(jax.numpy.shape, end) == jax.tree.map(jax.numpy.shape, start)
      True
    """
    check_unroll(estimator, remat)
    whole = base.Examples(synthetic.x, synthetic.y, synthetic.weight)
    whole = jax.tree.map(jnp.asarray, whole)

    def step(params, inputs):
        key, rows = inputs
        key_augment, key_loss = jax.random.split(key)
        batch = whole if rows is None else learn.take_rows(whole, *rows)
        batch = learn.bend(key_augment, policy, batch)

        def loss_fn(params):
            variables = base.Variables(params, {})
            losses, _ = task.train_loss(variables, key_loss, batch, context)
            return learn.weighted_mean(losses, batch.weight)

        at = jax.lax.stop_gradient(params) if estimator == "tesla" else params
        grads = jax.grad(loss_fn)(at)
        params = jax.tree.map(
            lambda leaf, grad: (leaf - learning_rate * grad).astype(leaf.dtype),
            params,
            grads,
        )
        return params, grads if has_gradients else None

    inputs = jax.random.split(key, num_steps), batches
    return _scan(step, params, inputs, num_steps, remat)


def check_unroll(estimator: str, remat: str) -> None:
    """Raises unless a derivative through training can be taken in this way.

    Example:
      >>> check_unroll("exact", "sqrt")
    """
    for what, name, known in (
        ("estimator", estimator, get_args(Estimator)),
        ("form of rematerialisation", remat, get_args(Remat)),
    ):
        if name not in known:
            raise errors.InputError(
                f'There is no {what} "{name}". {errors.nearest(str(name), known)}'
            )


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
      >>> rows, weight = consecutive_batches(
      ...     jax.random.key(0), num_examples=5, batch_size=2, num_steps=4)
      >>> rows.shape, weight.sum(axis=1).tolist()
      ((4, 2), [1.0, 2.0, 2.0, 1.0])
    """
    if batch_size >= num_examples:
        return None
    per_pass = learn.num_steps_per_epoch(num_examples, batch_size)
    num_passes = max(1, math.ceil(num_steps / per_pass))
    rows, weight = learn.mini_batches(
        key,
        num_examples=num_examples,
        batch_size=batch_size,
        num_steps=num_passes * per_pass,
    )
    turn = lambda leaf: leaf.reshape(num_passes, per_pass, -1)[:, ::-1].reshape(
        num_passes * per_pass, -1
    )[:num_steps]
    return turn(rows), turn(weight)


def _scan(
    step: Callable, params: PyTree, inputs: PyTree, num_steps: int, remat: Remat
) -> tuple[PyTree, PyTree]:
    """A scan whose backward pass keeps as little as asked for."""
    if remat == "none":
        return jax.lax.scan(step, params, inputs)
    # Inside a scan nothing can be merged with what was computed before.
    step = jax.checkpoint(step, prevent_cse=False)
    if remat == "step" or num_steps < 4:
        return jax.lax.scan(step, params, inputs)
    length = math.isqrt(num_steps)
    num_whole = num_steps // length * length
    cut = lambda leaf: leaf[:num_whole].reshape(-1, length, *leaf.shape[1:])

    @jax.checkpoint
    def stretch(params, inputs):
        return jax.lax.scan(step, params, inputs)

    params, outputs = jax.lax.scan(stretch, params, jax.tree.map(cut, inputs))
    outputs = jax.tree.map(
        lambda leaf: leaf.reshape(num_whole, *leaf.shape[2:]), outputs
    )
    if num_whole == num_steps:
        return params, outputs
    rest = jax.tree.map(lambda leaf: leaf[num_whole:], inputs)
    params, last = jax.lax.scan(step, params, rest)
    join = lambda first, then: jnp.concatenate([first, then])
    return params, jax.tree.map(join, outputs, last)
