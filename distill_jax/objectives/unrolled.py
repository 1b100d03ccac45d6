# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bilevel distillation by unrolling: networks trained on the set should do well.

    L(S) = mean_b loss(theta_{t+W}; real_b),   theta_{i+1} = theta_i + opt(g_i(S))

The derivative passes through W steps of training; the t before them are taken without.

    full          t = 0, W = T
    truncated     t = T - W
    random        t uniform in [0, T - W], drawn anew in every outer step
    forward       t moves from 0 to T - W while distilling

Wang et al., "Dataset Distillation", 2018; random windows: Feng, Vedantam and Kempe,
"Embarrassingly Simple Dataset Distillation", 2023.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, errors, tasks
from distill_jax.augmentation import policies
from distill_jax.compute import blocks
from distill_jax.inner import optimizers, unroll
from distill_jax.objectives import checks
from distill_jax.objectives import windows as windows_lib
from distill_jax.training import minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key, PyTree

__all__ = ["unrolled_training"]

# An optimiser, or what makes one of the learning rate that is learned with the set.
Optimizer = (
    optax.GradientTransformation | Callable[[Array], optax.GradientTransformation]
)


def unrolled_training(
    task: base.Task,
    *,
    num_steps: int,
    window: int | None = None,
    windows: windows_lib.Windows = "last",
    optimizer: Optimizer | None = None,
    batch_size: int | None = None,
    policy: policies.Policy | None = None,
    remat: unroll.Remat = "step",
    num_networks: int = 1,
    probes: Sequence[str] = (),
) -> base.Objective:
    """Judges the set by networks that are trained on it, through their training.

    Batches are real :class:`~distill_jax.base.Examples`, and each network draws a
    context of the task for itself; or a :class:`~distill_jax.base.Contextual`, whose
    contexts the networks are trained and judged in.

    Args:
      task: says what the labels of the set are. The loss on real examples is the
        cross-entropy for class probabilities, the squared error for centred labels.
      num_steps: T, the length of a training.
      window: W, how many of its steps are differentiated; all of them by default.
      windows: which: the ``"last"``, ``"random"`` ones, or those of a
        :class:`~distill_jax.objectives.Forward`, which move on with the outer steps. A
        network is led to the end of its window and judged there.
      optimizer: of the networks; Adam with 1e-3 by default. Where the set learns its
        learning rate, a function from that to an optimiser.
      batch_size: synthetic examples of every step; all by default.
      policy: what augmentation is drawn from in every step, or None.
      remat: what the backward pass computes again, see
        :func:`~distill_jax.inner.unroll.train_student`.
      num_networks: fresh networks of each outer step, and of each context where the
        batch has several; the loss is their mean.
      probes: what the loss gives for transforms: ``"syn_grad"``, the gradients of the
        steps that are differentiated, leaves ``[networks, W, ...]``, or nothing.

    Returns:
      An :class:`~distill_jax.base.Objective`; every outer step starts networks anew.
      Its inner state is empty, or counts the steps where windows move forward.

    Raises:
      InputError: for a window longer than the training, counts below 1, an optimiser
        that has no finite derivative, an unknown kind of windows or probe; from
        ``loss``, when the learning rate is to be learned and the set has none.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> objective = unrolled_training(task, num_steps=6, window=2, windows="random")
      >>> synthetic = dj.Synthetic(x=jnp.ones((10, 8, 8, 1)), y=jnp.eye(10))
      >>> real = dj.Examples(x=jnp.ones((4, 8, 8, 1)), y=jnp.eye(10)[:4])
      >>> loss, _ = objective.loss(synthetic, jax.random.key(0), {}, real)
      >>> loss.shape
      ()

    Reference:
      Yunzhen Feng, Ramakrishna Vedantam, Julia Kempe, "Embarrassingly Simple Dataset
      Distillation", 2023, algorithm 1.
    """
    is_learned = callable(optimizer)
    training = _Training(
        task,
        _maker(optimizers.adam(1e-3) if optimizer is None else optimizer),
        num_steps,
        num_steps if window is None else window,
        windows,
        batch_size,
        policy,
        remat,
        "syn_grad" in probes,
    )
    _check(training, num_networks)
    checks.check_probes("Unrolled training", probes, ("syn_grad",))

    def loss(synthetic, key, inner, batch):
        if is_learned and synthetic.learning_rate is None:
            raise errors.InputError(
                "The optimiser is a function of a learned learning rate, but the "
                "synthetic examples have none; make the decoder with "
                "`transforms.learn_rate`, or give an optax transformation."
            )
        value, first, grads = pools.map_networks(
            lambda args: _outer_value(training, synthetic, batch, inner, *args),
            _networks_of(inner, batch, key, num_networks),
        )
        metrics = {"window_start": first.mean(dtype=value.dtype)}
        intermediates = {"syn_grad": grads} if training.has_gradients else {}
        return value.mean(), base.Aux(metrics=metrics, probes=intermediates)

    return base.Objective(
        init=lambda key, synthetic: windows_lib.first_state(windows),
        loss=loss,
        advance=lambda key, inner, synthetic, batch: windows_lib.advanced(inner),
        probes=tuple(probes),
        at=lambda *networks: {
            **windows_lib.first_state(windows),
            "start": tasks.stack_learners(*networks),
        },
    )


class _Training(NamedTuple):
    """How a network is trained, and which of its steps are differentiated."""

    task: base.Task
    make_optimizer: Callable[[Any], optax.GradientTransformation]
    num_steps: int
    window: int
    windows: windows_lib.Windows
    batch_size: int | None
    policy: policies.Policy | None
    remat: unroll.Remat
    has_gradients: bool  # whether those of the window are given too


def _networks_of(
    inner: dict[str, Any], batch: base.Batch, key: Key, num_networks: int
) -> tuple[Key, Array | None, base.Learner | None]:
    """The keys of the networks, their contexts in the batch, and those that are given.

    The examples of the batch are not repeated for networks that share a context.
    """
    if "start" in inner:
        checks.check_no_contexts(batch, "A given network", checks.HAS_OWN)
        num_networks = jax.tree.leaves(inner["start"])[0].shape[0]
        return jax.random.split(key, num_networks), None, inner["start"]
    if not isinstance(batch, base.Contextual):
        return jax.random.split(key, num_networks), None, None
    num_contexts = jax.tree.leaves(batch)[0].shape[0]
    number = jnp.repeat(jnp.arange(num_contexts), num_networks)
    return jax.random.split(key, num_contexts * num_networks), number, None


def _outer_value(
    training: _Training,
    synthetic: base.Synthetic,
    batch: base.Batch,
    inner: dict[str, Any],
    key: Key,
    number: Array | None,
    learner: base.Learner | None,
) -> tuple[Array, Array, PyTree | None]:
    """The loss of theta_{t+W} on real examples, t, and gradients if asked for."""
    task = training.task
    key_context, key_net, key_start, key_batches, key_steps = jax.random.split(key, 5)
    num_examples = synthetic.y.shape[0]
    batches = minibatches.consecutive_batches(
        key_batches,
        num_examples=num_examples,
        batch_size=training.batch_size or num_examples,
        num_steps=training.num_steps,
    )
    first = windows_lib.window_start(
        training.windows, training.num_steps, training.window, key_start, inner
    )
    real = batch
    if learner is None:
        learner, real = _start(task, batch, number, (key_context, key_net))
    feed = unroll.Feed(batches, training.policy, learner.context)
    rate = synthetic.learning_rate
    variables, opt = unroll.lead_student(
        key_steps,
        learner.variables,
        task,
        synthetic,
        optimizer=training.make_optimizer(jax.lax.stop_gradient(rate)),
        num_steps=first,
        feed=feed,
    )
    variables, grads = unroll.train_student(
        key_steps,
        variables,
        task,
        synthetic,
        optimizer=training.make_optimizer(rate),
        num_steps=training.window,
        feed=feed,
        position=unroll.Position(opt, first),
        derivative=unroll.Derivative(remat=training.remat),
        has_gradients=training.has_gradients,
    )
    return _judge(task, variables, key_steps, real, learner.context), first, grads


def _start(
    task: base.Task, batch: base.Batch, number: Array | None, keys: tuple[Key, Key]
) -> tuple[base.Learner, Any]:
    """An untrained network, and the real examples that it will be judged by."""
    if number is None:
        return tasks.init_learner(task, keys), batch
    real, context = jax.tree.map(lambda leaf: leaf[number], batch)
    return base.Learner(task.init(keys[1], context), context), real


def _judge(
    task: base.Task,
    variables: base.Variables,
    key: Key,
    batch: base.Examples | None,
    context: Any,
) -> Array:
    """The mean loss on real examples; its derivative is taken block by block.

    The gradient is computed with the value, at parameters held constant, and attached
    to it: what remains of a large real batch is one tree of parameters. It is a
    function of the real examples and their weights, in which it can be differentiated
    again; a second derivative in the synthetic examples would miss its curvature.
    """
    if batch is None:  # The loss needs the context alone, such as a residual does.
        return jnp.mean(task.test_loss(variables, key, None, context))
    batch = batch._replace(y=task.encode(batch.y))

    def losses_fn(params, batch):
        network = base.Variables(params, variables.stats)
        return tasks.inference_loss(task, network, key, batch, context)

    at = jax.lax.stop_gradient(variables.params)

    def of_block(number, block):
        del number  # Inference draws nothing.
        total = lambda params: jnp.sum(block.weight * losses_fn(params, block))
        return jax.value_and_grad(total)(at)

    weighted = blocks.shares(batch)
    size = blocks.fitting_size(lambda batch: losses_fn(at, batch), weighted)
    value, grads = blocks.batch_sum(of_block, weighted, size)
    displacement = jax.tree.map(jnp.subtract, variables.params, at)
    return value + optax.tree.vdot(grads, displacement)


def _maker(optimizer: Optimizer) -> Callable[[Any], optax.GradientTransformation]:
    """A function of the learning rate, whether or not that is learned."""
    return optimizer if callable(optimizer) else lambda rate: optimizer


def _check(training: _Training, num_networks: int) -> None:
    num_steps, window = training.num_steps, training.window
    errors.check_counts(
        num_steps=num_steps,
        window=window,
        num_networks=num_networks,
        batch_size=1 if training.batch_size is None else training.batch_size,
    )
    windows_lib.check_windows(training.windows, num_steps, window)
    unroll.check_unroll("exact", training.remat)
    optimizers.check_differentiable(training.make_optimizer(jnp.asarray(0.1)))
