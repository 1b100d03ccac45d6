# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches that bring contexts along."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import base, errors, samplers, transforms
from distill_jax.compute import parallel, recipes


@functools.cache
def source():
    return dj.data.to_source(dj.data.load("digits"))


def draw(sampler):
    return jax.jit(sampler)(jax.random.key(1), jnp.zeros(()), source())


def sampler(num_contexts=3):
    examples = samplers.uniform(8)
    return samplers.in_contexts(jax.random.uniform, examples, num_contexts=num_contexts)


def test_every_context_has_examples_of_its_own():
    batch = draw(sampler())
    assert batch.examples.x.shape == (3, 8, 8, 8, 1)
    assert batch.examples.index.shape == (3, 8)
    assert len(set(np.asarray(batch.context).tolist())) == 3
    assert len({tuple(row) for row in np.asarray(batch.examples.index).tolist()}) == 3
    assert base.matched(batch) is batch.examples
    assert base.replace_matched(batch, 1) == base.Contextual(1, batch.context)


def test_contexts_alone_are_drawn_for_losses_without_examples():
    alone = samplers.in_contexts(jax.random.uniform, num_contexts=2)
    batch = draw(alone)
    assert batch.examples is None
    assert batch.context.shape == (2,)
    with pytest.raises(
        errors.InputError, match=r"`num_contexts` must be .* at least 1"
    ):
        samplers.in_contexts(jax.random.uniform, num_contexts=0)


def test_examples_in_contexts_are_weighed_by_their_index():
    table = jnp.arange(len(source().y), dtype=float)
    batch = draw(transforms.weigh_real(sampler(), table))
    np.testing.assert_array_equal(batch.examples.weight, table[batch.examples.index])


def test_contexts_without_examples_are_not_data_that_can_be_spread():
    recipe = base.Recipe(
        method=base.Method(lambda: None, lambda: None, lambda: None),
        sampler=samplers.in_contexts(jax.random.uniform, num_contexts=4),
        initial_fn=lambda key, data: data,
        source_fn=lambda data: None,
        protocol=None,
    )
    with pytest.raises(errors.InputError, match="contexts without examples"):
        recipes.spread_recipe(recipe, None, parallel.device_mesh(4))


def test_examples_in_contexts_are_sharded_and_the_contexts_are_whole():
    mesh = parallel.device_mesh(4)
    shard = recipes.shard_batches(sampler(), mesh, axis=1)
    batch, plain = draw(shard), draw(sampler())
    jax.tree.map(np.testing.assert_array_equal, batch, plain)
    for leaf in jax.tree.leaves(batch.examples):
        assert leaf.sharding.spec[1] == "data"
    assert batch.context.sharding.is_fully_replicated
