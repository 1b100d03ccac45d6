# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Feature alignment: class means are matched in every layer of a network that learns.

    L = sum_l a_l sum_c || mean_b f_l(x_real[c, b]) - mean_m f_l(x_syn[c, m]) ||^2
        + d sum_cb CE( softmax_k( f(x_real[c, b]) . s_k ), y_cb ),
        s_k = mean_m f(x_syn[k, m])

In the second term f is the last of the layers: the synthetic centres shall classify the
real examples. The network is trained on the synthetic set between two matches. Wang et
al., "CAFE: Learning to Condense Dataset by Aligning Features", 2022.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, errors, tasks
from distill_jax.augmentation import policies
from distill_jax.compute import blocks
from distill_jax.objectives import checks, classwise, distribution
from distill_jax.training import dynamic, gradient_step, loop, minibatches
from distill_jax.types import Array, Key, PyTree

__all__ = ["feature_alignment"]


def feature_alignment(
    task: base.Task,
    *,
    layer_weights: Mapping[str, float] | None = None,
    discrimination: float = 0.01,
    learning_rate: float = 0.01,
    batch_size: int = 256,
    policy: policies.Policy | None = None,
    num_queries: int = 128,
    limits: dynamic.Limits | None = None,
) -> base.Objective:
    """Aligns the features of all layers, with dynamic loops around the network.

    Batches are per class, ``[C, B, ...]``. The inner state is a
    :class:`~distill_jax.training.dynamic.Turn`: the network with its optimiser, the
    window of its last accuracies on real examples, and how many networks there were
    before it. Every ``advance`` measures that accuracy, and then either replaces the
    network, because its accuracy has settled, or trains it on the updated synthetic
    examples for as many epochs as it takes to move.

    Args:
      task: a task with features whose ``y`` are class probabilities.
      layer_weights: ``a_l`` by name of the features. By default 0.1 for every block, 1
        for the last of them, and 2 for ``penultimate``.
      discrimination: ``d``. The cross-entropy is a *sum* over the batch, as published:
        with smaller batches it counts less.
      learning_rate: of the network's gradient descent.
      batch_size: of its mini-batches of synthetic examples.
      policy: what they are augmented with there, or None.
      num_queries: real examples of each class, of those in the batch, on which the
        accuracy is measured.
      limits: how long the network is trained and kept.

    Returns:
      An :class:`~distill_jax.base.Objective`. It logs its two terms ``alignment`` and
      ``discrimination``, the ``generation`` of the network, and of the step before the
      ``real_accuracy`` and ``num_epochs`` of training.

    Raises:
      InputError: for a task without features or without classes, weights below 0,
        counts below 1; from ``loss`` while tracing, for layers that the network does
        not have and batches that lack a class.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10), data.spec)
      >>> objective = feature_alignment(task, layer_weights={"block0": 1.0})
      >>> objective.loss.__name__
      'loss'

    Reference:
      Kai Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features", 2022;
      the weights and the sum in the second term are those of the released code.
    """
    features_fn = checks.check_features(task, "Feature alignment")
    _check(task, layer_weights, discrimination, batch_size, num_queries)
    limits = limits or dynamic.Limits()
    optimizer = optax.sgd(learning_rate)
    init_fn = functools.partial(_init_learner, task, optimizer)

    def init(key: Key, synthetic: base.Synthetic) -> dynamic.Turn:
        del synthetic  # Networks start untrained.
        return dynamic.first_turn(key, init_fn, limits)

    def loss(synthetic, key, inner, batch):
        del key  # The network is the one that `advance` left.
        checks.check_no_contexts(batch, "Feature alignment", checks.HAS_OWN)
        real, by_class = classwise.by_class(task, synthetic, batch)
        learner = base.Learner(inner.variables, inner.context)
        f_real = _class_features(features_fn, learner, real)
        f_syn = _class_features(features_fn, learner, by_class)
        shares = _shares(layer_weights, f_real)
        alignment = _alignment(shares, f_real, f_syn, real.weight, by_class.weight)
        cross_entropy = _cross_entropy(
            f_real["penultimate"], f_syn["penultimate"], real, by_class.weight
        )
        metrics = {
            "alignment": alignment,
            "discrimination": cross_entropy,
            "real_accuracy": inner.accuracy,
            "num_epochs": inner.num_epochs,
            "generation": inner.generation,
        }
        return alignment + discrimination * cross_entropy, base.Aux(metrics=metrics)

    def advance(key, inner, synthetic, batch):
        queries = _queries(base.matched(batch), num_queries)
        return dynamic.next_turn(
            key,
            inner,
            init_fn=init_fn,
            epoch_fn=functools.partial(
                _train_epoch, task, synthetic, optimizer, batch_size, policy
            ),
            accuracy_fn=lambda variables, context: _accuracy(
                task, variables, queries, context
            ),
            limits=limits,
        )

    at = functools.partial(_turn_of, optimizer, limits)
    return base.Objective(init=init, loss=loss, advance=advance, at=at)


def _turn_of(
    optimizer: optax.GradientTransformation,
    limits: dynamic.Limits,
    *networks: base.Learner | base.Variables,
) -> dynamic.Turn:
    """The inner state that holds a given network."""
    if len(networks) != 1:
        raise errors.InputError(
            f"Feature alignment holds one network, got {len(networks)}; take the mean "
            "of its losses at each of them, by `jax.vmap` or one by one."
        )
    (learner,) = map(tasks.as_learner, networks)
    opt = optimizer.init(learner.variables.params)
    return dynamic.first_turn(jax.random.key(0), lambda key: (learner, opt), limits)


def _alignment(
    shares: Mapping[str, float],
    f_real: Mapping[str, Array],
    f_syn: Mapping[str, Array],
    w_real: Array | None,
    w_syn: Array | None,
) -> Array:
    """``sum_l a_l sum_c || mean_b f_l(x_real[c,b]) - mean_m f_l(x_syn[c,m]) ||^2``."""
    distances = (
        share * _distance(f_real[name], f_syn[name], w_real, w_syn)
        for name, share in shares.items()
    )
    return jnp.asarray(sum(distances))


def _cross_entropy(
    f_real: Array, f_syn: Array, real: base.Examples, w_syn: Array | None
) -> Array:
    """``sum_cb CE( softmax_k( f(x_real[c, b]) . s_k ), y_cb )``."""
    centres = distribution.class_means(f_syn, w_syn)
    logits = jnp.einsum("cbd,kd->cbk", f_real, centres)
    losses = optax.softmax_cross_entropy(logits, real.y)
    return jnp.sum(losses if real.weight is None else real.weight * losses)


def _class_features(
    features_fn: checks.FeaturesFn, learner: base.Learner, examples: base.Examples
) -> dict[str, Array]:
    """The features of every layer, flattened: examples [C, B, ...] give [C, B, D]."""
    variables, context = learner
    leading = examples.y.shape[:2]
    layers = blocks.map_rows(
        lambda x: features_fn(variables, x, context), _flat(examples.x)
    )
    return {name: layer.reshape(*leading, -1) for name, layer in layers.items()}


def _distance(
    f_real: Array, f_syn: Array, w_real: Array | None, w_syn: Array | None
) -> Array:
    """The squared distance of two sets of class means, summed."""
    gap = distribution.class_means(f_real, w_real)
    gap = gap - distribution.class_means(f_syn, w_syn)
    return jnp.sum(gap**2)


def _flat(tree: PyTree) -> PyTree:
    """Leaves [C, B, ...] as [C B, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


def _init_learner(
    task: base.Task, optimizer: optax.GradientTransformation, key: Key
) -> tuple[base.Learner, optax.OptState]:
    """A fresh network with its context, and its optimiser."""
    learner = tasks.init_learner(task, key)
    return learner, optimizer.init(learner.variables.params)


def _train_epoch(
    task: base.Task,
    synthetic: base.Synthetic,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    policy: policies.Policy | None,
    key: Key,
    variables: base.Variables,
    opt: optax.OptState,
    context: Any,
) -> tuple[base.Variables, optax.OptState]:
    """One epoch of the network on the synthetic examples."""
    return loop.fit_further(
        key,
        variables,
        opt,
        task,
        synthetic,
        optimizer=optimizer,
        num_steps=minibatches.num_steps_per_epoch(len(synthetic.y), batch_size),
        batching=minibatches.Batching(batch_size, policy),
        context=context,
    )


def _queries(real: base.Examples, num_queries: int) -> base.Examples:
    """The first examples of every class, [C Q, ...]; a draw, since the batch is one."""
    first = jax.tree.map(lambda leaf: leaf[:, :num_queries], real)
    return _flat(first)


def _accuracy(
    task: base.Task,
    variables: base.Variables,
    queries: base.Examples,
    context: Any = None,
) -> Array:
    """The share of the queries that the network classifies as they are labelled."""
    logits = task.predict(variables, queries.x, context)
    is_hit = logits.argmax(axis=-1) == queries.y.argmax(axis=-1)
    return gradient_step.weighted_mean(is_hit.astype(logits.dtype), queries.weight)


def _shares(
    layer_weights: Mapping[str, float] | None, layers: Iterable[str]
) -> Mapping[str, float]:
    """The weight of every layer that has one."""
    names = sorted(layers, key=lambda name: (len(name), name))  # block10 after block9
    if layer_weights is None:
        blocks = [name for name in names if name.startswith("block")]
        shares = dict.fromkeys(blocks[:-1], 0.1) | dict.fromkeys(blocks[-1:], 1.0)
        # The released code has the last features twice: once among the layers, and
        # once as the "inner" distance of the centres.
        return {**shares, "penultimate": 2.0}
    for name in layer_weights:
        if name not in names:
            raise errors.InputError(
                f'`layer_weights` names the layer "{name}", which is none of the '
                f"network's features. {errors.nearest(name, names)}"
            )
    return layer_weights


def _check(
    task: base.Task,
    layer_weights: Mapping[str, float] | None,
    discrimination: float,
    batch_size: int,
    num_queries: int,
) -> None:
    checks.check_classes(
        task, "Feature alignment classifies real examples by the centres of classes"
    )
    for name, share in {
        "discrimination": discrimination,
        **(layer_weights or {}),
    }.items():
        if not share >= 0:
            raise errors.InputError(
                f"The weight of `{name}` must be 0 or more, got {share}."
            )
    errors.check_counts(batch_size=batch_size, num_queries=num_queries)
