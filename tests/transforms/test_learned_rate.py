# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The learned learning rate, and the gate against steps that do harm."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, errors, runtime, transforms
from distill_jax.transforms import composition

KEY = jax.random.key(0)
SEED = base.Examples(x=jnp.zeros((2, 1)), y=jnp.eye(2))


@pytest.mark.parametrize("kind", ["log", "plain"])
def test_the_rate_starts_where_it_should(kind, assert_near):
    decoder = transforms.learn_rate(composition.plain_decoder(), 0.02, kind=kind)
    latent = decoder.init(KEY, SEED)
    assert_near(decoder.decode(latent).learning_rate, 0.02, 1e-6)
    name = "log_learning_rate" if kind == "log" else "learning_rate"
    assert set(latent.learned) == {"x", name}


def test_a_logarithm_moves_by_the_rate_times_the_slope(assert_near, x64):
    decoder = transforms.learn_rate(composition.plain_decoder(), 0.5)
    latent = decoder.init(KEY, SEED)

    def loss(value):
        learned = {**latent.learned, "log_learning_rate": value}
        return 3.0 * decoder.decode(latent._replace(learned=learned)).learning_rate

    slope = jax.grad(loss)(latent.learned["log_learning_rate"])
    assert_near(slope, 1.5, 1e-12)


def test_rates_that_cannot_be_are_refused():
    plain = composition.plain_decoder()
    with pytest.raises(errors.InputError, match="positive"):
        transforms.learn_rate(plain, 0.0)
    with pytest.raises(errors.InputError, match='no kind "logs"'):
        transforms.learn_rate(plain, 0.1, kind="logs")


def climbing(loss):
    """A method that adds 1 to what is learned, with a loss that depends on the step."""
    objective = base.Objective(
        init=lambda key, synthetic: jnp.zeros((), jnp.int32),
        loss=lambda synthetic, key, inner, batch: (
            loss(inner)
            - jnp.sum(synthetic.x)
            + jax.lax.stop_gradient(synthetic.x.sum()),
            base.Aux(metrics={"seen": inner.astype(float)}),
        ),
        advance=lambda key, inner, synthetic, batch: inner + 1,
        read=lambda synthetic, inner: synthetic,
    )
    return dj.distill(
        objective,
        decoder=composition.plain_decoder(),
        optimizer=optax.sgd(1.0, momentum=0.5),
    )


def run(method, num_steps):
    run = runtime.scan_steps(method, lambda key, step, source: source, num_steps=9)
    return run(KEY, method.init(KEY, SEED), jnp.zeros(()), num_steps)


def test_a_step_with_a_large_loss_leaves_everything_learned_as_it_was():
    losses = jnp.array([0.5, 1.5, jnp.nan, 0.9])
    gated = transforms.gate_steps(climbing(lambda step: losses[step]), 1.0)
    state, infos = run(gated, 4)
    assert infos.metrics["is_refused"][:4].tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(infos.loss[:4], [0.5, 1.5, 1.0, 0.9], rtol=1e-6)
    assert infos.metrics["seen"][:4].tolist() == [0, 1, 2, 3]
    # Two steps with momentum, as if the refused ones had not been.
    free, _ = run(climbing(lambda step: 0.5), 2)
    np.testing.assert_allclose(state.latent.learned["x"], free.latent.learned["x"])
    jax.tree.map(np.testing.assert_allclose, state.opt, free.opt)
    assert int(state.step) == 4


def test_without_a_threshold_only_what_is_not_finite_is_refused():
    losses = jnp.array([1e9, jnp.inf])
    gated = transforms.gate_steps(climbing(lambda step: losses[step]))
    state, infos = run(gated, 2)
    assert infos.metrics["is_refused"][:2].tolist() == [0, 1]
    assert bool(jnp.isfinite(infos.loss[:2]).all())
    assert state.latent.learned["x"].ravel().tolist() == [1.0, 1.0]


def test_pictures_that_are_no_longer_finite_are_refused():
    gated = transforms.gate_steps(climbing(lambda step: jnp.zeros(())))
    state = gated.init(KEY, SEED)
    learned = {"x": jnp.full((2, 1), jnp.inf)}
    broken = state._replace(latent=state.latent._replace(learned=learned))
    _, info = gated.step(KEY, broken, None)
    assert float(info.metrics["is_refused"]) == 1.0


def test_a_threshold_must_be_positive():
    with pytest.raises(errors.InputError, match="positive"):
        transforms.gate_steps(climbing(lambda step: 0.0), 0.0)
