# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sums over many examples, some at a time."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base, nets, tasks
from distill_jax.compute import blocks


def draw(num_examples, weight=True):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, num_examples, 4)), rng.normal(size=(3, num_examples, 2))
    weight = rng.uniform(size=(3, num_examples)) if weight else None
    return base.Examples(*jax.tree.map(jnp.asarray, (x, y, weight)))


def moment(number, block):
    del number
    return {"xy": jnp.einsum("b,bi,bj->ij", block.weight, block.x, block.y)}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("block_size", [1, 4, 5, 7, 12, 100, None])
def test_sums_do_not_depend_on_the_blocks(block_size):
    examples = draw(12)
    found = blocks.class_sums(moment, examples, block_size=block_size)["xy"]
    expected = np.einsum("cb,cbi,cbj->cij", examples.weight, examples.x, examples.y)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.usefixtures("x64")
def test_derivatives_do_not_depend_on_the_blocks():
    examples = draw(7)

    def value(x, weight, block_size):
        now = examples._replace(x=x, weight=weight)
        sums = blocks.class_sums(
            moment, jax.vmap(blocks.shares)(now), block_size=block_size
        )
        return jnp.sum(jnp.sin(sums["xy"]))

    args = examples.x, examples.weight
    grads = [jax.grad(value, (0, 1))(*args, size) for size in (7, 3)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), *grads)


def test_no_block_is_larger_than_asked_for_and_each_has_its_number():
    sizes = []

    def fn(number, block):
        sizes.append(block.y.shape[0])
        return jax.nn.one_hot(number, 3) * block.weight.sum()

    examples = jax.vmap(blocks.shares)(draw(10, weight=False))
    found = blocks.class_sums(fn, examples, block_size=4)
    assert max(sizes) == 4
    np.testing.assert_allclose(found, np.tile([0.4, 0.4, 0.2], (3, 1)), rtol=1e-6)


def test_shares_of_a_class_without_weight_are_zero():
    examples = draw(4)._replace(weight=jnp.array([[1.0, 1, 2, 0], [0] * 4, [1] * 4]))
    found = jax.vmap(blocks.shares)(examples).weight
    np.testing.assert_allclose(found, [[0.25, 0.25, 0.5, 0], [0] * 4, [0.25] * 4])


def picture_task(side=8, **options):
    spec = types.SimpleNamespace(
        name="toy", shape=(side, side, 1), num_classes=3, normalizer=None
    )
    net = nets.convnet(3, **{"width": 4, "depth": 1, **options})
    return tasks.classification(net, spec)


def test_large_pictures_come_in_blocks_and_rows_of_a_table_do_not():
    task = picture_task(28, width=16, depth=3)
    variables = task.init(jax.random.key(0), task.sample_context(jax.random.key(0)))
    losses_of = lambda batch: task.train_loss(
        variables, jax.random.key(0), batch, None
    )[0]
    many = base.Examples(jnp.ones((100, 28, 28, 1)), jnp.ones((100, 3)) / 3)
    assert 16 <= blocks.fitting_size(losses_of, many) < 100
    few = jax.tree.map(lambda leaf: leaf[:10], many)
    assert blocks.fitting_size(losses_of, few) == 10
    table = base.Examples(jnp.ones((100, 9)), jnp.ones(100))
    assert blocks.fitting_size(lambda batch: batch.x.sum(axis=1), table) == 100
    assert blocks.fitting_size(lambda batch: batch.y, table) == 100  # Writes nothing.


@pytest.mark.parametrize(("side", "is_cut"), [(28, True), (8, False)])
def test_rows_are_mapped_in_parts_that_fit(side, is_cut):
    task = picture_task(side, width=16, depth=3)
    variables = task.init(jax.random.key(0), task.sample_context(jax.random.key(0)))
    mapped = lambda x: blocks.map_rows(lambda x: task.predict(variables, x, None), x)
    x = jax.random.normal(jax.random.key(1), (96, side, side, 1))
    assert ("scan" in str(jax.make_jaxpr(mapped)(x))) == is_cut
    np.testing.assert_allclose(
        mapped(x), task.predict(variables, x, None), rtol=1e-4, atol=1e-4
    )
