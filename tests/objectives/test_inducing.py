# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kernel inducing points and FRePo's mirrored examples against the originals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import base, errors, objectives
from distill_jax.inner import ntk

KEY = jax.random.key(0)


def unpack(arrays, dtype=jnp.float64):
    """The synthetic examples and the batch, whose labels are not centred yet."""
    take = lambda name: jnp.asarray(arrays[name], dtype)
    y_target = take("target_labels")
    batch = base.Examples(take("target"), y_target + 1 / y_target.shape[1])
    return base.Synthetic(take("support"), take("support_labels")), batch


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
@pytest.mark.parametrize("name", ["krr_ntk_fc", "krr_ntk_fc_nobias"])
def test_the_loss_and_its_gradients_equal_the_original(
    name, kind, golden, assert_near, x64
):
    arrays = golden(name)
    synthetic, batch = unpack(arrays)
    kernel = ntk.fully_connected_kernel(
        depth=2,
        kind=kind,
        weight_std=float(arrays["W_std"]),
        bias_std=float(arrays["b_std"]),
    )
    objective = objectives.kernel_inducing_points(
        kernel=kernel, ridge=float(arrays["reg"])
    )
    inner = objective.init(KEY, synthetic)
    assert inner == {}

    def loss(x, y):
        return objective.loss(base.Synthetic(x, y), KEY, inner, batch)[0]

    value, grads = jax.jit(jax.value_and_grad(loss, (0, 1)))(*synthetic[:2])
    stored = lambda what: arrays[f"fc2/{kind}/{what}"]
    assert_near(value, stored("loss_half_mean_square"), 1e-7)
    assert_near(grads[0], stored("loss_grad_support"), 1e-7)
    assert_near(grads[1], stored("loss_grad_labels"), 1e-7)


def test_the_default_kernel_is_the_neural_tangent_kernel_of_the_depth(
    golden, assert_near, x64
):
    arrays = golden("krr_ntk_fc")  # Of the original's deviations, sqrt(2) and 0.1.
    synthetic, batch = unpack(arrays)
    for depth in (1, 3):
        objective = objectives.kernel_inducing_points(depth=depth)
        value, _ = objective.loss(synthetic, KEY, {}, batch)
        assert_near(value, arrays[f"fc{depth}/ntk/loss_half_mean_square"], 1e-7)


def test_the_value_is_that_of_the_formula_in_numpy(x64):
    rng = np.random.default_rng(0)
    x, x_t = rng.normal(size=(6, 8)), rng.normal(size=(5, 8))
    y, y_t = rng.normal(size=(6, 3)), np.eye(3)[[0, 1, 2, 0, 1]]
    weight = np.array([1.0, 2.0, 0.5, 0.0, 1.0])
    k_ss = x @ x.T
    shift = 0.1 * np.trace(k_ss) / 6 * np.eye(6)
    predicted = x_t @ x.T @ np.linalg.solve(k_ss + shift, y)
    squares = ((predicted - (y_t - 1 / 3)) ** 2).mean(axis=1) / 2
    right = predicted.argmax(1) == y_t.argmax(1)

    objective = objectives.kernel_inducing_points(
        kernel=lambda x, y: x @ y.T, ridge=0.1
    )
    batch = base.Examples(*(jnp.asarray(leaf) for leaf in (x_t, y_t, weight)))
    synthetic = base.Synthetic(jnp.asarray(x), jnp.asarray(y))
    value, aux = objective.loss(synthetic, KEY, {}, batch)
    np.testing.assert_allclose(value, np.average(squares, weights=weight), rtol=1e-12)
    np.testing.assert_allclose(
        aux.metrics["ridge_accuracy"], np.average(right, weights=weight), rtol=1e-12
    )


def test_real_pictures_as_synthetic_ones_have_the_gradient_of_float64():
    """At the start of a run the synthetic examples are in the real batch too."""
    data = dj.data.load("digits")
    drawn = dj.samplers.uniform(24)(KEY, 0, dj.data.to_source(data))
    objective = objectives.kernel_inducing_points()

    def gradient(dtype):
        batch = base.Examples(drawn.x.astype(dtype), drawn.y.astype(dtype))

        def loss(x):
            synthetic = base.Synthetic(x, batch.y[:10] - 0.1)
            return objective.loss(synthetic, KEY, {}, batch)[0]

        return np.asarray(jax.jit(jax.grad(loss))(batch.x[:10]))

    grad = gradient(jnp.float32)
    with jax.enable_x64(True):
        exact = gradient(jnp.float64)
    np.testing.assert_allclose(grad, exact, atol=1e-4 * np.abs(exact).max())


def test_nothing_is_carried_and_nothing_assigned():
    objective = objectives.kernel_inducing_points()
    synthetic = base.Synthetic(jnp.eye(2), jnp.eye(2))
    assert objective.advance(KEY, {}, synthetic, None) == {}
    assert objective.read(synthetic, {}) is synthetic


def test_what_cannot_work_is_refused_in_a_sentence():
    for value in (0.0, -1.0, float("nan")):
        with pytest.raises(errors.InputError, match="`ridge` must be positive"):
            objectives.kernel_inducing_points(ridge=value)
    with pytest.raises(errors.InputError, match="`depth` must be a whole number"):
        objectives.kernel_inducing_points(depth=0)
    weighted = base.Synthetic(jnp.eye(2), jnp.eye(2), weight=jnp.ones(2))
    with pytest.raises(errors.InputError, match="have weights"):
        objectives.kernel_inducing_points().init(KEY, weighted)


@pytest.mark.parametrize("use_flip", [False, True])
def test_frepo_with_mirror_images_equals_the_original(
    use_flip, golden, assert_near, x64
):
    arrays = golden("krr_images_flip")
    take = lambda name: jnp.asarray(arrays[name])
    matrix = take("feature_matrix")

    def features(variables, x, context):
        del variables, context
        return {"penultimate": jax.nn.relu(x.reshape(x.shape[0], -1) @ matrix)}

    digits = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(2,)), digits.spec)
    objective = objectives.kernel_regression(
        task._replace(features=features),
        num_networks=1,
        ridge=float(arrays["reg"]),
        use_flip=use_flip,
    )
    synthetic = base.Synthetic(take("support_images"), take("support_labels"))
    batch = base.Examples(take("target_images"), take("target_labels") + 1 / 5)
    inner = objective.init(KEY, synthetic)

    def loss(x, y):
        return objective.loss(base.Synthetic(x, y), KEY, inner, batch)

    slope = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
    (value, aux), grads = slope(*synthetic[:2])
    stored = lambda what: arrays[f"{'flip' if use_flip else 'noflip'}/{what}"]
    assert_near(value, stored("total_loss"), 1e-9)
    assert_near(aux.metrics["regression"], stored("kernel_loss"), 1e-9)
    assert_near(-aux.metrics["margin"], stored("label_loss"), 1e-9)
    assert_near(grads[0], stored("total_grad_images"), 1e-9)
    assert_near(grads[1], stored("total_grad_labels"), 1e-9)
