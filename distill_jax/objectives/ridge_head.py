# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels by a last layer in closed form: ridge regression, judged by the cross-entropy.

    F = [f(x), 1],   P = F_t F_s^T (F_s F_s^T + r tr(F_s F_s^T)/M I)^{-1} Y_s
    L = mean_b CE( softmax(tau P_b), Y_b )

The labels Y_s are class probabilities, and the features f those of networks that are
trained on the same examples with the same labels. Ondrej Bohdal, Yongxin Yang, Timothy
Hospedales, "Flexible Dataset Distillation: Learn Labels Instead of Images", 2020.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, tasks
from distill_jax.compute import blocks
from distill_jax.objectives import checks, kernel, ridge_terms
from distill_jax.training import gradient_step, minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key, PyTree

__all__ = ["ridge_classification"]


def ridge_classification(
    task: base.Task,
    *,
    num_networks: int = 10,
    num_active: int = 1,
    training: kernel.MemberTraining = kernel.MemberTraining(),
    ridge: float = 1e-2,
) -> base.Objective:
    """Judges class probabilities by the ridge regression of a last layer on them.

    The networks below that layer are members of a pool, as in
    :func:`~distill_jax.objectives.kernel_regression`; here they learn the labels as
    class probabilities, by the soft cross-entropy. No gradient flows through their
    training. A synthetic set with a ``temperature`` has predictions multiplied by it.

    Args:
      task: a task with features, and class probabilities as targets.
      num_networks: ``P``, the size of the pool.
      num_active: networks per outer step; the loss is their mean.
      training: how members are trained, and for how long.
      ridge: the regulariser, as a multiple of the mean diagonal of the kernel.

    Returns:
      An :class:`~distill_jax.base.Objective` whose synthetic labels are class
      probabilities.

    Raises:
      InputError: when the task has no features, or other targets.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> objective = ridge_classification(task, num_networks=2)
      >>> synthetic = dj.Synthetic(x=jnp.ones((10, 8, 8, 1)), y=jnp.eye(10))
      >>> inner = objective.init(jax.random.key(0), synthetic)
      >>> real = dj.Examples(x=jnp.ones((4, 8, 8, 1)), y=jnp.eye(10)[:4])
      >>> loss, _ = objective.loss(synthetic, jax.random.key(1), inner, real)
      >>> loss.shape
      ()

    Reference:
      Ondrej Bohdal, Yongxin Yang, Timothy Hospedales, "Flexible Dataset Distillation:
      Learn Labels Instead of Images", 2020, algorithm 2.
    """
    features_fn = checks.check_features(task, "A ridge head")
    checks.check_probabilities(task, "The labels of a ridge head are probabilities")
    optimizer = optax.adam(training.learning_rate)
    pool_options = {
        "init_fn": functools.partial(tasks.init_learner, task),
        "optimizer": optimizer,
        "max_age": training.max_age,
    }

    def init(key: Key, synthetic: base.Synthetic) -> pools.Pool:
        del synthetic  # Members start untrained.
        return pools.init_pool(
            key, num_networks=num_networks, num_active=num_active, **pool_options
        )

    def loss(synthetic, key, inner, batch):
        del key  # The active members were drawn by `advance`.
        checks.check_no_contexts(batch, "A ridge head", checks.HAS_OWN)
        terms = pools.map_networks(
            lambda learner: _terms(features_fn, ridge, learner, synthetic, batch),
            pools.learners(inner),
        )
        metrics = {"ridge_accuracy": jnp.mean(terms.accuracy)}
        return jnp.mean(terms.regression), base.Aux(metrics=metrics)

    def advance(key, inner, synthetic, batch):
        del batch  # Members train on the synthetic set.
        key_rows, key_pool = jax.random.split(key)
        examples = minibatches.some_rows(
            key_rows, synthetic, training.max_train_examples
        )

        def train(key, variables, opt, context):
            return gradient_step.descend(
                key,
                variables,
                opt,
                task,
                examples,
                optimizer=optimizer,
                context=context,
            )

        return pools.advance_pool(key_pool, inner, train_fn=train, **pool_options)

    at = functools.partial(pools.pool_of, optimizer=optimizer)
    return base.Objective(init=init, loss=loss, advance=advance, at=at)


def _terms(
    features_fn: checks.FeaturesFn,
    ridge: float,
    learner: base.Learner,
    synthetic: base.Synthetic,
    real: base.Examples,
) -> ridge_terms.KernelTerms:
    """L under one network, and the accuracy of its ridge head."""
    features_of = functools.partial(_features, features_fn, learner)
    temperature = synthetic.temperature
    return ridge_terms.kernel_terms(
        features_of(synthetic.x),
        features_of(real.x),
        synthetic.y,
        real.y - 1.0 / real.y.shape[-1],  # It wants centred labels.
        weight=real.weight,
        ridge=ridge,
        temperature=jnp.ones(()) if temperature is None else temperature,
    )


def _features(fn: checks.FeaturesFn, learner: base.Learner, x: PyTree) -> Array:
    """F, the features below the last layer and a column of ones; [B, D + 1]."""
    variables, context = learner
    features_of: Any = lambda x: fn(variables, x, context)["penultimate"]
    features = blocks.map_rows(features_of, x)
    return jnp.pad(features, ((0, 0), (0, 1)), constant_values=1.0)
