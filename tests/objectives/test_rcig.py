# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What RCIG adds to FRePo's loss, against numpy and dense linear algebra."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import base, errors, objectives
from distill_jax.objectives import ridge_terms
from distill_jax.training import pool

KEY = jax.random.key(0)


def test_cross_entropy_of_scaled_predictions_equals_numpy(x64):
    rng = np.random.default_rng(0)
    f_s, f_t = rng.normal(size=(6, 9)), rng.normal(size=(8, 9))
    y_s = rng.normal(size=(6, 3)) / 3
    y_t = np.eye(3)[rng.integers(0, 3, 8)]
    weight, tau = rng.uniform(size=8), 4.0
    terms = ridge_terms.kernel_terms(
        *map(jnp.asarray, (f_s, f_t, y_s, y_t - 1 / 3)),
        weight=jnp.asarray(weight),
        ridge=0.01,
        margin_limit=1 / 6,
        temperature=jnp.asarray(tau),
    )
    gram = f_s @ f_s.T
    gram += 0.01 * np.trace(gram) / 6 * np.eye(6)
    logits = tau * (f_t @ f_s.T @ np.linalg.solve(gram, y_s))
    losses = np.log(np.exp(logits).sum(axis=1)) - (logits * y_t).sum(axis=1)
    np.testing.assert_allclose(
        terms.regression, np.average(losses, weights=weight), rtol=1e-10
    )
    first, second = np.sort(y_s, axis=1)[:, :-3:-1].T
    margin = np.minimum(first - second, 1 / 6).mean()
    np.testing.assert_allclose(terms.margin, margin, rtol=1e-12)


def problem():
    """A smooth network with features, few examples, and a batch of real ones."""

    def init(key, shape):
        del shape
        first, last = jax.random.split(key)
        return {
            "a": jax.random.normal(first, (6, 4), float),
            "b": jax.random.normal(last, (4, 3), float),
        }

    hidden = lambda params, x: jnp.tanh(x.reshape(len(x), -1) @ params["a"])
    net = dj.nets.from_functions(
        init,
        lambda params, x: hidden(params, x) @ params["b"],
        lambda params, x: {"penultimate": hidden(params, x)},
    )
    spec = dj.data.DataSpec("toy", (6,), 3, ("a", "b", "c"), None, "")
    task = dj.tasks.classification(net, spec)
    rng = np.random.default_rng(0)
    few = base.Synthetic(
        jnp.asarray(rng.normal(size=(6, 6))),
        jnp.asarray(rng.normal(size=(6, 3)) / 2),
        temperature=jnp.asarray(3.0),
    )
    real = base.Examples(
        jnp.asarray(rng.normal(size=(9, 6))), jnp.asarray(np.eye(3)[np.arange(9) % 3])
    )
    return task, few, real


def test_the_implicit_part_equals_dense_linear_algebra(x64):
    task, few, real = problem()
    damping, ridge = 0.05, 0.1
    options = {"num_networks": 1, "ridge": ridge, "use_margin": False}
    objective = objectives.kernel_regression(
        task, num_implicit=60, damping=damping, **options
    )
    direct = objectives.kernel_regression(task, **options)
    inner = objective.init(KEY, few)
    params = jax.tree.map(lambda leaf: leaf[0], pool.members(inner)).params
    flat, unflatten = jax.flatten_util.ravel_pytree(params)

    def outputs(flat, x):
        return task.predict(base.Variables(unflatten(flat), {}), x, None)

    def error(flat, few):
        return 0.5 * jnp.mean(jnp.sum((outputs(flat, few.x) - few.y) ** 2, axis=1))

    def outer(flat):
        features = lambda x: task.features(
            base.Variables(unflatten(flat), {}), x, None
        )["penultimate"]
        return ridge_terms.kernel_terms(
            features(few.x), features(real.x), few.y, real.y - 1 / 3,
            ridge=ridge, temperature=few.temperature,
        ).regression  # fmt: skip

    jacobian = jax.jacobian(outputs)(flat, few.x).reshape(-1, flat.size)
    curved = jacobian.T @ jacobian / 6 + damping * jnp.eye(flat.size)
    vector = jnp.linalg.solve(curved, jax.grad(outer)(flat))
    cross = jax.grad(lambda few: jax.grad(error)(flat, few) @ vector)(few)
    loss = lambda objective: jax.jit(
        jax.value_and_grad(lambda few: objective.loss(few, KEY, inner, real)[0])
    )
    value, grads = loss(objective)(few)
    plain_value, plain = loss(direct)(few)
    np.testing.assert_allclose(value, plain_value, rtol=1e-12)
    for name in ("x", "y"):
        part, own = -getattr(cross, name), getattr(plain, name)
        norms = jnp.linalg.norm(part), jnp.linalg.norm(own)
        expected = own + part * jnp.minimum(1.0, norms[1] / norms[0])
        np.testing.assert_allclose(getattr(grads, name), expected, atol=1e-9)
        assert norms[0] > 1e-3  # There is something to be added.
    np.testing.assert_allclose(grads.temperature, plain.temperature, rtol=1e-10)


def test_the_temperature_is_learned_and_lowers_the_loss():
    digits = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(32,)), digits.spec)
    recipe = dj.methods.rcig(task, num_per_class=1, batch_size=128, ridge=1e-2)
    state, history = dj.run(recipe, digits, num_steps=60, key=jax.random.key(0))
    assert float(state.latent.learned["log_temperature"]) > 0.2
    loss = np.asarray(history.loss)
    assert loss[-2:].mean() < loss[0] - 0.3
    # What is read is the average, not the last.
    read = recipe.method.read(state)
    assert not np.allclose(read.x, state.latent.learned["x"], atol=1e-4)


def test_bad_options_are_refused():
    digits = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
    with pytest.raises(errors.InputError, match="num_implicit"):
        dj.methods.rcig(task, num_per_class=1, num_implicit=-1)
    with pytest.raises(errors.InputError, match="temperature"):
        dj.transforms.learn_temperature(dj.plain_decoder(), 0.0)
