# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The three products of a convolution against XLA's own, to the third derivative."""

import functools

import jax
import jax.numpy as jnp
import pytest

from distill_jax.compute import cost
from distill_jax.nets import cpu_convolution

# Padding, rows and columns of the kernel, channels: patches of up to 9 and up to 27,
# and larger ones, are computed in different ways.
CASES = [
    (1, (3, 3), 1),
    (3, (3, 3), 1),
    (1, (3, 3), 3),
    (3, (3, 3), 4),
    (0, (3, 3), 4),
    (2, (5, 5), 4),
    (1, (2, 3), 5),
    (1, (3, 3), 64),  # In tiles.
    (0, (1, 1), 30),
]


def plain(x, kernel, padding):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (1, 1),
        ((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def drawn(case):
    _, shape, channels = case
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], (2, 6, 8, channels), jnp.float64)
    return x, jax.random.normal(keys[1], (*shape, channels, 5), jnp.float64)


@functools.cache
def derivatives(convolve, padding):
    """The first, second and, along a direction, third derivatives of a function."""

    def value(x, kernel):
        return jnp.sin(convolve(x, kernel, padding)).sum()

    first = jax.grad(value, (0, 1))

    def size(x, kernel):
        return sum(jnp.sum(leaf**3) for leaf in first(x, kernel))

    second = jax.grad(size, (0, 1))

    def all_of_them(x, kernel):
        third = jax.jvp(second, (x, kernel), (jnp.cos(x), jnp.cos(kernel)))[1]
        return convolve(x, kernel, padding), first(x, kernel), second(x, kernel), third

    return jax.jit(all_of_them)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", CASES)
def test_derivatives_are_those_of_a_convolution(case, assert_near):
    args = drawn(case)
    ours = derivatives(cpu_convolution.convolve, case[0])(*args)
    theirs = derivatives(plain, case[0])(*args)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert_near(one, other, 1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0), (1, 0)])
@pytest.mark.parametrize("case", [*CASES[1:4], CASES[7]])
def test_mapped_over_pictures_and_kernels(case, axes, assert_near):
    x, kernel = drawn(case)
    args = [
        leaf if axis is None else jnp.stack([leaf, -2 * leaf], axis)
        for leaf, axis in zip((x, kernel), axes, strict=True)
    ]
    ours = jax.vmap(derivatives(cpu_convolution.convolve, case[0]), axes)(*args)
    for i in range(2):  # One after the other, where ours are mapped.
        each = [
            leaf if axis is None else jnp.take(leaf, i, axis)
            for leaf, axis in zip(args, axes, strict=True)
        ]
        theirs = jax.tree.leaves(derivatives(plain, case[0])(*each))
        for one, other in zip(jax.tree.leaves(ours), theirs, strict=True):
            assert_near(one[i], other, 1e-12)


def test_its_multiplications_are_counted():
    x, kernel = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 5))
    value = lambda x, kernel: cpu_convolution.convolve(x, kernel, 1).sum() ** 2
    gradient = jax.make_jaxpr(jax.grad(value, (0, 1)))(x, kernel)
    # Forward and both derivatives: each place of the output times each of the kernel.
    assert cost.multiplications(gradient.jaxpr).total == 3 * 2 * 64 * kernel.size
