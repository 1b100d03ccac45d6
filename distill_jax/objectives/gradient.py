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
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, errors, tasks
from distill_jax.augmentation import mixing as mixing_lib
from distill_jax.augmentation import policies
from distill_jax.compute import blocks
from distill_jax.objectives import classwise, distances
from distill_jax.training import loop, minibatches
from distill_jax.training import pool as pools
from distill_jax.types import Array, Key, PyTree

__all__ = ["NetworkTraining", "gradient_matching"]

# Real examples of each class from which batch norm takes its statistics.
_NUM_FOR_STATISTICS = 16


class NetworkTraining(NamedTuple):
    """How the network is trained between two matches; closed over, not jitted."""

    optimizer: optax.GradientTransformation = optax.sgd(0.01)
    num_epochs: int = 1
    batch_size: int = 256
    policy: policies.Policy | None = None  # one draw for each example
    mixing: mixing_lib.Kind = "none"
    on: Literal["synthetic", "real"] = "synthetic"  # "real": batches are `Pair`s


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
    has_example_probe: bool = False,
) -> base.Objective:
    """Matches the gradients of synthetic and real examples in a network's parameters.

    Batches are per class, ``[C, B, ...]``, or a :class:`~distill_jax.base.Pair` of such
    a one and of the examples that the network is trained on. The inner state is a
    :class:`~distill_jax.training.pool.Pool`: the networks with their optimisers, how
    often each was matched since it was fresh, and how many there were before it.

    Args:
      task: a task whose ``y`` are class probabilities.
      distance: between two gradients, see :mod:`distill_jax.objectives.distances`.
      parameters: of which parameters the gradients count.
      num_matches: matches (steps) with each network; after the last it is replaced.
      training: of the network between two matches.
      is_collective: whether the mean gradient over all classes is matched, not that of
        every class.
      warm_up: with ``is_collective``, ``(networks, matches)``: the first so many
        matches of each of the first so many networks are class by class all the same.
      num_networks: matched in every step; the loss is their mean. The papers use 1.
      has_example_probe: whether ``syn_grad_per_example`` is computed too.

    Returns:
      An :class:`~distill_jax.base.Objective`. Its probe ``syn_grad`` holds the
      synthetic gradient of every class, leaves ``[networks, C, ...]`` (with a
      collective match the one mean gradient, C times), and ``syn_grad_per_example``
      those of all examples, ``[networks, M, ...]``.

    Raises:
      InputError: for an unknown distance, counts below 1, targets that are no class
        probabilities; from ``loss`` while tracing, when a batch lacks a class.

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
    _check(task, distance, num_matches, num_networks, training, warm_up)
    max_age = num_matches - 1

    init_network = functools.partial(tasks.init_network, task)

    def init(key: Key, synthetic: base.Synthetic) -> pools.Pool:
        del synthetic  # Networks start untrained.
        return pools.init_pool(
            key,
            init_network,
            training.optimizer,
            num_networks=num_networks,
            num_active=num_networks,
            max_age=max_age,
        )

    def compare(real: PyTree, synthetic: PyTree) -> Array:
        chosen = [distances.select(tree, parameters) for tree in (real, synthetic)]
        return distances.gradient_distance(distance, *chosen)

    def match(args: tuple[Key, base.Variables, Array], real, synthetic):
        """The distance under one network, and the gradients of all classes."""
        key, variables, is_warm = args
        variables = _settle(task, key, variables, real)
        g_real = _class_gradients(task, key, variables, real)
        g_syn = _class_gradients(task, key, variables, synthetic)
        value = jnp.zeros(())
        if not is_collective or warm_up != (0, 0):
            value = jnp.sum(jax.vmap(compare)(g_real, g_syn))
        if is_collective:
            whole = _mean_over_classes(g_syn, synthetic.weight)
            value_all = compare(_mean_over_classes(g_real, None), whole)
            value = jnp.where(is_warm, value, value_all)
            g_syn = jax.tree.map(
                lambda one, each: jnp.where(is_warm, each, one[None]), whole, g_syn
            )
        return value, g_syn, g_real

    def loss(synthetic, key, inner, batch):
        real, by_class = classwise.by_class(synthetic, batch)
        is_warm = (inner.generation < warm_up[0]) & (inner.age < warm_up[1])
        keys = jax.random.split(key, num_networks)
        nets = pools.members(inner), is_warm[inner.active]
        values, g_syn, g_real = pools.map_networks(
            lambda args: match(args, real, by_class), (keys, *nets)
        )
        size = lambda tree: jnp.mean(jax.vmap(jax.vmap(distances.norm))(tree))
        metrics = {
            "real_gradient_norm": size(g_real),
            "synthetic_gradient_norm": size(g_syn),
        }
        probes = {"syn_grad": g_syn}
        if has_example_probe:
            probes["syn_grad_per_example"] = pools.map_networks(
                lambda args: _example_gradients(task, args, synthetic), (keys, nets[0])
            )
        return jnp.mean(values), base.Aux(metrics=metrics, probes=probes)

    def advance(key, inner, synthetic, batch):
        examples = synthetic if training.on == "synthetic" else batch.train
        per_epoch = minibatches.num_steps_per_epoch(
            len(examples.y), training.batch_size
        )

        def train_fn(key, variables, opt):
            return loop.fit_further(
                key,
                variables,
                opt,
                task,
                examples,
                optimizer=training.optimizer,
                num_steps=training.num_epochs * per_epoch,
                batch_size=training.batch_size,
                policy=training.policy,
                mixing=training.mixing,
            )

        return pools.advance_pool(
            key,
            inner,
            init_fn=init_network,
            optimizer=training.optimizer,
            train_fn=train_fn,
            max_age=max_age,
        )

    return base.Objective(
        init=init, loss=loss, advance=advance, read=lambda synthetic, inner: synthetic
    )


def _gradient(
    task: base.Task, key: Key, variables: base.Variables, examples: Any
) -> PyTree:
    """The gradient in the parameters of the sum of weighted losses."""

    def loss_fn(params):
        now = base.Variables(params, variables.stats)
        if variables.stats:  # Batch norm with settled statistics.
            losses = task.test_loss(now, key, examples, None)
        else:
            losses, _ = task.train_loss(now, key, examples, None)
        return jnp.sum(examples.weight * losses)

    return jax.grad(loss_fn)(variables.params)


def _class_gradients(
    task: base.Task, key: Key, variables: base.Variables, examples: base.Examples
) -> PyTree:
    """The mean gradient for each class of examples ``[C, B, ...]``; ``[C, ...]``."""

    def of_block(number, block):
        return _gradient(task, jax.random.fold_in(key, number), variables, block)

    return blocks.class_sums(of_block, jax.vmap(blocks.shares)(examples))


def _example_gradients(
    task: base.Task, args: tuple[Key, base.Variables], synthetic: base.Synthetic
) -> PyTree:
    """The gradient of the loss of every single example; leaves ``[M, ...]``."""
    key, variables = args

    def one(x, y):
        x, y = jax.tree.map(lambda leaf: leaf[None], (x, y))
        alone = base.Examples(x, y, jnp.ones(1, y.dtype))
        return _gradient(task, key, variables, alone)

    return jax.vmap(one)(synthetic.x, synthetic.y)


def _settle(
    task: base.Task, key: Key, variables: base.Variables, real: base.Examples
) -> base.Variables:
    """Statistics of batch norm, moved by some real examples of every class."""
    if not variables.stats:
        return variables
    take = lambda leaf: leaf[:, :_NUM_FOR_STATISTICS].reshape(-1, *leaf.shape[2:])
    some = base.Examples(jax.tree.map(take, real.x), take(real.y))
    return variables._replace(stats=task.train_loss(variables, key, some, None)[1])


def _mean_over_classes(gradients: PyTree, weight: Array | None) -> PyTree:
    """The mean of class gradients by the weight of each class."""
    if weight is None:
        return jax.tree.map(lambda leaf: leaf.mean(axis=0), gradients)
    mass = weight.sum(axis=1)
    share = mass / jnp.where(mass.sum() > 0, mass.sum(), 1.0)
    return jax.tree.map(lambda leaf: jnp.tensordot(share, leaf, 1), gradients)


def _check(
    task: base.Task,
    distance: str,
    num_matches: int,
    num_networks: int,
    training: NetworkTraining,
    warm_up: tuple[int, int],
) -> None:
    distances.check_distance(distance)
    if task.targets != "probabilities":
        raise errors.InputError(
            "Gradient matching compares gradients of the cross-entropy, but the task "
            f'has targets of the kind "{task.targets}"; use `task.retarget'
            '("probabilities")`.'
        )
    counts = {
        "num_matches": num_matches,
        "num_networks": num_networks,
        "num_epochs": training.num_epochs,
        "batch_size": training.batch_size,
    }
    for name, count in counts.items():
        if count < 1:
            raise errors.InputError(f"`{name}` must be at least 1, got {count}.")
    if min(warm_up) < 0:
        raise errors.InputError(
            f"`warm_up` counts networks and matches, at least 0 each, got {warm_up}."
        )
