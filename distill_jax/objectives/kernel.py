# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kernel distillation: ridge regression on the features of a pool of networks (FRePo).

    K = F_s F_s^T,  P = F_t F_s^T (K + r tr(K)/M I)^{-1} Y_s
    L = mean_b 1/2 ||P_b - Y_b||^2 - mean_i min(top1(y_i) - top2(y_i), 1/C)

Zhou, Nezhadarya and Ba, "Dataset Distillation using Neural Feature Regression", 2022.
With a learned temperature tau the first term is the cross-entropy of softmax(tau P_b),
and the networks' own training may be followed by its implicit derivative: Loo et al.,
"Dataset Distillation with Convexified Implicit Gradients", 2023 (RCIG).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, deprecations, errors, tasks
from distill_jax.compute import blocks
from distill_jax.inner import hypergradient, solvers
from distill_jax.objectives import checks, ridge_terms
from distill_jax.training import gradient_step, minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key, PyTree

__all__ = ["MemberTraining", "kernel_regression"]


class MemberTraining(NamedTuple):
    """How the members of the pool are trained, one step in every outer step.

    Attributes:
      max_age: training steps after which a member is replaced by a fresh one.
      learning_rate: of Adam for the members.
      max_train_examples: members train on at most this many synthetic examples.

    Example:
      >>> MemberTraining(max_age=7).learning_rate
      0.0003
    """

    max_age: int = 100
    learning_rate: float = 3e-4
    max_train_examples: int = 1000


@deprecations.gathered_arguments("training", MemberTraining)
def kernel_regression(
    task: base.Task,
    *,
    num_networks: int = 10,
    num_active: int = 1,
    training: MemberTraining = MemberTraining(),
    ridge: float = 1e-6,
    use_margin: bool = True,
    margin_limit: float | None = None,
    use_flip: bool = False,
    num_implicit: int = 0,
    damping: float = 1e-3,
) -> base.Objective:
    """Distils by kernel ridge regression on the features of a pool of networks.

    The last layer is solved in closed form; the networks below it are members of a
    pool, trained on the *updated* synthetic set by one step of Adam per outer step,
    with the squared error on centred labels. No gradient flows through that training,
    unless by its implicit derivative. A synthetic set with a ``temperature`` is judged
    by the cross-entropy.

    Args:
      task: a task with features. It is used with centred labels: the batch holds class
        probabilities, from which ``1/C`` is subtracted here. Values are regressed as
        they are, and labels have no margin then.
      num_networks: ``P``, the size of the pool.
      num_active: networks per outer step; the loss is their mean (the paper uses 1).
      training: how members are trained, and for how long.
      ridge: the regulariser, as a multiple of the mean diagonal of the kernel.
      use_margin: whether labels are pulled to have a clear winner.
      margin_limit: where the margin of a label stops counting; 1/C by default (FRePo),
        half of it in RCIG.
      use_flip: whether mirror images, with the same labels, join the synthetic examples
        in the regression (the paper: for colour pictures).
      num_implicit: iterations of conjugate gradients for the implicit derivative of the
        networks, linearised where they are; 0 for none of it. Its norm is clipped to
        that of the direct derivative.
      damping: of those iterations.

    Returns:
      An :class:`~distill_jax.base.Objective` whose synthetic labels are centred, or
      values.

    Raises:
      InputError: when the task has no features; from ``loss``, for values and a
        temperature.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10), data.spec)
      >>> objective = kernel_regression(task, num_networks=2)
      >>> objective.init.__name__
      'init'

    Reference:
      Yongchao Zhou, Ehsan Nezhadarya, Jimmy Ba, "Dataset Distillation using Neural
      Feature Regression", 2022, eq. 4 and Algorithm 1. Noel Loo et al., "Dataset
      Distillation with Convexified Implicit Gradients", 2023, section 4.
    """
    features_fn = checks.check_features(task, "A kernel objective")
    has_classes = task.has_classes
    if has_classes:
        task = task.retarget("centred")
    max_age, learning_rate, max_train_examples = training
    optimizer = optax.adam(learning_rate)
    init_fn = functools.partial(tasks.init_learner, task)
    pool_options = {"init_fn": init_fn, "optimizer": optimizer, "max_age": max_age}
    value_options = (ridge, use_margin and has_classes, margin_limit, use_flip)
    regression = _Regression(task, features_fn, *value_options)
    value_fn = functools.partial(_value, regression)
    if num_implicit:
        options = solvers.SolverOptions("cg", num_implicit, damping, clip_ratio=1.0)
        value_fn = functools.partial(_followed_value, regression, options)

    def init(key: Key, synthetic: base.Synthetic) -> pools.Pool:
        del synthetic  # Members start untrained.
        return pools.init_pool(
            key, num_networks=num_networks, num_active=num_active, **pool_options
        )

    def loss(synthetic, key, inner, batch):
        del key  # The active members were drawn by `advance`.
        checks.check_no_contexts(batch, "A kernel objective", checks.HAS_OWN)
        real = _real(task, batch, synthetic)
        values, terms = pools.map_networks(
            lambda learner: value_fn(learner, synthetic, real), pools.learners(inner)
        )
        metrics = {"regression": jnp.mean(terms.regression)}
        if has_classes:
            metrics["margin"] = jnp.mean(terms.margin)
            metrics["ridge_accuracy"] = jnp.mean(terms.accuracy)
        return jnp.mean(values), base.Aux(metrics=metrics)

    def advance(key, inner, synthetic, batch):
        del batch  # Members train on the synthetic set.
        key_rows, key_pool = jax.random.split(key)
        examples = minibatches.some_rows(key_rows, synthetic, max_train_examples)
        return pools.advance_pool(
            key_pool,
            inner,
            train_fn=functools.partial(_train, task, optimizer, examples),
            **pool_options,
        )

    at = functools.partial(pools.pool_of, optimizer=optimizer)
    return base.Objective(init=init, loss=loss, advance=advance, at=at)


def _real(
    task: base.Task, batch: base.Examples, synthetic: base.Synthetic
) -> base.Examples:
    """Real examples with centred labels, or with values as the task writes them."""
    if task.has_classes:
        return batch._replace(y=batch.y - 1.0 / batch.y.shape[-1])
    if synthetic.temperature is not None:
        raise errors.InputError(
            "The synthetic examples have a temperature, by which predictions are "
            "multiplied before a softmax, but the targets of the task are values; use "
            "a decoder without `learn_temperature`."
        )
    return tasks.encode_batch(task, batch)


class _Regression(NamedTuple):
    """What decides the value under one network."""

    task: base.Task  # with centred labels, or values
    features_fn: checks.FeaturesFn
    ridge: float
    use_margin: bool
    margin_limit: float | None
    use_flip: bool


def _train(
    task: base.Task,
    optimizer: optax.GradientTransformation,
    examples: base.Examples,
    key: Key,
    variables: base.Variables,
    opt: optax.OptState,
    context: Any,
) -> tuple[base.Variables, optax.OptState]:
    """The step of one member, on synthetic examples."""
    return gradient_step.descend(
        key, variables, opt, task, examples, optimizer=optimizer, context=context
    )


def _value(
    regression: _Regression,
    learner: base.Learner,
    synthetic: base.Synthetic,
    real: base.Examples,
) -> tuple[Array, ridge_terms.KernelTerms]:
    """L under one network, and its terms."""
    x_syn, y_syn = synthetic.x, synthetic.y
    if regression.use_flip:  # The mean margin of the labels stays the same.
        x_syn = jnp.concatenate([x_syn, jnp.flip(x_syn, axis=-2)])
        y_syn = jnp.concatenate([y_syn, y_syn])
    terms = ridge_terms.kernel_terms(
        _features(regression, learner, x_syn),
        _features(regression, learner, real.x),
        y_syn,
        real.y,
        weight=real.weight,
        ridge=regression.ridge,
        margin_limit=regression.margin_limit,
        temperature=synthetic.temperature,
        has_classes=regression.task.has_classes,
    )
    return terms.regression - (terms.margin if regression.use_margin else 0.0), terms


def _followed_value(
    regression: _Regression,
    options: solvers.SolverOptions,
    learner: base.Learner,
    synthetic: base.Synthetic,
    real: base.Examples,
) -> tuple[Array, ridge_terms.KernelTerms]:
    """The same value; its derivative follows the network to where it is trained to."""
    task, ((params, stats), context) = regression.task, learner

    def learner_at(params: PyTree) -> base.Learner:
        return base.Learner(base.Variables(params, stats), context)

    def outputs(params: PyTree, synthetic: base.Synthetic) -> Array:
        return _outputs(task, learner_at(params), synthetic.x)

    value, diagnostics = hypergradient.through_optimum(
        lambda params, synthetic: _value(
            regression, learner_at(params), synthetic, real
        ),
        lambda params, synthetic: _mean_error(outputs(params, synthetic), synthetic.y),
        params,
        synthetic,
        solver_options=options,
        product_fn=lambda params, synthetic, vector: hypergradient.gauss_newton_product(
            lambda params: outputs(params, synthetic),
            lambda outputs: _mean_error(outputs, synthetic.y),
            params,
            vector,
        ),
        has_aux=True,
    )
    return value, diagnostics.outer


def _features(regression: _Regression, learner: base.Learner, x: PyTree) -> Array:
    """F, the features below the last layer; [B, D]."""
    variables, context = learner
    features_of = lambda x: regression.features_fn(variables, x, context)["penultimate"]
    return blocks.map_rows(features_of, x)


def _outputs(task: base.Task, learner: base.Learner, x: PyTree) -> Array:
    """What the whole network predicts; [M, C]."""
    variables, context = learner
    return blocks.map_rows(lambda x: task.predict(variables, x, context), x)


def _mean_error(outputs: Array, y: Array) -> Array:
    """What the members minimise: the mean squared error on the synthetic set."""
    return 0.5 * jnp.mean(jnp.sum((outputs - y) ** 2, axis=-1))
