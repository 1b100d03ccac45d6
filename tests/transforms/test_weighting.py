# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weights of real examples: looked up, multiplied in, differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

import distill_jax as dj
from distill_jax import base, errors, objectives, samplers, transforms

KEY = jax.random.key(0)
NUM = 12


@pytest.fixture
def source():
    """Twelve examples of two classes, three quarters of them of the first."""
    y = jnp.array([0] * 9 + [1] * 3, jnp.int32)
    table = jnp.array([range(9), [9, 10, 11] + [0] * 6], jnp.int32)
    x = jax.random.normal(jax.random.key(1), (NUM, 3))
    as_it_is = dj.data.Normalizer(np.float32(1), np.zeros(3), np.ones(3))
    return base.Source(x, y, as_it_is, table, jnp.array([9, 3], jnp.int32))


def test_a_table_is_looked_up_by_the_index_of_every_example(source):
    table = jnp.arange(1.0, NUM + 1)
    batch = transforms.weigh_real(samplers.uniform(NUM), table)(KEY, 0, source)
    np.testing.assert_array_equal(batch.weight, batch.index + 1.0)
    assert sorted(batch.index.tolist()) == list(range(NUM))


def test_rows_that_are_padding_keep_the_weight_zero(source):
    table = jnp.arange(1.0, NUM + 1)
    batch = transforms.weigh_real(samplers.per_class(5), table)(KEY, 0, source)
    plain = samplers.per_class(5)(KEY, 0, source)
    np.testing.assert_array_equal(batch.weight, plain.weight * (plain.index + 1.0))
    assert float(batch.weight[1, 3:].max()) == 0.0


def test_a_function_of_the_examples_may_give_the_weights(source):
    norms = lambda examples: jnp.linalg.norm(examples.x, axis=-1)
    batch = transforms.weigh_real(samplers.uniform(4), norms)(KEY, 0, source)
    np.testing.assert_allclose(batch.weight, np.linalg.norm(batch.x, axis=-1))


def test_examples_without_weights_get_those_of_the_table(source):
    bare = lambda key, step, source: samplers.uniform(4)(key, step, source)._replace(
        weight=None
    )
    batch = transforms.weigh_real(bare, jnp.full(NUM, 0.5))(KEY, 0, source)
    np.testing.assert_array_equal(batch.weight, jnp.full(4, 0.5))


def test_of_a_pair_only_what_is_matched_is_weighed(source):
    def pair(key, step, source):
        batch = samplers.uniform(4)(key, step, source)
        return base.Pair(match=batch, train=batch)

    batch = transforms.weigh_real(pair, jnp.full(NUM, 0.5))(KEY, 0, source)
    np.testing.assert_array_equal(batch.match.weight, jnp.full(4, 0.5))
    np.testing.assert_array_equal(batch.train.weight, jnp.ones(4))


def test_a_weight_of_zero_leaves_an_example_out_of_distribution_matching(source):
    task = toy_task()
    synthetic = base.Synthetic(jnp.ones((2, 3)), jnp.eye(2))
    objective = objectives.distribution_matching(task)
    inner = objective.init(KEY, synthetic)
    table = jnp.ones(NUM).at[jnp.array([2, 10])].set(0.0)
    sampler = transforms.weigh_real(samplers.per_class(9), table)
    weighed = objective.loss(synthetic, KEY, inner, sampler(KEY, 0, source))[0]
    fewer = source._replace(
        table=jnp.array([[0, 1, 3, 4, 5, 6, 7, 8], [9, 11] + [0] * 6], jnp.int32),
        count=jnp.array([8, 2], jnp.int32),
    )
    batch = samplers.per_class(8)(KEY, 0, fewer)
    np.testing.assert_allclose(
        weighed, objective.loss(synthetic, KEY, inner, batch)[0], rtol=1e-5
    )


def toy_task():
    spec = dj.data.DataSpec("toy", (3,), 2, ("a", "b"), None, "")
    return dj.tasks.classification(dj.nets.mlp(2, hidden=(4,)), spec)


def test_the_gradient_in_the_weights_is_that_of_finite_differences(source, x64):
    task = toy_task()
    synthetic = base.Synthetic(jnp.ones((2, 3)), jnp.eye(2))
    objective = objectives.distribution_matching(task)
    inner = jax.tree.map(lambda a: a.astype(float), objective.init(KEY, synthetic))

    def loss(table):
        sampler = transforms.weigh_real(samplers.per_class(4), table)
        return objective.loss(synthetic, KEY, inner, sampler(KEY, 0, source))[0]

    table = jax.random.uniform(jax.random.key(2), (NUM,), minval=0.5)
    test_util.check_grads(loss, (table,), order=1, modes=["rev"], rtol=1e-6)
    drawn = samplers.per_class(4)(KEY, 0, source)
    drawn = set(np.asarray(drawn.index)[np.asarray(drawn.weight) > 0].tolist())
    grad = jax.grad(loss)(table)
    assert {row for row in range(NUM) if abs(float(grad[row])) > 1e-9} == drawn


def test_weights_that_cannot_be_are_refused(source):
    with pytest.raises(errors.InputError, match=r"array of shape \(2, 6\) was given"):
        transforms.weigh_real(samplers.uniform(4), jnp.ones((2, 6)))
    short = transforms.weigh_real(samplers.uniform(4), jnp.ones(NUM - 1))
    with pytest.raises(errors.InputError, match="has 11 entries, but the data set"):
        short(KEY, 0, source)
    wrong = transforms.weigh_real(samplers.uniform(4), lambda examples: examples.x)
    with pytest.raises(errors.InputError, match=r"weights have the shape \(4, 3\)"):
        wrong(KEY, 0, source)
    bare = lambda key, step, source: base.Examples(source.x, jnp.ones((NUM, 2)))
    lost = transforms.weigh_real(bare, jnp.ones(NUM))
    with pytest.raises(errors.InputError, match="carry no `index`"):
        lost(KEY, 0, source)


def test_contexts_without_examples_cannot_be_weighed():
    sampler = lambda key, step, source: base.Contextual(None, jnp.ones((2, 3)))
    weighed = transforms.weigh_real(sampler, lambda examples: jnp.ones(1))
    with pytest.raises(errors.InputError, match="no real examples"):
        weighed(jax.random.key(0), 0, None)
