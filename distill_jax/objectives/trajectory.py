# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trajectory matching: a student of the synthetic examples should end where experts do.

    L = |theta_N - theta*_{t+M}|^2 / |theta*_t - theta*_{t+M}|^2,    theta_0 = theta*_t

theta* are the parameters of an expert trained on the real data, theta_N those of a
student that took N steps on the synthetic examples with the rate ``learning_rate`` of
those (Cazenavette et al., "Dataset Distillation by Matching Training Trajectories",
2022, algorithm 1).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, deprecations, errors, tasks
from distill_jax.augmentation import policies
from distill_jax.inner import unroll
from distill_jax.objectives import checks
from distill_jax.training import minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key, PyTree

__all__ = ["trajectory_matching"]


@deprecations.renamed_arguments(
    has_step_probe=("probes", lambda on: ("syn_grad",) if on else ())
)
def trajectory_matching(
    task: base.Task,
    *,
    num_steps: int,
    batch_size: int | None = None,
    batches: Callable[[Key], tuple[Array, Array]] | None = None,
    policy: policies.Policy | None = None,
    estimator: unroll.Estimator = "exact",
    remat: unroll.Remat = "step",
    assigns_labels: bool = False,
    probes: Sequence[str] = (),
) -> base.Objective:
    """Matches where a student of the synthetic examples gets to with where experts do.

    Batches are a :class:`~distill_jax.base.Segment` of E experts; the loss is the mean
    over them. The synthetic examples must have a learning rate, which
    :func:`~distill_jax.transforms.learn_rate` gives a decoder.

    Args:
      task: any; labels can be assigned where ``y`` are class probabilities.
      num_steps: N, steps of the student.
      batch_size: synthetic examples of each of them; all by default.
      batches: in place of ``batch_size``, a function of a key that gives the rows
        ``[N, B]`` and their weights ``[N, B]`` of all steps, as
        :func:`~distill_jax.training.minibatches.consecutive_batches` does.
      policy: what augmentation is drawn from in every step, or None.
      estimator: ``"exact"``, or ``"tesla"``, which holds the student's parameters
        constant in each gradient; see :mod:`distill_jax.inner.unroll`.
      remat: what the backward pass computes again, see there.
      assigns_labels: whether labels are those that the target networks give to the
        synthetic inputs, in every step anew, in place of the examples' own.
      probes: what the loss gives for transforms: ``"syn_grad"``, the gradients of the
        student, leaves ``[E, N, ...]``, or nothing.

    Returns:
      An :class:`~distill_jax.base.Objective`. Its inner state is empty, or holds the
      labels that were assigned last, which ``read`` then gives to the set.

    Raises:
      InputError: for a negative number of steps, an unknown estimator or probe, targets
        that are no class probabilities; from ``loss``, when there is no learning rate.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> objective = trajectory_matching(task, num_steps=2)
      >>> stack = lambda leaf: leaf[None]
      >>> start, target = (
      ...     jax.tree.map(stack, task.init(jax.random.key(seed), None).params)
      ...     for seed in (0, 1))
      >>> synthetic = dj.Synthetic(
      ...     jnp.ones((10, 8, 8, 1)), jnp.eye(10), learning_rate=jnp.array(0.0))
      >>> loss, _ = objective.loss(
      ...     synthetic, jax.random.key(2), {}, base.Segment(start, target))
      >>> float(loss)  # A student that stands still.
      1.0

    Reference:
      George Cazenavette et al., "Dataset Distillation by Matching Training
      Trajectories", 2022, eq. 2. Justin Cui et al., "Scaling Up Dataset Distillation to
      ImageNet-1K with Constant Memory", 2023, section 3 and, for the labels, 3.3.
    """
    _check(task, assigns_labels, num_steps, batch_size, batches)
    unroll.check_unroll(estimator, remat)
    checks.check_probes("Trajectory matching", probes, ("syn_grad",))

    def init(key: Key, synthetic: base.Synthetic) -> dict[str, Array]:
        del key  # Deterministic.
        return {"y": synthetic.y} if assigns_labels else {}

    student_fn = functools.partial(
        _match,
        task,
        num_steps=num_steps,
        batches=batches,
        batch_size=batch_size,
        policy=policy,
        derivative=unroll.Derivative(estimator, remat),
        has_gradients="syn_grad" in probes,
    )

    def loss(synthetic, key, inner, batch):
        checks.check_no_contexts(
            batch, "Trajectory matching", "its segments hold those of the experts"
        )
        _check_rate(synthetic)
        batch = _with_starts(inner, batch)  # Labels are assigned anew.
        if assigns_labels:
            y = _target_labels(task, batch, synthetic.x)
            synthetic = synthetic._replace(y=y)
        keys = jax.random.split(key, jax.tree.leaves(batch.start)[0].shape[0])
        end_distance, start_distance, grads = pools.map_networks(
            lambda args: student_fn(synthetic, *args), (keys, *batch)
        )
        metrics = {
            "learning_rate": synthetic.learning_rate,
            "expert_distance": jnp.sqrt(start_distance).mean(),
        }
        intermediates = {"syn_grad": grads} if "syn_grad" in probes else {}
        aux = base.Aux(metrics=metrics, probes=intermediates)
        return jnp.mean(end_distance / start_distance), aux

    def advance(key, inner, synthetic, batch):
        del key  # What is assigned depends on the targets alone.
        if not assigns_labels:
            return inner
        batch = _with_starts(inner, batch)
        return {**inner, "y": _target_labels(task, batch, synthetic.x)}

    read_fn = _read_assigned if assigns_labels else lambda synthetic, inner: synthetic
    return base.Objective(init, loss, advance, read_fn, tuple(probes), _at)


def _read_assigned(synthetic: base.Synthetic, inner: dict[str, Any]) -> base.Synthetic:
    """The set with the labels that were assigned last."""
    return synthetic._replace(y=inner["y"])


def _at(*networks: base.Learner | base.Variables) -> dict[str, base.Learner]:
    """The inner state by which students start at these networks, not at experts."""
    return {"start": tasks.stack_learners(*networks)}


def _with_starts(inner: dict[str, Any], segment: base.Segment) -> base.Segment:
    """The segment with the starts that the inner state holds, if it does."""
    if "start" not in inner:
        return segment
    learners: base.Learner = inner["start"]
    num_experts = jax.tree.leaves(segment.target)[0].shape[0]
    num_networks = jax.tree.leaves(learners)[0].shape[0]
    if num_networks not in (1, num_experts):
        raise errors.InputError(
            f"The batch has segments of {num_experts} experts, but the inner state "
            f"holds {num_networks} networks; give `at` one, or as many."
        )
    repeat = lambda leaf: jnp.broadcast_to(leaf, (num_experts, *leaf.shape[1:]))
    start, context = jax.tree.map(repeat, (learners.variables.params, learners.context))
    return segment._replace(start=start, context=context)


def _match(
    task: base.Task,
    synthetic: base.Synthetic,
    key: Key,
    start: PyTree,
    target: PyTree,
    context: Any,
    *,
    num_steps: int,
    batches: Callable[[Key], tuple[Array, Array]] | None,
    batch_size: int | None,
    policy: policies.Policy | None,
    **options: Any,
) -> tuple[Array, Array, PyTree]:
    """``|theta_N - theta*_{t+M}|^2``, ``|theta*_t - theta*_{t+M}|^2`` and gradients."""
    assert synthetic.learning_rate is not None  # Checked before.
    key_batches, key_steps = jax.random.split(key)
    num_examples = synthetic.y.shape[0]
    draw_fn = batches or functools.partial(
        minibatches.consecutive_batches,
        num_examples=num_examples,
        batch_size=batch_size or num_examples,
        num_steps=num_steps,
    )
    end, grads = unroll.train_student(
        key_steps,
        base.Variables(start, {}),
        task,
        synthetic,
        num_steps=num_steps,
        optimizer=optax.sgd(synthetic.learning_rate),
        feed=unroll.Feed(draw_fn(key_batches), policy, context),
        **options,
    )
    return _squared(end.params, target), _squared(start, target), grads


def _target_labels(task: base.Task, segment: base.Segment, x: PyTree) -> Array:
    """The mean of the probabilities that the target networks give; [M, C]."""
    x = jax.lax.stop_gradient(x)  # Labels are assigned, and no part of what is learned.

    def labels_of(learner: base.Learner) -> Array:
        return jax.nn.softmax(task.predict(learner.variables, x, learner.context))

    experts = base.Learner(base.Variables(segment.target, {}), segment.context)
    return pools.map_networks(labels_of, experts).mean(axis=0)


def _squared(tree: PyTree, other: PyTree) -> Array:
    """The squared distance of two trees."""
    difference = jax.tree.map(jnp.subtract, tree, other)
    return optax.tree.norm(difference, squared=True)


def _check_rate(synthetic: base.Synthetic) -> None:
    if synthetic.learning_rate is None:
        raise errors.InputError(
            "Trajectory matching needs the learning rate of the student, but the "
            "synthetic examples have none; make the decoder with "
            "`transforms.learn_rate`."
        )


def _check(
    task: base.Task,
    assigns_labels: bool,
    num_steps: int,
    batch_size: int | None,
    batches: Callable | None,
) -> None:
    if assigns_labels:
        checks.check_probabilities(
            task, "The labels that target networks give are class probabilities"
        )
    if num_steps < 0:
        raise errors.InputError(
            f"`num_steps` of the student must be 0 or more, got {num_steps}."
        )
    errors.check_counts(batch_size=1 if batch_size is None else batch_size)
    if batch_size is not None and batches is not None:
        raise errors.InputError(
            "`batches` says which examples the student sees, and so does `batch_size`, "
            f"{batch_size}; give one of them."
        )
