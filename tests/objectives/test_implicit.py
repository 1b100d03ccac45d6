# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The implicit objective against its parts, and what it does to the digits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import distill_jax as dj
from distill_jax import base, errors, objectives
from distill_jax.inner import hypergradient, solvers
from distill_jax.training import loop, minibatches
from distill_jax.training import pool as pools

KEY = jax.random.key(0)


def toy(num_features=3, num_classes=2, num_examples=4, seed=0):
    """A linear classifier, with weighted synthetic and real examples."""
    rng = np.random.default_rng(seed)
    net = dj.nets.from_functions(
        lambda key, shape: {"w": jax.random.normal(key, (num_features, num_classes))},
        lambda p, x: x @ p["w"],
    )
    names = tuple(map(str, range(num_classes)))
    spec = dj.data.DataSpec("toy", (num_features,), num_classes, names, None, "")

    def draw(number):
        return (
            jnp.asarray(rng.normal(size=(number, num_features))),
            jax.nn.softmax(jnp.asarray(rng.normal(size=(number, num_classes)))),
            jnp.asarray(rng.uniform(0.5, 1.5, size=number)),
        )

    task = dj.tasks.classification(net, spec)
    return task, base.Synthetic(*draw(num_examples)), base.Examples(*draw(7))


def mean_cross_entropy(w, examples):
    losses = -jnp.sum(examples.y * jax.nn.log_softmax(examples.x @ w), axis=1)
    return jnp.sum(examples.weight * losses) / jnp.sum(examples.weight)


@pytest.mark.parametrize("curvature", ["hessian", "gauss_newton"])
def test_value_and_gradient_are_those_through_the_optimum(curvature, assert_near, x64):
    task, synthetic, real = toy()
    options = solvers.SolverOptions(num_iterations=2, damping=0.1, clip_norm=0.05)
    objective = objectives.implicit_bilevel(
        task,
        num_networks=3,
        num_active=2,
        num_steps=2,
        weight_decay=0.3,
        curvature=curvature,
        solver_options=options,
    )
    inner = jax.jit(objective.init)(KEY, synthetic)

    def by_hand(synthetic):
        values = [
            hypergradient.through_optimum(
                lambda w, s: mean_cross_entropy(w, real),
                lambda w, s: mean_cross_entropy(w, s) + 0.15 * jnp.sum(w**2),
                w,
                synthetic,
                solver_options=options,  # A linear model is its own Gauss-Newton model.
            )[0]
            for w in pools.members(inner).params["w"]
        ]
        return sum(values) / 2

    loss = lambda synthetic: objective.loss(synthetic, KEY, inner, real)
    (value, aux), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(synthetic)
    expected, expected_grads = jax.jit(jax.value_and_grad(by_hand))(synthetic)
    assert_near(value, expected, 1e-12)
    for name in ("x", "y", "weight"):
        found = getattr(grads, name)
        assert float(jnp.abs(found).max()) > 1e-4
        assert_near(found, getattr(expected_grads, name), 1e-9, name)
    assert float(aux.metrics["residual"]) > 0


def test_the_gradient_is_that_of_training_anew(x64):
    task, synthetic, real = toy()
    objective = objectives.implicit_bilevel(
        task,
        num_networks=1,
        max_age=0,  # Every turn trains a fresh network.
        num_steps=400,
        optimizer=optax.sgd(1.0),
        weight_decay=0.2,
        curvature="hessian",
        solver_options=solvers.SolverOptions(damping=0.0),
    )
    pool = jax.jit(objective.init)(KEY, synthetic)

    def retrained(synthetic):
        inner = objective.advance(KEY, pool, jax.lax.stop_gradient(synthetic), real)
        return objective.loss(synthetic, KEY, inner, real)

    (_, aux), grads = jax.jit(jax.value_and_grad(retrained, has_aux=True))(synthetic)
    assert float(aux.metrics["inner_gradient_norm"]) < 1e-10
    value = jax.jit(lambda s: retrained(s)[0])
    rng = np.random.default_rng(1)
    for name in ("x", "y", "weight"):
        leaf = getattr(synthetic, name)
        direction = jnp.asarray(rng.normal(size=leaf.shape))
        up, down = (
            value(synthetic._replace(**{name: leaf + eps * direction}))
            for eps in (1e-5, -1e-5)
        )
        slope = float(jnp.sum(getattr(grads, name) * direction))
        assert slope == pytest.approx(float(up - down) / 2e-5, rel=1e-5)


def test_members_train_on_the_synthetic_examples_with_weight_decay(assert_near, x64):
    task, synthetic, real = toy()
    objective = objectives.implicit_bilevel(
        task,
        num_networks=1,
        num_steps=3,
        optimizer=optax.sgd(0.5),
        weight_decay=0.4,
    )
    pool = jax.jit(objective.init)(KEY, synthetic)
    moved = synthetic._replace(x=synthetic.x + 1.0)
    after = jax.jit(objective.advance)(KEY, pool, moved, real)
    w = pool.variables.params["w"][0]
    loss = lambda w: mean_cross_entropy(w, moved) + 0.2 * jnp.sum(w**2)
    for _ in range(3):
        w = w - 0.5 * jax.grad(loss)(w)
    assert_near(after.variables.params["w"][0], w, 1e-12)
    assert after.age.tolist() == [1]


@pytest.fixture(scope="module")
def digits():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), data.spec)
    source = dj.data.to_source(data)
    rows = source.table[:, 0]
    x = dj.data.normalize(source.normalizer, source.x[rows])
    return task, source, base.Examples(x, jnp.eye(10))


@pytest.mark.slow
def test_a_few_steps_lower_the_real_loss_of_networks_trained_anew(digits):
    task, source, seed = digits
    objective = objectives.implicit_bilevel(task, num_networks=2)
    method = dj.distill(
        objective, decoder=dj.plain_decoder(), optimizer=optax.adam(0.05)
    )
    sampler = dj.samplers.uniform(128)
    state = jax.jit(method.init)(KEY, seed)
    run = dj.runtime.scan_steps(method, sampler, num_steps=25)
    start = jax.tree.map(jnp.copy, method.read(state))
    state, infos = run(jax.random.key(1), state, source)
    assert infos.loss[-5:].mean() < 0.7 * infos.loss[:3].mean()
    real = dj.samplers.uniform(512)(jax.random.key(2), 0, source)

    @jax.jit
    def real_loss(synthetic):
        variables = task.init(jax.random.key(3), None)
        trained = loop.fit(
            jax.random.key(4),
            variables,
            task,
            synthetic,
            optimizer=optax.adam(1e-2),
            num_steps=150,
            batching=minibatches.Batching(10),
        )
        end = jax.tree.map(lambda leaf: leaf[-1], trained)
        return task.test_loss(end, KEY, real, None).mean()

    assert real_loss(method.read(state)) < 0.7 * real_loss(start)


def test_augmentation_bends_the_synthetic_examples_of_the_derivative(digits):
    task, _, seed = digits
    synthetic = base.Synthetic(seed.x, seed.y)
    make = lambda policy: objectives.implicit_bilevel(
        task, num_networks=1, num_steps=1, policy=policy, curvature="hessian"
    )
    pool = jax.jit(make(None).init)(KEY, synthetic)
    gradients = []
    for policy in (None, dj.augmentation.policies.parse("crop")):
        loss = make(policy).loss
        fn = jax.jit(jax.grad(lambda s: loss(s, KEY, pool, seed)[0]))
        gradients.append(ravel_pytree(fn(synthetic))[0])
    assert np.isfinite(gradients[1]).all()
    assert float(jnp.abs(gradients[0] - gradients[1]).max()) > 1e-3


def test_errors_say_what_to_use(digits):
    task, _, _ = digits
    make, options = objectives.implicit_bilevel, solvers.SolverOptions
    with pytest.raises(errors.InputError, match="no `output_loss`; use `curvature"):
        make(task._replace(output_loss=None), curvature="gauss_newton")
    spec = dj.data.DataSpec("toy", (8, 8, 1), 2, ("a", "b"), None, "")
    net = dj.nets.convnet(2, width=2, depth=1, norm="batch")
    with pytest.raises(errors.InputError, match="running statistics"):
        make(dj.tasks.classification(net, spec))
    with pytest.raises(errors.InputError, match=r'no solver "cq".*"cg"'):
        make(task, solver_options=options("cq"))
    with pytest.raises(errors.InputError, match=r'no curvature "hesian".*"hessian"'):
        make(task, curvature="hesian")
    with pytest.raises(errors.InputError, match="positive `step_size`"):
        make(task, solver_options=options("neumann"))
    with pytest.raises(errors.InputError, match="`weight_decay` is -1"):
        make(task, weight_decay=-1)
    with pytest.raises(errors.InputError, match="`damping` is -1"):
        make(task, solver_options=options(damping=-1))
    with pytest.raises(errors.InputError, match="`clip_norm` is 0"):
        make(task, solver_options=options(clip_norm=0))
    with pytest.raises(errors.InputError, match=r"`num_steps` must be .* at least 1"):
        make(task, num_steps=0)
    with pytest.raises(errors.InputError, match="`num_iterations` of the solver"):
        make(task, solver_options=options(num_iterations=0))
    with pytest.raises(
        errors.InputError, match=r"`num_networks` must be .* at least 1"
    ):
        make(task, num_networks=0)
    with pytest.raises(errors.InputError, match="between 1 and the 2 networks"):
        make(task, num_networks=2, num_active=3)
    with pytest.raises(errors.InputError, match=r"`max_age` must be .* at least 0"):
        make(task, max_age=-1)
