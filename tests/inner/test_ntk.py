# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kernels of infinitely wide networks against Neural Tangents' numbers and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import errors
from distill_jax.inner import ntk
from distill_jax.inner import ridge as ridges

FILES = ["krr_ntk_fc", "krr_ntk_fc_nobias"]


def unpack(arrays, dtype=jnp.float64):
    names = ("support", "target", "support_labels", "target_labels")
    return [jnp.asarray(arrays[name], dtype) for name in names]


def kernel_of(arrays, depth, kind):
    return ntk.fully_connected_kernel(
        depth=depth,
        kind=kind,
        weight_std=float(arrays["W_std"]),
        bias_std=float(arrays["b_std"]),
    )


def loss_of(kernel, arrays, target, y_target):
    def loss(support, y_support):
        predicted = ridges.kernel_predict(
            kernel(support, support),
            kernel(target, support),
            y_support,
            ridge=float(arrays["reg"]),
        )
        return 0.5 * jnp.mean((predicted - y_target) ** 2)

    return loss


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("name", FILES)
def test_kernels_losses_and_gradients_equal_the_original(
    name, depth, kind, golden, assert_near, x64
):
    arrays = golden(name)
    support, target, y_support, y_target = unpack(arrays)
    kernel = kernel_of(arrays, depth, kind)
    stored = lambda what: arrays[f"fc{depth}/{kind}/{what}"]
    # The original's NTK of an example with itself carries noise up to 6e-9.
    diagonal = 1e-10 if kind == "nngp" else 1e-7
    both = jnp.concatenate([support, target])
    k = jax.jit(kernel)(both, both)
    num = len(support)
    assert_near(k[:num, :num], stored("k_ss"), diagonal)
    assert_near(k[num:, num:], stored("k_tt"), diagonal)
    assert_near(k[num:, :num], stored("k_ts"), 1e-10)
    loss = loss_of(kernel, arrays, target, y_target)
    value, grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(support, y_support)
    in_support, in_labels = grads
    assert_near(value, stored("loss_half_mean_square"), 1e-7)
    assert_near(in_support, stored("loss_grad_support"), 1e-7)
    assert_near(in_labels, stored("loss_grad_labels"), 1e-7)


@pytest.mark.parametrize("name", FILES)
def test_float32_is_close_to_the_original(name, golden, assert_near):
    arrays = golden(name)
    support, target, y_support, y_target = unpack(arrays, jnp.float32)
    kernel = kernel_of(arrays, 3, "ntk")
    k = jax.jit(kernel)
    assert_near(k(support, support), arrays["fc3/ntk/k_ss"], 1e-6)
    assert_near(k(target, support), arrays["fc3/ntk/k_ts"], 1e-6)
    loss = loss_of(kernel, arrays, target, y_target)
    grads = jax.jit(jax.grad(loss, argnums=(0, 1)))(support, y_support)
    for grad, what in zip(grads, ("support", "labels"), strict=True):
        assert_near(grad, arrays[f"fc3/ntk/loss_grad_{what}"], 1e-4)


def random_network_kernel(x, y, *, width, weight_std, bias_std):
    """Both kernels of one wide network with one hidden layer, by their definition."""
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        "w": jax.random.normal(keys[0], (x.shape[1], width)),
        "b": jax.random.normal(keys[1], (width,)),
        "v": jax.random.normal(keys[2], (width,)),
        "c": jax.random.normal(keys[3], ()),
    }

    def hidden(p, x):
        pre = weight_std / np.sqrt(x.size) * (x @ p["w"]) + bias_std * p["b"]
        return jax.nn.relu(pre)

    def network(p, x):
        out = weight_std / np.sqrt(width) * (hidden(p, x) @ p["v"])
        return out + bias_std * p["c"]

    flat = lambda tree: jnp.concatenate(
        [leaf.ravel() for leaf in jax.tree.leaves(tree)]
    )
    slope = jax.vmap(lambda x: flat(jax.grad(network)(params, x)))
    units = jax.vmap(lambda x: hidden(params, x))
    nngp = weight_std**2 * units(x) @ units(y).T / width + bias_std**2
    return nngp, slope(x) @ slope(y).T


def test_a_wide_network_has_these_kernels(x64):
    x = jax.random.normal(jax.random.key(1), (4, 6))
    y = jnp.concatenate([x[:1], -x[:1], jax.random.normal(jax.random.key(2), (2, 6))])
    options = {"weight_std": 1.3, "bias_std": 0.4}
    nngp, ntk_ = random_network_kernel(x, y, width=100_000, **options)
    exact = ntk.fully_connected(x, y, **options)
    np.testing.assert_allclose(exact.nngp, nngp, atol=0.02)
    np.testing.assert_allclose(exact.ntk, ntk_, atol=0.03)


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_gradients_equal_finite_differences_also_on_the_diagonal(kind, x64):
    kernel = ntk.fully_connected_kernel(depth=2, kind=kind)
    x = jax.random.normal(jax.random.key(0), (4, 5))
    weight = jax.random.normal(jax.random.key(1), (4, 4))
    direction = jax.random.normal(jax.random.key(2), (4, 5))
    for mask in (jnp.ones((4, 4)), jnp.eye(4)):

        def value(x, mask=mask):
            return jnp.sum(weight * mask * kernel(x, x))

        slope = (value(x + 1e-6 * direction) - value(x - 1e-6 * direction)) / 2e-6
        np.testing.assert_allclose(
            jnp.sum(jax.grad(value)(x) * direction), slope, rtol=1e-7
        )


def diagonal_slope(x, *, depth, weight_std, bias_std):
    """d Theta(x, x) / dx from Theta_l = W^2 / 2 Theta_{l-1} + Sigma_l, in numpy."""
    sigma = theta = 2 * weight_std**2 * x / x.shape[1]  # Of W^2 |x|^2 / D + b^2.
    for _ in range(depth):
        sigma = weight_std**2 / 2 * sigma
        theta = weight_std**2 / 2 * theta + sigma
    return theta


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_float32_gradient_of_the_diagonal_is_free_of_noise(scale, assert_near):
    x = scale * jax.random.normal(jax.random.key(0), (6, 3072))
    kernel = ntk.fully_connected_kernel(depth=3)
    grad = jax.grad(lambda x: jnp.trace(kernel(x, x)))(x)
    expected = diagonal_slope(
        np.asarray(x, np.float64), depth=3, weight_std=np.sqrt(2), bias_std=0.1
    )
    np.testing.assert_allclose(
        grad / np.abs(expected).max(), expected / np.abs(expected).max(), atol=1e-5
    )
    np.testing.assert_allclose(
        jnp.diag(kernel(x, x)),
        jax.vmap(lambda row: kernel(row[None], row[None])[0, 0])(x),
        rtol=1e-5,
    )


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_equal_opposite_and_zero_examples_have_finite_gradients(kind):
    kernel = ntk.fully_connected_kernel(depth=2, kind=kind, bias_std=0.0)
    x = jnp.array([[1.0, 2.0], [1.0, 2.0], [-1.0, -2.0], [0.0, 0.0], [2.0, 4.0]])
    grads = jax.grad(lambda x, y: jnp.sum(kernel(x, y) ** 2), argnums=(0, 1))(x, x + 0)
    assert all(np.isfinite(grad).all() for grad in grads)
    assert np.isfinite(kernel(x, x)).all()
    np.testing.assert_allclose(kernel(x, x)[0], kernel(x, x)[1], rtol=1e-6)


def test_pictures_are_flattened():
    x = jax.random.normal(jax.random.key(0), (3, 4, 4, 2))
    kernel = ntk.fully_connected_kernel()
    np.testing.assert_array_equal(
        kernel(x, x[:2]), kernel(x.reshape(3, 32), x[:2].reshape(2, 32))
    )


def test_what_cannot_work_is_refused_in_a_sentence():
    x = jnp.ones((2, 3))
    with pytest.raises(errors.InputError, match="`depth` must be a whole number"):
        ntk.fully_connected_kernel(depth=0)
    with pytest.raises(errors.InputError, match="`weight_std` must be positive"):
        ntk.fully_connected(x, x, weight_std=0.0)
    with pytest.raises(errors.InputError, match="`bias_std` must be 0 or more"):
        ntk.fully_connected(x, x, bias_std=-0.1)
    with pytest.raises(errors.InputError, match='Did you mean "ntk"'):
        ntk.fully_connected_kernel(kind="nkt")  # pyright: ignore[reportArgumentType]
    with pytest.raises(errors.InputError, match="have 3 and 4 values"):
        ntk.fully_connected(x, jnp.ones((2, 4)))
