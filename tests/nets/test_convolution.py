# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The convolution: both forms against the definition, and against each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import errors, nets
from distill_jax.nets import convolution

CASES = [
    # height, width, channels, rows, columns, padding, stride
    (5, 7, 2, 3, 3, 1, 1),
    (8, 8, 1, 3, 3, 3, 1),
    (6, 5, 3, 3, 2, 0, 1),
    (7, 8, 2, 3, 3, 1, 2),
    (4, 4, 3, 1, 1, 0, 1),
    (6, 4, 64, 3, 3, 1, 1),  # In tiles, from 64 channels on.
    (4, 6, 65, 3, 3, 0, 1),
    (2, 2, 64, 3, 3, 1, 1),
]


def _numpy_conv(x, kernel, padding, stride):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns, _, num_out = kernel.shape
    height = (x.shape[1] - rows) // stride + 1
    width = (x.shape[2] - columns) // stride + 1
    out = np.zeros((x.shape[0], height, width, num_out))
    for r in range(height):
        for c in range(width):
            top, left = r * stride, c * stride
            window = x[:, top : top + rows, left : left + columns]
            out[:, r, c] = np.tensordot(window, kernel, axes=3)
    return out


def _draw(case):
    height, width, channels, rows, columns, padding, stride = case
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, height, width, channels))
    return x, rng.normal(size=(rows, columns, channels, 4)), padding, stride


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("form", ["cpu", "xla", "auto"])
@pytest.mark.parametrize("case", CASES)
def test_convolution_matches_its_definition(case, form, assert_near):
    x, kernel, padding, stride = _draw(case)
    out = nets.conv2d(
        jnp.asarray(x), jnp.asarray(kernel), padding=padding, stride=stride, form=form
    )
    assert_near(out, _numpy_conv(x, kernel, padding, stride), 1e-13)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("case", [*CASES[:4:3], CASES[5]])
def test_both_forms_have_the_same_first_and_second_derivatives(case, assert_near):
    x, kernel, padding, stride = _draw(case)

    def derivatives(form):
        def value(x, kernel):
            out = nets.conv2d(x, kernel, padding=padding, stride=stride, form=form)
            return jnp.sum(jnp.sin(out))

        def slope(x, kernel):
            return jnp.sum(jax.grad(value, 1)(x, kernel) ** 2)

        both = lambda *args: (*jax.grad(value, (0, 1))(*args), *slopes(*args))
        slopes = jax.grad(slope, (0, 1))
        return jax.jit(both)(jnp.asarray(x), jnp.asarray(kernel))

    for one, other in zip(derivatives("cpu"), derivatives("xla"), strict=True):
        assert_near(one, other, 1e-12)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("form", ["cpu", "xla"])
@pytest.mark.parametrize("case", [CASES[0], CASES[5]])
def test_convolution_maps_over_kernels(case, form, assert_near):
    x, kernel, _, _ = _draw(case)
    kernels = jnp.stack([jnp.asarray(kernel), jnp.asarray(-2 * kernel)])
    out = jax.vmap(lambda k: nets.conv2d(jnp.asarray(x), k, form=form))(kernels)
    assert_near(out[1], -2 * np.asarray(out[0]), 1e-13)


def test_the_tiles_have_a_forward_derivative(assert_near, x64):
    x, kernel, padding, _ = _draw(CASES[5])

    def slopes(form):
        fn = lambda k: nets.conv2d(jnp.asarray(x), k, padding=padding, form=form)
        return jax.jvp(fn, (jnp.asarray(kernel),), (jnp.sin(jnp.asarray(kernel)),))[1]

    assert_near(slopes("cpu"), slopes("xla"), 1e-12)


def test_an_unknown_form_is_named():
    with pytest.raises(errors.InputError, match=r'no form "cpuu".*"cpu"'):
        nets.conv2d(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)), form="cpuu")  # type: ignore


@pytest.mark.usefixtures("x64")
def test_normalising_convolution_is_convolution_and_instance_norm(assert_near):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 4, 5, 2)))
    kernel = jnp.asarray(rng.normal(size=(3, 3, 2, 4)))
    scale, shift = jnp.asarray(rng.normal(size=(2, 4)))

    def plain(x, kernel, scale, shift):
        out = nets.conv2d(x, kernel, form="xla")
        centred = out - out.mean((1, 2), keepdims=True)
        variance = jnp.square(centred).mean((1, 2), keepdims=True)
        out = centred / jnp.sqrt(variance + 1e-5) * scale.reshape(1, 1, 1, -1)
        return out + shift.reshape(1, 1, 1, -1)

    def derivatives(fn):
        value = lambda *args: jnp.sum(jnp.sin(fn(*args)))
        slope = lambda *args: sum(
            jnp.sum(grad**2) for grad in jax.grad(value, (1, 2, 3))(*args)
        )
        first, second = (jax.grad(each, (0, 1, 2, 3)) for each in (value, slope))
        all_of_them = lambda *args: (fn(*args), *first(*args), *second(*args))
        return jax.jit(all_of_them)(x, kernel, scale, shift)

    folded = derivatives(convolution.normalised_conv2d)
    for one, other in zip(folded, derivatives(plain), strict=True):
        assert_near(one, other, 1e-10)


def test_constant_pictures_are_normalised_to_the_shift():
    x = jnp.full((1, 4, 4, 1), 3.0)
    kernel = jnp.ones((3, 3, 1, 2))
    fn = lambda x: convolution.normalised_conv2d(
        x, kernel, jnp.ones(2), jnp.array([0.5, -1.0]), padding=0
    )
    assert fn(x)[0, 0, 0].tolist() == [0.5, -1.0]
    assert bool(jnp.isfinite(jax.grad(lambda x: fn(x).sum())(x)).all())
