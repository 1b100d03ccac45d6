# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objectives learn what the task encodes, against numpy and a linear model."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, objectives
from distill_jax.training import pool as pools

KEY = jax.random.key(0)
MEAN, STD = np.array([5.0, -2.0]), np.array([2.0, 0.5])


def encoded(kind, y):
    """By hand: standardised values, or centred labels."""
    if kind == "values":
        return (y - MEAN) / STD
    return (y - 1 / 2) / np.sqrt(2 / 10)


@pytest.fixture(params=["values", "centred"])
def problem(request, x64):
    """A linear model of two outputs, and a set and a batch for it."""
    kind, rng = request.param, np.random.default_rng(0)
    net = dj.nets.mlp(2, hidden=())
    y_real = np.eye(2)[np.arange(6) % 2]
    if kind == "values":
        spec = dj.data.DataSpec(
            "toy", (3,), 0, (), None, "", target_mean=MEAN, target_std=STD
        )
        task = dj.tasks.regression(net, spec)
        y_real = MEAN + STD * rng.normal(size=(6, 2))
    else:
        spec = dj.data.DataSpec("toy", (3,), 2, ("a", "b"), None, "")
        task = dj.tasks.classification(net, spec, targets="centred")
    synthetic = base.Synthetic(
        jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(4, 2)))
    )
    real = base.Examples(jnp.asarray(rng.normal(size=(6, 3))), jnp.asarray(y_real))
    return kind, task, synthetic, real


def outputs_of(variables, x):
    layer = variables.params["dense"]
    return np.asarray(x) @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"])


def losses_of(kind, outputs, y):
    squares = (outputs - y) ** 2
    return squares.mean(axis=1) if kind == "values" else 0.5 * squares.sum(axis=1)


def gradient_of(kind, variables, x, y):
    """Of the mean loss, in the kernel and the bias."""
    error = outputs_of(variables, x) - np.asarray(y)
    error = error if kind == "centred" else 2 * error / y.shape[1]
    return [np.asarray(x).T @ error / len(x), error.mean(axis=0)]


def by_group(tree, num_groups):
    return jax.tree.map(
        lambda leaf: leaf.reshape(num_groups, -1, *leaf.shape[1:]), tree
    )


def test_gradients_are_those_of_the_encoded_targets(problem):
    kind, task, synthetic, real = problem
    num_groups = 1 if kind == "values" else 2
    batch = by_group(real, num_groups)
    objective = objectives.gradient_matching(task, distance="mse", parameters="all")
    inner = objective.init(KEY, synthetic)
    value, _ = objective.loss(synthetic, KEY, inner, batch)
    variables = jax.tree.map(lambda leaf: leaf[0], pools.members(inner))
    expected, num_syn = 0.0, 4 // num_groups
    for group in range(num_groups):
        rows = slice(group * num_syn, (group + 1) * num_syn)
        ours = gradient_of(kind, variables, synthetic.x[rows], synthetic.y[rows])
        target = encoded(kind, np.asarray(batch.y[group]))
        theirs = gradient_of(kind, variables, np.asarray(batch.x[group]), target)
        expected += sum(((a - b) ** 2).sum() for a, b in zip(ours, theirs, strict=True))
    np.testing.assert_allclose(value, expected, rtol=1e-9)


def test_unrolled_networks_are_judged_by_the_encoded_targets(problem):
    kind, task, synthetic, real = problem
    objective = objectives.unrolled_training(
        task, num_steps=1, optimizer=optax.sgd(0.0)
    )
    value, _ = objective.loss(synthetic, KEY, {}, real)
    key_context, key_net, *_ = jax.random.split(jax.random.split(KEY, 1)[0], 5)
    variables = dj.tasks.init_learner(task, (key_context, key_net)).variables
    outputs = outputs_of(variables, np.asarray(real.x))
    expected = losses_of(kind, outputs, encoded(kind, np.asarray(real.y))).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-9)


@pytest.mark.parametrize("curvature", ["hessian", "gauss_newton"])
def test_implicit_networks_are_judged_by_the_encoded_targets(problem, curvature):
    kind, task, synthetic, real = problem
    objective = objectives.implicit_bilevel(
        task, num_networks=1, num_steps=2, weight_decay=0.3, curvature=curvature
    )
    inner = objective.init(KEY, synthetic)
    loss = lambda synthetic: objective.loss(synthetic, KEY, inner, real)[0]
    value, grads = jax.value_and_grad(loss)(synthetic)
    variables = jax.tree.map(lambda leaf: leaf[0], pools.members(inner))
    outputs = outputs_of(variables, np.asarray(real.x))
    expected = losses_of(kind, outputs, encoded(kind, np.asarray(real.y))).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    # A linear model with a squared error is its own Gauss-Newton model.
    other = "gauss_newton" if curvature == "hessian" else "hessian"
    same = objectives.implicit_bilevel(
        task, num_networks=1, num_steps=2, weight_decay=0.3, curvature=other
    )
    others = jax.grad(lambda s: same.loss(s, KEY, inner, real)[0])(synthetic)
    np.testing.assert_allclose(grads.x, others.x, rtol=1e-6)
    assert float(jnp.abs(grads.x).max()) > 1e-6


@pytest.mark.parametrize("problem", ["values"], indirect=True)  # Centred: FRePo's.
def test_ridge_regression_is_on_values_as_the_task_writes_them(problem):
    kind, task, synthetic, real = problem
    objective = objectives.kernel_regression(task, num_networks=1, ridge=0.1)
    inner = objective.init(KEY, synthetic)
    value, aux = objective.loss(synthetic, KEY, inner, real)
    f_s, f_t = np.asarray(synthetic.x), np.asarray(real.x)  # Below the only layer.
    kernel = f_s @ f_s.T
    kernel += 0.1 * np.trace(kernel) / 4 * np.eye(4)
    predicted = f_t @ f_s.T @ np.linalg.solve(kernel, np.asarray(synthetic.y))
    squares = (predicted - encoded(kind, np.asarray(real.y))) ** 2
    np.testing.assert_allclose(value, 0.5 * squares.sum(axis=1).mean(), rtol=1e-6)
    assert set(aux.metrics) == {"regression"}
    warm = synthetic._replace(temperature=jnp.asarray(1.0))
    with pytest.raises(dj.InputError, match="without `learn_temperature`"):
        objective.loss(warm, KEY, inner, real)


def test_the_means_of_one_group_are_matched(problem):
    kind, task, synthetic, real = problem
    num_groups = 1 if kind == "values" else 2
    objective = objectives.distribution_matching(task)
    inner = objective.init(KEY, synthetic)
    value, _ = objective.loss(synthetic, KEY, inner, by_group(real, num_groups))
    means = lambda x: np.asarray(x).reshape(num_groups, -1, 3).mean(axis=1)
    expected = ((means(synthetic.x) - means(real.x)) ** 2).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-6)
