# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The moving average in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, errors, runtime, transforms
from distill_jax.transforms import composition

KEY = jax.random.key(0)
SEED = base.Examples(x=jnp.ones((2, 3)), y=jnp.eye(2))


def constant_gradient(slope, decoder=None):
    """A method whose pictures fall by `slope` in every step, with a step counter."""
    objective = base.Objective(
        init=lambda key, synthetic: jnp.zeros((), jnp.int32),
        loss=lambda synthetic, key, inner, batch: (
            slope * (jnp.sum(synthetic.x) + jnp.sum(synthetic.y)),
            base.Aux(),
        ),
        advance=lambda key, inner, synthetic, batch: inner + 1,
        # What is read depends on the inner state, so that a lost one shows.
        read=lambda synthetic, inner: synthetic._replace(
            weight=jnp.full(2, inner, jnp.float32)
        ),
    )
    decoder = decoder or composition.plain_decoder()
    return dj.distill(objective, decoder=decoder, optimizer=optax.sgd(1.0))


def after(method, num_steps):
    state = method.init(KEY, SEED)
    for _ in range(num_steps):
        state, _ = method.step(KEY, state, None)
    return state


def test_pictures_that_do_not_move_stay():
    method = transforms.moving_average(constant_gradient(0.0), 0.9)
    np.testing.assert_array_equal(method.read(after(method, 3)).x, SEED.x)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_of_pictures_that_jump_once_is_one_less_decay_to_the_k(decay):
    # A step of 1 in the first of k steps, then nothing more.
    method = transforms.moving_average(constant_gradient(1.0), decay)
    state = after(method, 1)
    still = transforms.moving_average(constant_gradient(0.0), decay)
    for k in range(1, 6):
        moved = SEED.x - method.read(state).x
        np.testing.assert_allclose(moved, 1 - decay**k, rtol=1e-5)
        np.testing.assert_allclose(state.latent.learned["x"], SEED.x - 1.0)
        state, _ = still.step(KEY, state, None)


def test_the_average_follows_the_recursion_for_pictures_that_move_steadily():
    method = transforms.moving_average(constant_gradient(0.5), 0.8)
    average, learned = 1.0, 1.0
    for _ in range(4):
        learned -= 0.5
        average = 0.8 * average + 0.2 * learned
    synthetic = method.read(after(method, 4))
    np.testing.assert_allclose(synthetic.x, average, rtol=1e-6)
    # The method's own inner state is what it is without the average.
    np.testing.assert_array_equal(synthetic.weight, [4.0, 4.0])


def test_only_what_is_named_is_averaged():
    decoder = transforms.learn_labels(composition.plain_decoder(), kind="probabilities")
    plain = constant_gradient(1.0, decoder)
    method = transforms.moving_average(plain, 0.9, names=["x"])
    synthetic = method.read(after(method, 1))
    np.testing.assert_allclose(synthetic.x, 1.0 - 0.1, rtol=1e-6)
    np.testing.assert_allclose(synthetic.y, SEED.y - 1.0)
    everything = transforms.moving_average(plain, 0.9)
    averaged = everything.read(after(everything, 1))
    np.testing.assert_allclose(averaged.y, SEED.y - 0.1, rtol=1e-6)


def test_a_loop_may_donate_the_state():
    method = transforms.moving_average(constant_gradient(1.0), 0.9)
    run = runtime.scan_steps(method, lambda key, step, source: None, num_steps=2)
    state, _ = run(KEY, jax.jit(method.init)(KEY, SEED), None)
    np.testing.assert_allclose(method.read(state).x, 1.0 - 0.1 - 0.19, rtol=1e-6)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_its_range_is_refused(decay):
    with pytest.raises(errors.InputError, match="at least 0 and below 1, got"):
        transforms.moving_average(constant_gradient(0.0), decay)


def test_a_name_that_is_not_learned_is_refused():
    method = transforms.moving_average(constant_gradient(0.0), 0.9, names=["z"])
    with pytest.raises(errors.InputError, match='does not learn "z"'):
        method.init(KEY, SEED)
