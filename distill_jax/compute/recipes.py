# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A recipe on many devices: its batches sharded, or its networks and classes spread."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distill_jax import base, errors
from distill_jax.compute import parallel

__all__ = ["shard_batches", "spread_recipe"]


def shard_batches(sampler: base.Sampler, mesh: Mesh, *, axis: int) -> base.Sampler:
    """Spreads the examples of every batch over the devices of a mesh.

    Args:
      sampler: any sampler; the data set itself stays whole on each device.
      mesh: from :func:`~distill_jax.compute.parallel.device_mesh`.
      axis: the axis of the examples in the batch: 0 for ``[B, ...]``, 1 for the
        per-class ``[C, B, ...]``. Its length must be a multiple of the devices. In a
        :class:`~distill_jax.base.Pair` it is that of ``match``; for ``train`` it is 0.
        A :class:`~distill_jax.base.Contextual` has examples ``[K, B, ...]``.

    Returns:
      A sampler of the same numbers, with every field sharded along that axis.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> mesh = parallel.device_mesh()
      >>> sampler = shard_batches(dj.samplers.uniform(32), mesh, axis=0)
      >>> source = dj.data.to_source(dj.data.load("digits"))
      >>> jax.jit(sampler)(jax.random.key(0), 0, source).x.shape
      (32, 8, 8, 1)
    """

    def place(examples: Any, axis: int):
        sharding = NamedSharding(mesh, PartitionSpec(*[None] * axis, *mesh.axis_names))
        constrain = lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding)
        return jax.tree.map(constrain, examples)

    def sample(key, step, source):
        batch = sampler(key, step, source)
        if isinstance(batch, base.Pair):
            return base.Pair(place(batch.match, axis), place(batch.train, 0))
        if isinstance(batch, base.Contextual):  # Each device has all contexts.
            return batch._replace(examples=place(batch.examples, axis))
        return place(batch, axis)

    return sample


def spread_recipe(recipe: base.Recipe, data: Any, mesh: Mesh) -> base.Recipe:
    """A recipe whose batches, networks or classes are spread over a mesh.

    Args:
      recipe: any recipe.
      data: the data set that it will be run on.
      mesh: from :func:`~distill_jax.compute.parallel.device_mesh`; the name of its
        axis says what is spread.

    Returns:
      A recipe of the same numbers, up to the order of sums.

    Raises:
      InputError: for a mesh of data, where batches are contexts without examples.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10), data.spec)
      >>> recipe = dj.methods.dm(task, num_per_class=1, batch_size=8)
      >>> spread = spread_recipe(recipe, data, parallel.device_mesh(axis="classes"))
      >>> spread.protocol == recipe.protocol
      True
    """
    if "data" not in mesh.axis_names:
        step = _traced_once(recipe.method.step, mesh)
        return recipe._replace(
            method=recipe.method._replace(step=step),
            source_fn=parallel.over_mesh(recipe.source_fn, mesh),  # May train experts.
        )
    source = recipe.source_fn(data)
    batch = jax.eval_shape(recipe.sampler, jax.random.key(0), 0, source)
    if base.matched(batch) is None:
        raise errors.InputError(
            "The batches of this recipe are contexts without examples, so there are no "
            "data to spread over devices: use a mesh with the axis "
            '"networks", `device_mesh(axis="networks")`.'
        )
    # A segment has experts in the place of examples.
    is_segment = isinstance(batch, base.Segment)
    axis = 0 if is_segment else base.matched(batch).y.ndim - 2
    replicated = NamedSharding(mesh, PartitionSpec())
    return recipe._replace(
        sampler=shard_batches(recipe.sampler, mesh, axis=axis),
        source_fn=lambda data: jax.device_put(recipe.source_fn(data), replicated),
    )


@functools.lru_cache(maxsize=8)
def _traced_once(step: Callable, mesh: Mesh) -> Callable:
    """The step over a mesh, whose trace serves every program that contains it.

    A step of convolutions takes seconds to trace, and whoever counts what it shares
    before a run has traced it already.
    """
    return jax.jit(parallel.over_mesh(step, mesh))
