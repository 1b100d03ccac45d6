# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""KIP: what its options mean, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import errors, evaluation, methods


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


@pytest.fixture(scope="module")
def task(digits):
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)


def batch_of(recipe, digits):
    sampler = jax.jit(recipe.sampler)
    return sampler(jax.random.key(0), jnp.zeros(()), recipe.source_fn(digits))


def test_the_batch_is_capped_to_the_data_without_empty_rows(task, digits):
    recipe = methods.kip(task, num_per_class=1, num_steps=1)
    batch = batch_of(recipe, digits)
    assert batch.weight.tolist() == [1.0] * len(digits.train.y)
    assert sorted(batch.index.tolist()) == list(range(len(digits.train.y)))
    small = methods.kip(task, num_per_class=1, num_steps=1, batch_size=32)
    assert batch_of(small, digits).y.shape == (32, 10)


@pytest.mark.parametrize("use_learned_labels", [False, True])
def test_labels_start_centred_and_move_if_asked_for(task, digits, use_learned_labels):
    recipe = methods.kip(
        task,
        num_per_class=2,
        num_steps=5,
        batch_size=64,
        use_learned_labels=use_learned_labels,
    )
    seed = recipe.initial_fn(jax.random.key(0), digits)
    state = recipe.method.init(jax.random.key(1), seed)
    start = recipe.method.read(state)
    np.testing.assert_allclose(start.y, np.repeat(np.eye(10), 2, axis=0) - 0.1)
    assert sorted(state.latent.learned) == ["x", "y"][: 1 + use_learned_labels]
    step = jax.jit(recipe.method.step)
    state, _ = step(jax.random.key(2), state, batch_of(recipe, digits))
    after = recipe.method.read(state)
    assert bool(jnp.abs(after.y - start.y).max() > 0) == use_learned_labels
    assert recipe.protocol.targets == "centred"


def test_one_step_is_adam_down_the_gradient_of_the_objective(task, digits):
    recipe = methods.kip(task, num_per_class=1, num_steps=9, ridge=1e-2, batch_size=64)
    state = recipe.method.init(
        jax.random.key(0), recipe.initial_fn(jax.random.key(1), digits)
    )
    batch, start = batch_of(recipe, digits), recipe.method.read(state)
    objective = dj.objectives.kernel_inducing_points(ridge=1e-2)

    def loss(x):
        return objective.loss(start._replace(x=x), jax.random.key(0), {}, batch)[0]

    adam = optax.adam(4e-2)
    value, grad = jax.jit(jax.value_and_grad(loss))(start.x)
    updates, _ = adam.update(grad, adam.init(start.x))
    state, info = jax.jit(recipe.method.step)(jax.random.key(2), state, batch)
    np.testing.assert_allclose(info.loss, value, rtol=1e-5)
    moved = recipe.method.read(state).x - start.x
    np.testing.assert_allclose(moved, updates, atol=1e-4)


def test_the_rate_decays_where_asked_for(task, digits):
    def last_move(final_rate):
        recipe = methods.kip(
            task, num_per_class=1, num_steps=4, batch_size=32, final_rate=final_rate
        )
        state = recipe.method.init(
            jax.random.key(0), recipe.initial_fn(jax.random.key(1), digits)
        )
        step, batch = jax.jit(recipe.method.step), batch_of(recipe, digits)
        for number in range(5):
            before = recipe.method.read(state).x
            state, _ = step(jax.random.key(number), state, batch)
        return float(jnp.abs(recipe.method.read(state).x - before).max())

    assert last_move(0.0) == 0.0
    assert last_move(1.0) > 1e-3


def test_kip_beats_random_pictures_under_the_kernel_by_ten_points(task, digits):
    recipe = methods.kip(task, num_per_class=1, num_steps=60, use_learned_labels=True)
    state, history = dj.run(
        recipe,
        digits,
        num_steps=60,
        key=jax.random.key(0),
        logging=dj.runtime.LoggingOptions(log_every=1),
    )
    assert history.loss[-1] < 0.6 * history.loss[0]
    accuracy = evaluation.kernel_ridge_accuracy(
        recipe.method.read(state), digits, split="validation"
    )
    seed = recipe.initial_fn(jax.random.key(3), digits)
    random = evaluation.kernel_ridge_accuracy(
        dj.Synthetic(seed.x, seed.y - 0.1), digits, split="validation"
    )
    assert accuracy > random + 0.1
    assert accuracy > 0.88


def test_what_cannot_work_is_refused_in_a_sentence(task):
    for name in ("learning_rate", "label_learning_rate", "num_steps", "batch_size"):
        options = {"num_steps": 1, name: 0}
        with pytest.raises(errors.InputError, match=f"`{name}` must be positive"):
            methods.kip(task, num_per_class=1, **options)
    with pytest.raises(errors.InputError, match="`ridge` must be positive"):
        methods.kip(task, num_per_class=1, num_steps=1, ridge=0.0)
    with pytest.raises(errors.InputError, match="`final_rate` is a share"):
        methods.kip(task, num_per_class=1, num_steps=1, final_rate=1.5)
