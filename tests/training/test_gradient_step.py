# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One step of training, and derivatives of it, some examples at a time."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from distill_jax import base, nets, tasks
from distill_jax.compute import blocks, cost
from distill_jax.inner import unroll
from distill_jax.training import gradient_step, sharpness


def picture_task(**options):
    spec = types.SimpleNamespace(
        name="toy", shape=(8, 8, 1), num_classes=3, normalizer=None
    )
    net = nets.convnet(3, **{"width": 4, "depth": 1, **options})
    return tasks.classification(net, spec)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("has_weight", [False, True])
@pytest.mark.parametrize("flat", [None, sharpness.Sharpness(radius=0.1)])
def test_a_step_does_not_depend_on_the_blocks(monkeypatch, has_weight, flat):
    task, rng = picture_task(), np.random.default_rng(0)
    variables = task.init(jax.random.key(0), task.sample_context(jax.random.key(0)))
    variables = jax.tree.map(lambda leaf: leaf.astype(float), variables)
    x, y = rng.normal(size=(21, 8, 8, 1)), np.eye(3)[np.arange(21) % 3]
    weight = jnp.asarray(rng.integers(0, 3, 21), float) if has_weight else None
    batch = base.Examples(jnp.asarray(x), jnp.asarray(y), weight)
    sgd = optax.sgd(0.1)

    def step(size):
        monkeypatch.setattr(blocks, "fitting_size", lambda fn, examples: size)
        after, _ = gradient_step.descend(
            jax.random.key(1),
            variables,
            sgd.init(variables.params),
            task,
            batch,
            optimizer=sgd,
            sharpness=flat,
        )
        return after.params

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
        step(21),
        step(8),
    )


def test_batch_norm_sees_the_whole_batch(monkeypatch):
    task = picture_task(norm="batch")
    variables = task.init(jax.random.key(0), task.sample_context(jax.random.key(0)))
    monkeypatch.setattr(blocks, "fitting_size", lambda fn, examples: 2)
    monkeypatch.setattr(blocks, "batch_sum", None)
    batch = base.Examples(jnp.ones((6, 8, 8, 1)), jnp.eye(3)[jnp.arange(6) % 3])
    sgd = optax.sgd(0.1)
    gradient_step.descend(
        jax.random.key(1),
        variables,
        sgd.init(variables.params),
        task,
        batch,
        optimizer=sgd,
    )


def end_of_students(task, x, start, remat):
    """A number that depends on where a student of 21 pictures ends."""
    synthetic = base.Synthetic(x, jnp.eye(3)[jnp.arange(21) % 3])
    end, _ = unroll.train_student(
        jax.random.key(1),
        base.Variables(start, {}),
        task,
        synthetic,
        optimizer=optax.sgd(0.1, momentum=0.5),
        num_steps=3,
        derivative=unroll.Derivative(remat=remat),
    )
    return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(end.params))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("remat", ["step", "sqrt"])
def test_derivatives_of_training_do_not_depend_on_the_blocks(monkeypatch, remat):
    task, rng = picture_task(activation="softplus"), np.random.default_rng(0)
    start = task.init(jax.random.key(0), task.sample_context(jax.random.key(0))).params
    start = jax.tree.map(lambda leaf: leaf.astype(float), start)
    x = jnp.asarray(rng.normal(size=(21, 8, 8, 1)))

    def slopes(size, remat):
        monkeypatch.setattr(blocks, "fitting_size", lambda fn, examples: size)
        fn = lambda x, start: end_of_students(task, x, start, remat)
        return jax.jit(jax.grad(fn, (0, 1)))(x, start)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11),
        slopes(21, "none"),
        slopes(8, remat),
    )


def test_a_backward_pass_takes_each_gradient_once_more(monkeypatch):
    monkeypatch.setattr(blocks, "fitting_size", lambda fn, examples: 7)
    task = picture_task(depth=2)
    start = task.init(jax.random.key(0), task.sample_context(jax.random.key(0))).params
    x = jnp.ones((21, 8, 8, 1))

    def work(fn):
        return cost.multiplications(jax.make_jaxpr(fn)(x)).total

    kept, again = (
        work(jax.grad(lambda x, r=r: end_of_students(task, x, start, r)))
        for r in ("none", "step")
    )
    forward = work(lambda x: end_of_students(task, x, start, "none"))
    assert kept < again <= 1.05 * (kept + forward)
