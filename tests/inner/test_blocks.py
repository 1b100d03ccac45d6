# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sums over the examples of each class, some at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base
from distill_jax.inner import blocks


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
        sums = blocks.class_sums(moment, blocks.shares(now), block_size=block_size)
        return jnp.sum(jnp.sin(sums["xy"]))

    args = examples.x, examples.weight
    grads = [jax.grad(value, (0, 1))(*args, size) for size in (7, 3)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), *grads)


def test_no_block_is_larger_than_asked_for_and_each_has_its_number():
    sizes = []

    def fn(number, block):
        sizes.append(block.y.shape[0])
        return jax.nn.one_hot(number, 3) * block.weight.sum()

    examples = blocks.shares(draw(10, weight=False))
    found = blocks.class_sums(fn, examples, block_size=4)
    assert max(sizes) == 4
    np.testing.assert_allclose(found, np.tile([0.4, 0.4, 0.2], (3, 1)), rtol=1e-6)


def test_shares_of_a_class_without_weight_are_zero():
    examples = draw(4)._replace(weight=jnp.array([[1.0, 1, 2, 0], [0] * 4, [1] * 4]))
    found = blocks.shares(examples).weight
    np.testing.assert_allclose(found, [[0.25, 0.25, 0.5, 0], [0] * 4, [0.25] * 4])
