# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ridge regression and FRePo's loss against the original implementation and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import base, objectives
from distill_jax.inner import ridge
from distill_jax.objectives import ridge_terms

FILES = [("krr_features", 1e-10), ("krr_features_more_samples_than_dims", 1e-7)]


def unpack(arrays, dtype=jnp.float64):
    names = ("support_features", "target_features", "support_labels", "target_labels")
    return [jnp.asarray(arrays[name], dtype) for name in names]


@pytest.mark.parametrize(("name", "tolerance"), FILES)
def test_terms_and_gradients_equal_the_original(
    name, tolerance, golden, assert_near, x64
):
    arrays = golden(name)
    f_s, f_t, y_s, y_t = unpack(arrays)
    terms = ridge_terms.kernel_terms(
        f_s, f_t, y_s, y_t, ridge=float(arrays["reg_default"])
    )
    assert_near(terms.regression, arrays["kernel_loss"], tolerance)
    assert_near(-terms.margin, arrays["label_loss"], tolerance)
    assert_near(terms.regression - terms.margin, arrays["total_loss"], tolerance)

    def regression(f_s, f_t, y_s):
        return ridge_terms.kernel_terms(f_s, f_t, y_s, y_t).regression

    grads = jax.grad(regression, argnums=(0, 1, 2))(f_s, f_t, y_s)
    for grad, what in zip(
        grads, ("support_features", "target_features", "support_labels"), strict=True
    ):
        assert_near(grad, arrays[f"kernel_loss_grad_{what}"], tolerance, what)

    def total(y_s):
        terms = ridge_terms.kernel_terms(f_s, f_t, y_s, y_t)
        return terms.regression - terms.margin

    assert_near(
        jax.grad(total)(y_s), arrays["total_loss_grad_support_labels"], tolerance
    )


@pytest.mark.parametrize(("name", "tolerance"), FILES)
@pytest.mark.parametrize("value", ["1e-06", "0.01"])
def test_predictions_equal_the_original(
    name, tolerance, value, golden, assert_near, x64
):
    arrays = golden(name)
    f_s, f_t, y_s, _ = unpack(arrays)
    predicted = ridge.predict(f_s, f_t, y_s, ridge=float(value))
    assert_near(predicted, arrays[f"prediction_reg{value}"], tolerance)


def test_float32_is_close_to_the_original(golden, assert_near):
    arrays = golden("krr_features")
    with jax.default_matmul_precision("highest"):
        f_s, f_t, y_s, y_t = unpack(arrays, jnp.float32)
        terms = ridge_terms.kernel_terms(f_s, f_t, y_s, y_t)
    assert_near(terms.regression, arrays["kernel_loss"], 1e-5)


def test_label_margins_equal_the_original(golden, assert_near, x64):
    arrays = golden("krr_features")
    y = jnp.asarray(arrays["support_labels"])
    rows = jax.vmap(lambda row: -ridge_terms.label_margin(row[None]))(y)
    assert_near(rows, arrays["margin_per_sample"], 1e-12)
    grad = jax.grad(lambda y: -ridge_terms.label_margin(y))(y)
    assert_near(grad, arrays["margin_grad_support_labels"], 1e-12)


def test_the_dual_solution_equals_the_primal_one(x64):
    rng = np.random.default_rng(0)
    f_s, f_t, y = (
        rng.normal(size=(7, 4)),
        rng.normal(size=(5, 4)),
        rng.normal(size=(7, 3)),
    )
    scale = 0.1 * np.trace(f_s @ f_s.T) / 7
    primal = f_t @ np.linalg.solve(f_s.T @ f_s + scale * np.eye(4), f_s.T @ y)
    dual = ridge.predict(jnp.asarray(f_s), jnp.asarray(f_t), jnp.asarray(y), ridge=0.1)
    np.testing.assert_allclose(dual, primal, atol=1e-8)


def test_real_examples_of_weight_zero_do_not_count(x64):
    rng = np.random.default_rng(1)
    f_s, f_t = rng.normal(size=(6, 9)), rng.normal(size=(4, 9))
    y_s, y_t = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    weight = jnp.array([1.0, 1.0, 0.0, 1.0])
    keep = np.array([0, 1, 3])
    weighted = ridge_terms.kernel_terms(f_s, f_t, y_s, y_t, weight=weight)
    kept = ridge_terms.kernel_terms(f_s, f_t[keep], y_s, y_t[keep])
    np.testing.assert_allclose(weighted.regression, kept.regression, rtol=1e-12)
    np.testing.assert_allclose(weighted.accuracy, kept.accuracy)


def test_the_gradient_in_pictures_and_labels_equals_finite_differences(x64):
    data = dj.data.load("digits")
    net = dj.nets.mlp(10, hidden=(12,))
    task = dj.tasks.classification(net, data.spec)
    objective = objectives.kernel_regression(task, num_networks=2, num_active=2)
    batch = dj.samplers.uniform(24)(jax.random.key(0), 0, dj.data.to_source(data))
    double = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, float), tree)
    batch = double(batch._replace(index=None))
    y = jnp.eye(10) - 0.1 + 0.01 * jnp.arange(10.0)[:, None]
    synthetic = double(base.Synthetic(batch.x[:10], y))
    inner = objective.init(jax.random.key(1), synthetic)
    inner = inner._replace(variables=double(inner.variables))

    @jax.jit
    def loss(x, y):
        one = base.Synthetic(x, y)
        return objective.loss(one, jax.random.key(2), inner, batch)[0]

    grads = jax.grad(loss, argnums=(0, 1))(synthetic.x, synthetic.y)
    rng = np.random.default_rng(3)
    for number, (leaf, grad) in enumerate(zip(synthetic[:2], grads, strict=True)):
        direction = jnp.asarray(rng.normal(size=leaf.shape))
        args = lambda eps, n=number, d=direction: [
            v + eps * d if k == n else v for k, v in enumerate(synthetic[:2])
        ]
        slope = (loss(*args(1e-6)) - loss(*args(-1e-6))) / 2e-6
        np.testing.assert_allclose(jnp.sum(grad * direction), slope, rtol=1e-6)


def test_more_synthetic_examples_than_members_train_on_are_sampled():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(4,)), data.spec)
    objective = objectives.kernel_regression(
        task,
        num_networks=1,
        training=objectives.MemberTraining(learning_rate=0.1, max_train_examples=3),
    )
    batch = dj.samplers.uniform(8)(jax.random.key(0), 0, dj.data.to_source(data))
    synthetic = base.Synthetic(batch.x, batch.y - 0.1)
    inner = objective.init(jax.random.key(1), synthetic)
    after = [
        objective.advance(jax.random.key(k), inner, synthetic, batch) for k in (2, 2, 3)
    ]
    kernels = [np.asarray(jax.tree.leaves(a.variables.params)[-1]) for a in after]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 0
