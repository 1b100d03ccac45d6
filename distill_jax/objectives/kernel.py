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

from distill_jax import base, errors, tasks
from distill_jax.compute import blocks
from distill_jax.inner import hypergradient
from distill_jax.inner import ridge as ridges
from distill_jax.training import gradient_step, minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key

__all__ = ["KernelTerms", "kernel_regression", "kernel_terms", "label_margin"]


class KernelTerms(NamedTuple):
    """The value of the objective under one network, in parts."""

    regression: Array  # [] mean half squared error, or cross-entropy, of P
    margin: Array  # [] mean clipped margin of the labels
    accuracy: Array  # [] share of real examples that ridge regression gets right


def kernel_regression(
    task: base.Task,
    *,
    num_networks: int = 10,
    num_active: int = 1,
    max_age: int = 100,
    learning_rate: float = 3e-4,
    max_train_examples: int = 1000,
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
        probabilities, from which ``1/C`` is subtracted here.
      num_networks: ``P``, the size of the pool.
      num_active: networks per outer step; the loss is their mean (the paper uses 1).
      max_age: training steps after which a member is replaced by a fresh one.
      learning_rate: of Adam for the members.
      max_train_examples: members train on at most this many synthetic examples.
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
      An :class:`~distill_jax.base.Objective` whose synthetic labels are centred.

    Raises:
      InputError: when the task has no features.

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
    features_fn = task.features
    if features_fn is None:
        raise errors.InputError(
            "A kernel objective needs a task with features, and this one has none: "
            "give its network a `features` function."
        )
    centred = task.retarget("centred")
    optimizer = optax.adam(learning_rate)

    init_network = functools.partial(tasks.init_network, centred)

    def init(key: Key, synthetic: base.Synthetic) -> pools.Pool:
        del synthetic  # Members start untrained.
        return pools.init_pool(
            key,
            init_network,
            optimizer,
            num_networks=num_networks,
            num_active=num_active,
            max_age=max_age,
        )

    def outputs(stats, few):
        def predict(params):
            variables = base.Variables(params, stats)
            return blocks.map_rows(lambda x: centred.predict(variables, x, None), few.x)

        return predict

    def features(variables: base.Variables, x) -> Array:
        return blocks.map_rows(
            lambda x: features_fn(variables, x, None)["penultimate"], x
        )

    def loss(synthetic, key, inner, batch):
        del key  # The active members were drawn by `advance`.
        y_real = batch.y - 1.0 / batch.y.shape[-1]

        def value_of(params, synthetic, stats):
            variables = base.Variables(params, stats)
            x_syn, y_syn = synthetic.x, synthetic.y
            if use_flip:  # The mean margin of the labels stays the same.
                x_syn = jnp.concatenate([x_syn, jnp.flip(x_syn, axis=-2)])
                y_syn = jnp.concatenate([y_syn, y_syn])
            terms = kernel_terms(
                features(variables, x_syn),
                features(variables, batch.x),
                y_syn,
                y_real,
                weight=batch.weight,
                ridge=ridge,
                margin_limit=margin_limit,
                temperature=synthetic.temperature,
            )
            margin = terms.margin if use_margin else 0.0
            return terms.regression - margin, terms

        def one(variables: base.Variables):
            params, stats = variables
            if not num_implicit:
                return value_of(params, synthetic, stats)
            value, told = hypergradient.through_optimum(
                lambda params, few: value_of(params, few, stats),
                lambda params, few: _mean_error(outputs(stats, few)(params), few),
                params,
                synthetic,
                num_iterations=num_implicit,
                damping=damping,
                clip_ratio=1.0,
                product_fn=lambda params, few, vector: (
                    hypergradient.gauss_newton_product(
                        outputs(stats, few),
                        lambda told: _mean_error(told, few),
                        params,
                        vector,
                    )
                ),
                has_aux=True,
            )
            return value, told.outer

        values, terms = pools.map_networks(one, pools.members(inner))
        metrics = {
            "regression": jnp.mean(terms.regression),
            "margin": jnp.mean(terms.margin),
            "ridge_accuracy": jnp.mean(terms.accuracy),
        }
        return jnp.mean(values), base.Aux(metrics=metrics)

    def advance(key, inner, synthetic, batch):
        del batch  # Members train on the synthetic set.
        key_rows, key_pool = jax.random.split(key)
        seen = minibatches.some_rows(key_rows, synthetic, max_train_examples)

        def train_fn(key, variables, opt):
            return gradient_step.descend(
                key, variables, opt, centred, seen, optimizer=optimizer
            )

        return pools.advance_pool(
            key_pool,
            inner,
            init_fn=init_network,
            optimizer=optimizer,
            train_fn=train_fn,
            max_age=max_age,
        )

    return base.Objective(
        init=init, loss=loss, advance=advance, read=lambda synthetic, inner: synthetic
    )


def kernel_terms(
    features_syn: Array,
    features_real: Array,
    y_syn: Array,
    y_real: Array,
    *,
    weight: Array | None = None,
    ridge: float = 1e-6,
    margin_limit: float | None = None,
    temperature: Array | None = None,
) -> KernelTerms:
    """The regression error, label margin and accuracy under given features.

    Args:
      features_syn: ``[M, D]``.
      features_real: ``[B, D]``.
      y_syn: ``[M, C]``, the learned, centred labels.
      y_real: ``[B, C]``, one-hot labels minus ``1/C``.
      weight: ``[B]`` or ``None`` for equal weights.
      ridge: the regulariser, as a multiple of the mean diagonal of the kernel.
      margin_limit: see :func:`label_margin`.
      temperature: what multiplies predictions before the softmax of the cross-entropy;
        None for the squared error.

    Returns:
      :class:`KernelTerms`; the paper's loss is ``regression - margin``.

    Example:
      >>> import jax.numpy as jnp
      >>> y = jnp.eye(2) - 0.5
      >>> terms = kernel_terms(jnp.eye(2), jnp.eye(2), y, y, ridge=0.0)
      >>> float(terms.regression), float(terms.margin), float(terms.accuracy)
      (0.0, 0.5, 1.0)
    """
    predicted = ridges.predict(features_syn, features_real, y_syn, ridge=ridge)
    if temperature is None:
        losses = 0.5 * jnp.sum((predicted - y_real) ** 2, axis=-1)
    else:
        y = y_real + 1.0 / y_real.shape[-1]  # class probabilities again
        losses = optax.softmax_cross_entropy(temperature * predicted, y)
    is_right = predicted.argmax(-1) == y_real.argmax(-1)
    mean = lambda values: gradient_step.weighted_mean(values, weight)
    margin = label_margin(y_syn, margin_limit)
    return KernelTerms(mean(losses), margin, mean(is_right.astype(losses.dtype)))


def label_margin(y: Array, limit: float | None = None) -> Array:
    """The mean margin of labels between their first and second class, clipped.

    Args:
      y: ``[M, C]``.
      limit: where it is clipped; 1/C by default.

    Returns:
      A scalar: ``mean_i min(top1(y_i) - top2(y_i), limit)``.

    Example:
      >>> import jax.numpy as jnp
      >>> float(label_margin(jnp.array([[0.0, 0.25, 0.0, 0.125]])))
      0.125
    """
    top = jax.lax.top_k(y, 2)[0]
    limit = 1.0 / y.shape[-1] if limit is None else limit
    return jnp.mean(jnp.minimum(top[:, 0] - top[:, 1], limit))


def _mean_error(outputs: Array, few: Any) -> Array:
    """What the members minimise: the mean squared error on the synthetic set."""
    return 0.5 * jnp.mean(jnp.sum((outputs - few.y) ** 2, axis=-1))
