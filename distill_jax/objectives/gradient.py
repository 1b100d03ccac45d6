# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradient matching: training on synthetic examples should pull where real ones do.

    class by class:  L = sum_c D( g(S_c), g(T_c) ),  g(A) = d/dtheta mean loss(theta; A)
    collective:      L = D( mean_c g(S_c), mean_c g(T_c) )

Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", 2021 (class by
class); Lee et al., "Dataset Condensation with Contrastive Signals", 2022 (collective).
The network is trained a little between two matches, on the synthetic examples or (Kim
et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", 2022) on
real ones, and replaced after some of them; no gradient flows through that training.
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, deprecations, errors, tasks
from distill_jax.augmentation import mixing as mixing_lib
from distill_jax.augmentation import policies
from distill_jax.objectives import checks, class_gradients, classwise, distances
from distill_jax.training import loop, minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key, PyTree

__all__ = ["NetworkTraining", "gradient_matching"]

_PROBES = ("syn_grad", "syn_grad_per_example")


class NetworkTraining(NamedTuple):
    """How the network is trained between two matches; closed over, not jitted."""

    optimizer: optax.GradientTransformation = optax.sgd(0.01)
    num_epochs: int = 1
    batch_size: int = 256
    policy: policies.Policy | None = None  # one draw for each example
    mixing: mixing_lib.Kind = "none"
    mixing_probability: float = 1.0  # of every mini-batch
    on: Literal["synthetic", "real"] = "synthetic"  # "real": batches are `Pair`s


@deprecations.renamed_arguments(
    has_example_probe=("probes", lambda on: ("syn_grad_per_example",) if on else ())
)
def gradient_matching(
    task: base.Task,
    *,
    distance: distances.Distance = "per_output_cosine",
    parameters: distances.Parameters = "kernels",
    num_matches: int = 1,
    training: NetworkTraining | None = None,
    is_collective: bool = False,
    warm_up: tuple[int, int] = (0, 0),
    num_networks: int = 1,
    num_matched: int | None = None,
    probes: Sequence[str] = (),
) -> base.Objective:
    """Matches the gradients of synthetic and real examples in a network's parameters.

    Batches are per class, ``[C, B, ...]``, or a :class:`~distill_jax.base.Pair` of such
    a one and of the examples that the network is trained on. The inner state is a
    :class:`~distill_jax.training.pool.Pool`: the networks with their optimisers, how
    often each was matched since it was fresh, and how many there were before it.

    Args:
      task: any: its loss is what gradients are of, its groups what is matched one by
        one: the classes, or all examples at once where there are none.
      distance: between two gradients, see :mod:`distill_jax.objectives.distances`.
      parameters: of which parameters the gradients count.
      num_matches: matches (steps) with each network; after the last it is replaced.
      training: of the network between two matches.
      is_collective: whether the mean gradient over all classes is matched, not that of
        every class.
      warm_up: with ``is_collective``, ``(networks, matches)``: the first so many
        matches of each of the first so many networks are class by class all the same.
      num_networks: matched in every step; the loss is their mean. The papers use 1.
      num_matched: at most so many synthetic examples of each class are matched in a
        step, drawn anew; None for all.
      probes: what else the loss gives for transforms: ``"syn_grad_per_example"``, or
        nothing. The gradients that are matched are always given.

    Returns:
      An :class:`~distill_jax.base.Objective`. Its probe ``syn_grad`` holds the
      synthetic gradient of every class, leaves ``[networks, C, ...]``; with a
      collective match, its warm-up included, the one mean gradient, ``[networks, 1,
      ...]``. ``syn_grad_per_example`` holds those of all examples, ``[networks, M,
      ...]``.

    Raises:
      InputError: for an unknown distance, counts below 1; from ``loss`` while tracing,
        when a batch lacks a class.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10), data.spec)
      >>> objective = gradient_matching(task, num_matches=10)
      >>> objective.loss.__name__
      'loss'

    Reference:
      Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, "Dataset Condensation with Gradient
      Matching", 2021, Algorithm 1. Saehyung Lee et al., "Dataset Condensation with
      Contrastive Signals", 2022, eq. 4.
    """
    training = training or NetworkTraining()
    _check(distance, num_matches, num_networks, training, warm_up)
    checks.check_probes("Gradient matching", probes, _PROBES)
    if num_matched is not None:
        errors.check_counts(num_matched=num_matched)
    comparison = _Comparison(distance, parameters, is_collective, warm_up)
    pool_options = {
        "init_fn": functools.partial(tasks.init_learner, task),
        "optimizer": training.optimizer,
        "max_age": num_matches - 1,
    }

    def init(key: Key, synthetic: base.Synthetic) -> pools.Pool:
        del synthetic  # Networks start untrained.
        return pools.init_pool(
            key, num_networks=num_networks, num_active=num_networks, **pool_options
        )

    def loss(synthetic, key, inner, batch):
        checks.check_no_contexts(batch, "Gradient matching", checks.HAS_OWN)
        real, by_class = classwise.by_class(task, synthetic, batch)
        real = tasks.encode_batch(task, real)
        by_class = classwise.some(key, by_class, num_matched)
        keys, learners = jax.random.split(key, len(inner.active)), pools.learners(inner)
        values, g_syn, g_real = pools.map_networks(
            lambda args: _match(task, comparison, by_class, real, *args),
            (keys, learners, _is_warm(inner, warm_up)),
        )
        metrics = {
            "real_gradient_norm": _mean_norm(g_real),
            "synthetic_gradient_norm": _mean_norm(g_syn),
        }
        matched = _matched_gradients(g_syn, by_class.weight, is_collective)
        intermediates = {"syn_grad": matched}
        if "syn_grad_per_example" in probes:
            intermediates["syn_grad_per_example"] = pools.map_networks(
                lambda args: _gradients_of_examples(task, synthetic, *args),
                (keys, learners),
            )
        return jnp.mean(values), base.Aux(metrics=metrics, probes=intermediates)

    def advance(key, inner, synthetic, batch):
        examples = synthetic
        if training.on == "real":
            examples = tasks.encode_batch(task, batch.train)
        train_fn = functools.partial(_train, task, training, examples)
        return pools.advance_pool(key, inner, train_fn=train_fn, **pool_options)

    names = tuple(dict.fromkeys(("syn_grad", *probes)))
    at = functools.partial(pools.pool_of, optimizer=training.optimizer)
    return base.Objective(init, loss, advance, probes=names, at=at)


class _Comparison(NamedTuple):
    """How two sets of class gradients are compared."""

    distance: distances.Distance
    parameters: distances.Parameters
    is_collective: bool
    warm_up: tuple[int, int]


def _match(
    task: base.Task,
    comparison: _Comparison,
    synthetic: base.Examples,
    real: base.Examples,
    key: Key,
    learner: base.Learner,
    is_warm: Array,
) -> tuple[Array, PyTree, PyTree]:
    """L under one network, and the gradients g(S), g(T) of all classes."""
    variables, context = learner
    variables = class_gradients.settle(task, key, variables, real, context)
    g_real = class_gradients.of_classes(task, key, variables, real, context)
    g_syn = class_gradients.of_classes(task, key, variables, synthetic, context)
    compare = functools.partial(_distance, comparison)
    value = jnp.zeros(())
    if not comparison.is_collective or comparison.warm_up != (0, 0):
        value = jnp.sum(jax.vmap(compare)(g_real, g_syn))
    if comparison.is_collective:
        mean_syn = class_gradients.mean_over_classes(g_syn, synthetic.weight)
        mean_real = class_gradients.mean_over_classes(g_real, None)
        value = jnp.where(is_warm, value, compare(mean_real, mean_syn))
        g_syn = _where_warm(is_warm, g_syn, mean_syn)
    return value, g_syn, g_real


def _gradients_of_examples(
    task: base.Task, synthetic: base.Synthetic, key: Key, learner: base.Learner
) -> PyTree:
    """The gradient of every synthetic example under one network, [M, ...]."""
    variables, context = learner
    return class_gradients.of_examples(task, synthetic, key, variables, context)


def _distance(comparison: _Comparison, real: PyTree, synthetic: PyTree) -> Array:
    """D of the gradients of two batches, in the parameters that count."""
    selected = [distances.select(g, comparison.parameters) for g in (real, synthetic)]
    return distances.gradient_distance(comparison.distance, *selected)


def _is_warm(pool: pools.Pool, warm_up: tuple[int, int]) -> Array:
    """Whether each active network is still matched class by class; [A]."""
    is_warm = (pool.generation < warm_up[0]) & (pool.age < warm_up[1])
    return is_warm[pool.active]


def _where_warm(is_warm: Array, by_class: PyTree, mean: PyTree) -> PyTree:
    """The gradients that were matched: those of each class, or C times their mean."""
    pick = lambda leaf, mean: jnp.where(is_warm, leaf, mean[None])
    return jax.tree.map(pick, by_class, mean)


def _matched_gradients(
    gradients: PyTree, weight: Array | None, is_collective: bool
) -> PyTree:
    """What was matched, ``[networks, C, ...]``, or its mean, ``[networks, 1, ...]``."""
    if not is_collective:
        return gradients
    mean = jax.vmap(lambda each: class_gradients.mean_over_classes(each, weight))
    return jax.tree.map(lambda leaf: leaf[:, None], mean(gradients))


def _mean_norm(gradients: PyTree) -> Array:
    """The mean length of gradients ``[networks, C, ...]``."""
    return jnp.mean(jax.vmap(jax.vmap(distances.norm))(gradients))


def _train(
    task: base.Task,
    training: NetworkTraining,
    examples: Any,
    key: Key,
    variables: base.Variables,
    opt: optax.OptState,
    context: Any,
) -> tuple[base.Variables, optax.OptState]:
    """The epochs of one network between two matches."""
    per_epoch = minibatches.num_steps_per_epoch(len(examples.y), training.batch_size)
    return loop.fit_further(
        key,
        variables,
        opt,
        task,
        examples,
        optimizer=training.optimizer,
        num_steps=training.num_epochs * per_epoch,
        batching=minibatches.Batching(
            training.batch_size,
            training.policy,
            training.mixing,
            training.mixing_probability,
        ),
        context=context,
    )


def _check(
    distance: str,
    num_matches: int,
    num_networks: int,
    training: NetworkTraining,
    warm_up: tuple[int, int],
) -> None:
    distances.check_distance(distance)
    errors.check_counts(
        num_matches=num_matches,
        num_networks=num_networks,
        num_epochs=training.num_epochs,
        batch_size=training.batch_size,
    )
    if min(warm_up) < 0:
        raise errors.InputError(
            f"`warm_up` counts networks and matches, at least 0 each, got {warm_up}."
        )
