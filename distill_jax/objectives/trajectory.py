# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trajectory matching: a student of the synthetic examples should end where experts do.

    L = |theta_N - theta*_{t+M}|^2 / |theta*_t - theta*_{t+M}|^2,    theta_0 = theta*_t

theta* are the parameters of an expert trained on the real data, theta_N those of a
student that took N steps on the synthetic examples with the rate ``learning_rate`` of
those (Cazenavette et al., "Dataset Distillation by Matching Training Trajectories",
2022, algorithm 1).
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, errors
from distill_jax.augmentation import policies
from distill_jax.inner import unroll
from distill_jax.training import minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key, PyTree

__all__ = ["trajectory_matching"]


def trajectory_matching(
    task: base.Task,
    *,
    num_steps: int,
    batch_size: int | None = None,
    policy: policies.Policy | None = None,
    estimator: unroll.Estimator = "exact",
    remat: unroll.Remat = "step",
    assigns_labels: bool = False,
    has_step_probe: bool = False,
) -> base.Objective:
    """Matches where a student of the synthetic examples gets to with where experts do.

    Batches are a :class:`~distill_jax.base.Segment` of E experts; the loss is the mean
    over them. The synthetic examples must have a learning rate, which
    :func:`~distill_jax.transforms.learn_rate` gives a decoder.

    Args:
      task: a task whose ``y`` are class probabilities.
      num_steps: N, steps of the student.
      batch_size: synthetic examples of each of them; all by default.
      policy: what augmentation is drawn from in every step, or None.
      estimator: ``"exact"``, or ``"tesla"``, which holds the student's parameters
        constant in each gradient; see :mod:`distill_jax.inner.unroll`.
      remat: what the backward pass computes again, see there.
      assigns_labels: whether labels are those that the target networks give to the
        synthetic inputs, in every step anew, in place of the examples' own.
      has_step_probe: whether the probe ``syn_grad`` is computed: the student's
        gradients, leaves ``[E, N, ...]``.

    Returns:
      An :class:`~distill_jax.base.Objective`. Its inner state is empty, or holds the
      labels that were assigned last, which ``read`` then gives to the set.

    Raises:
      InputError: for a negative number of steps, an unknown estimator, targets that are
        no class probabilities; from ``loss``, when there is no learning rate.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> objective = trajectory_matching(task, num_steps=2)
      >>> stack = lambda leaf: leaf[None]
      >>> start, target = (
      ...     jax.tree.map(stack, task.init(jax.random.key(seed), None).params)
      ...     for seed in (0, 1))
      >>> few = dj.Synthetic(
      ...     jnp.ones((10, 8, 8, 1)), jnp.eye(10), learning_rate=jnp.array(0.0))
      >>> loss, _ = objective.loss(
      ...     few, jax.random.key(2), {}, base.Segment(start, target))
      >>> float(loss)  # A student that stands still.
      1.0

    Reference:
      George Cazenavette et al., "Dataset Distillation by Matching Training
      Trajectories", 2022, eq. 2. Justin Cui et al., "Scaling Up Dataset Distillation to
      ImageNet-1K with Constant Memory", 2023, section 3 and, for the labels, 3.3.
    """
    _check(task, num_steps, batch_size)
    unroll.check_unroll(estimator, remat)

    def init(key: Key, synthetic: base.Synthetic) -> dict[str, Array]:
        del key  # Deterministic.
        return {"y": synthetic.y} if assigns_labels else {}

    def labels(params: PyTree, x: PyTree) -> Array:
        """What target networks say, as the mean over them; [M, C]."""
        say = lambda one: jax.nn.softmax(task.predict(base.Variables(one, {}), x, None))
        return jax.lax.stop_gradient(pools.map_networks(say, params).mean(axis=0))

    def one_expert(args, synthetic: base.Synthetic):
        key, start, target = args
        assert synthetic.learning_rate is not None  # Looked at before.
        key_batches, key_steps = jax.random.split(key)
        num_examples = synthetic.y.shape[0]
        end, grads = unroll.train_student(
            key_steps,
            base.Variables(start, {}),
            task,
            synthetic,
            num_steps=num_steps,
            optimizer=optax.sgd(synthetic.learning_rate),
            batches=minibatches.consecutive_batches(
                key_batches,
                num_examples=num_examples,
                batch_size=batch_size or num_examples,
                num_steps=num_steps,
            ),
            policy=policy,
            estimator=estimator,
            remat=remat,
            has_gradients=has_step_probe,
        )
        return _squared(end.params, target), _squared(start, target), grads

    def loss(synthetic, key, inner, batch):
        del inner  # Labels are assigned anew.
        if synthetic.learning_rate is None:
            raise errors.InputError(
                "Trajectory matching needs the learning rate of the student, but the "
                "synthetic examples have none; make the decoder with "
                "`transforms.learn_rate`."
            )
        if assigns_labels:
            synthetic = synthetic._replace(y=labels(batch.target, synthetic.x))
        num_experts = jax.tree.leaves(batch.start)[0].shape[0]
        keys = jax.random.split(key, num_experts)
        left, way, grads = pools.map_networks(
            lambda args: one_expert(args, synthetic), (keys, *batch)
        )
        metrics = {
            "learning_rate": synthetic.learning_rate,
            "expert_distance": jnp.sqrt(way).mean(),
        }
        probes = {"syn_grad": grads} if has_step_probe else {}
        return jnp.mean(left / way), base.Aux(metrics=metrics, probes=probes)

    def advance(key, inner, synthetic, batch):
        del key, inner  # What is assigned depends on the targets alone.
        return {"y": labels(batch.target, synthetic.x)} if assigns_labels else {}

    def read(synthetic: base.Synthetic, inner: Any) -> base.Synthetic:
        return synthetic._replace(y=inner["y"]) if assigns_labels else synthetic

    return base.Objective(init=init, loss=loss, advance=advance, read=read)


def _squared(tree: PyTree, other: PyTree) -> Array:
    """The squared distance of two trees."""
    difference = jax.tree.map(jnp.subtract, tree, other)
    return optax.tree.norm(difference, squared=True)


def _check(task: base.Task, num_steps: int, batch_size: int | None) -> None:
    if task.targets != "probabilities":
        raise errors.InputError(
            "Students of trajectory matching learn by the cross-entropy, but the task "
            f'has targets of the kind "{task.targets}"; use `task.retarget'
            '("probabilities")`.'
        )
    if num_steps < 0:
        raise errors.InputError(
            f"`num_steps` of the student must be 0 or more, got {num_steps}."
        )
    if batch_size is not None and batch_size < 1:
        raise errors.InputError(f"`batch_size` must be at least 1, got {batch_size}.")
