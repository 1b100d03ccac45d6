# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains a student on synthetic examples by steps that are differentiated through.

    theta_{i+1} = theta_i + opt(g_i),   g_i = d/d theta mean loss(A_i(S_i); theta_i)

S_i is a mini-batch of the synthetic examples, A_i an augmentation of it; both depend on
the key and on i alone, so that a student can be led to step t without derivatives and
from there with them, and is the same as one that was differentiated all the way.

"exact" lets the derivative pass through all theta_i; "tesla" holds each theta_i
constant inside its own g_i, so that with gradient descent theta_N is linear in the g_i
(Cui et al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory",
2023, where it is called exact; it is so for one step only).
"""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, deprecations, errors
from distill_jax.augmentation import policies
from distill_jax.compute import rows
from distill_jax.inner import rematerialisation
from distill_jax.training import gradient_step, minibatches
from distill_jax.types import Array, Key, PyTree

__all__ = [
    "Derivative",
    "Estimator",
    "Feed",
    "Position",
    "Remat",
    "check_unroll",
    "lead_student",
    "train_student",
]

Estimator = Literal["exact", "tesla"]
Remat = rematerialisation.Remat


class Feed(NamedTuple):
    """What a student sees in every step, however it is differentiated.

    Attributes:
      batches: rows [T, B] and weights [T, B] of the steps from 0 on, as
        :func:`~distill_jax.training.minibatches.consecutive_batches` draws them; all
        examples in every step where None.
      policy: what augmentation is drawn from in every step, or None.
      context: of the task.

    Example:
      >>> Feed(policy=policies.parse("crop")).batches is None
      True
    """

    batches: tuple[Array, Array] | None = None
    policy: policies.Policy | None = None
    context: Any = None


class Position(NamedTuple):
    """Where on its way a student is when its steps begin.

    Attributes:
      opt: the optimiser's state; that of a fresh one where None.
      first: t, the number of the first step, which may be traced.

    Example:
      >>> Position().first
      0
    """

    opt: optax.OptState | None = None
    first: Array | int = 0


class Derivative(NamedTuple):
    """How a derivative is taken through the steps of a student.

    Attributes:
      estimator: ``"exact"`` or ``"tesla"``; the value is the same.
      remat: what the backward pass computes again: ``"none"``; every ``"step"`` from
        its parameters and its gradient, so that memory holds N times these and the
        activations of one step, on the CPU of as many examples as fit the caches;
        ``"sqrt"``: also these, of which about 2 sqrt(N) are kept.

    Example:
      >>> Derivative(remat="sqrt").estimator
      'exact'
    """

    estimator: Estimator = "exact"
    remat: Remat = "step"


@deprecations.gathered_arguments("derivative", Derivative)
@deprecations.gathered_arguments("position", Position)
@deprecations.gathered_arguments("feed", Feed)
def train_student(
    key: Key,
    variables: base.Variables,
    task: base.Task,
    synthetic: Any,
    *,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    feed: Feed = Feed(),
    position: Position = Position(),
    derivative: Derivative = Derivative(),
    has_gradients: bool = False,
) -> tuple[base.Variables, PyTree | None]:
    """Takes N steps of an optimiser; differentiable in all it is given.

    Args:
      key: draws the augmentations, and what the task draws, of every step.
      variables: theta_t and running statistics.
      task: gives the loss of each example.
      synthetic: M examples.
      optimizer: any that can be differentiated, see
        :func:`~distill_jax.inner.optimizers.check_differentiable`; its learning rate
        may be an array that is learned.
      num_steps: N; 0 returns ``variables``.
      feed: what it sees in every step; all examples as they are by default.
      position: where on its way it is; at its first step by default.
      derivative: how it is differentiated.
      has_gradients: whether g_t, ..., g_{t+N-1} are returned too.

    Returns:
      The variables after the steps, and the gradients with a leading axis N or None.

    Raises:
      InputError: for an unknown estimator or form of rematerialisation.

    Example:
      >>> import distill_jax as dj, jax, optax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> start = task.init(jax.random.key(0), None)
      >>> synthetic = dj.Synthetic(x=jax.numpy.ones((10, 8, 8, 1)), y=jax.numpy.eye(10))
      >>> end, _ = train_student(
      ...     jax.random.key(1), start, task, synthetic, num_steps=3,
      ...     optimizer=optax.sgd(0.1))
      >>> jax.tree.map(jax.numpy.shape, end) == jax.tree.map(jax.numpy.shape, start)
      True
    """
    check_unroll(*derivative)
    estimator, remat = derivative
    whole = _whole(synthetic)
    opt = _optimizer_state(position, optimizer, variables)

    def step(carry, number):
        variables, opt = carry
        key_loss, batch = _batch_at(key, number, whole, feed)

        is_held = estimator == "tesla"
        at = jax.lax.stop_gradient(variables.params) if is_held else variables.params
        at = variables._replace(params=at)
        grads, stats = gradient_step.gradient(
            key_loss, at, task, batch, context=feed.context, in_blocks=remat != "none"
        )
        grads = rematerialisation.kept(grads)
        updates, opt = optimizer.update(grads, opt, variables.params)
        params: Any = optax.apply_updates(variables.params, updates)
        return (base.Variables(params, stats), opt), grads if has_gradients else None

    first = jnp.asarray(position.first, jnp.int32)
    numbers = first + jnp.arange(num_steps, dtype=jnp.int32)
    (variables, _), grads = rematerialisation.scan(
        step, (variables, opt), numbers, remat=remat
    )
    return variables, grads


@deprecations.gathered_arguments("position", Position)
@deprecations.gathered_arguments("feed", Feed)
def lead_student(
    key: Key,
    variables: base.Variables,
    task: base.Task,
    synthetic: Any,
    *,
    optimizer: optax.GradientTransformation,
    num_steps: Array | int,
    feed: Feed = Feed(),
    position: Position = Position(),
) -> tuple[base.Variables, optax.OptState]:
    """Takes the steps of :func:`train_student` without derivatives of them.

    Args:
      key: as there.
      variables: as there.
      task: as there.
      synthetic: as there; nothing is differentiated in it.
      optimizer: as there, with a learning rate that is not being differentiated.
      num_steps: how many steps; it may be traced, and one compilation serves all.
      feed: as there.
      position: as there.

    Returns:
      The variables and the optimiser's state, to go on from.

    Example:
      >>> import distill_jax as dj, jax, optax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> start, sgd = task.init(jax.random.key(0), None), optax.sgd(0.1)
      >>> synthetic = dj.Synthetic(x=jax.numpy.ones((10, 8, 8, 1)), y=jax.numpy.eye(10))
      >>> middle, opt = lead_student(
      ...     jax.random.key(1), start, task, synthetic, num_steps=2,
      ...     optimizer=sgd)
      >>> end, _ = train_student(
      ...     jax.random.key(1), middle, task, synthetic, position=Position(opt, 2),
      ...     num_steps=1, optimizer=sgd)
    """
    whole = jax.lax.stop_gradient(_whole(synthetic))
    variables = jax.lax.stop_gradient(variables)
    opt = _optimizer_state(position, optimizer, variables)

    def step(number, carry):
        key_loss, batch = _batch_at(key, number, whole, feed)
        variables, opt = carry
        return gradient_step.descend(
            key_loss,
            variables,
            opt,
            task,
            batch,
            optimizer=optimizer,
            context=feed.context,
        )

    first, count = (jnp.asarray(n, jnp.int32) for n in (position.first, num_steps))
    return jax.lax.fori_loop(first, first + count, step, (variables, opt))


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


def _optimizer_state(
    position: Position,
    optimizer: optax.GradientTransformation,
    variables: base.Variables,
) -> optax.OptState:
    """That of the optimiser where the student is."""
    if position.opt is None:
        return optimizer.init(variables.params)
    return position.opt


def _whole(synthetic: Any) -> base.Examples:
    return jax.tree.map(jnp.asarray, rows.examples_of(synthetic))


def _batch_at(
    key: Key,
    number: Array,
    whole: base.Examples,
    feed: Feed,
) -> tuple[Key, base.Examples]:
    """What a step draws from and learns from; the same whoever takes it."""
    key_augment, key_loss = jax.random.split(jax.random.fold_in(key, number))
    batch = whole
    if feed.batches is not None:
        index, weight = feed.batches
        batch = rows.take(whole, index[number], weight[number])
    return key_loss, minibatches.augment_batch(key_augment, feed.policy, batch)
