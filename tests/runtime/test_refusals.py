# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A run whose gate refuses everything does not end as if it had learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import errors, runtime
from distill_jax.runtime import refusals

EVERY = runtime.LoggingOptions(log_every=1)


def recipe(loss_of_step):
    """Learns nothing much, with the losses of a table."""
    objective = dj.Objective(
        init=lambda key, synthetic: jnp.int32(0),
        loss=lambda synthetic, key, inner, batch: (
            loss_of_step(inner) + 0.0 * jnp.sum(synthetic.x),
            dj.Aux(),
        ),
        advance=lambda key, inner, synthetic, batch: inner + 1,
    )
    method = dj.transforms.gate_steps(
        dj.distill(objective, decoder=dj.plain_decoder(), optimizer=optax.sgd(0.1))
    )
    return dj.Recipe(
        method=method,
        sampler=lambda key, step, source: source,
        initial_fn=lambda key, data: dj.Examples(x=jnp.zeros((2, 1)), y=jnp.eye(2)),
        source_fn=lambda data: data,
        protocol=None,
    )


def run(losses, **options):
    losses = jnp.asarray(losses)
    given = {"num_steps": len(losses), "key": jax.random.key(0), "logging": EVERY}
    made = recipe(lambda step: losses[step])
    return dj.run(made, jnp.zeros(()), **given | options)


def test_the_share_of_refused_steps_is_logged_and_their_loss_is_not_known(tmp_path):
    losses = [1.0, jnp.inf, 2.0, jnp.nan, 3.0]
    _, history = run(losses, workdir=tmp_path)
    np.testing.assert_array_equal(history.loss, [1, np.nan, 2, np.nan, 3])
    np.testing.assert_allclose(
        history.metrics["refused_share"], [0, 1 / 2, 1 / 3, 2 / 4, 2 / 5]
    )


@pytest.mark.parametrize("num_good", [0, 2, 29])
def test_a_run_that_no_longer_moves_ends_in_a_sentence(num_good, tmp_path):
    losses = [1.0] * num_good + [jnp.nan] * (60 - num_good)
    options = {"workdir": tmp_path, "checkpoint_every": 25}
    for _ in range(2):  # The same command again comes to the same end.
        with pytest.raises(errors.NonFiniteError, match=r"no longer moves: .* refused"):
            run(losses, **options)


def test_a_resumed_run_goes_on_counting(tmp_path):
    losses = [jnp.nan] * 25 + [1.0] + [jnp.nan] * 4 + [1.0] * 30
    options = {"workdir": tmp_path, "checkpoint_every": 20}

    def stop(step, synthetic):
        if step == 40:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        run(losses, evaluation=runtime.EvaluationOptions(stop, 20), **options)
    _, history = run(losses, **options)
    np.testing.assert_allclose(history.metrics["refused_share"][-1], 29 / 60)


def test_most_steps_refused_is_told_at_the_end():
    losses = np.where(np.arange(60) % 4 == 0, 1.0, np.inf)
    with pytest.warns(UserWarning, match="45 of 60 steps were refused, the last 3"):
        run(losses)


def test_the_limit_fits_the_length_of_a_run():
    limits = [refusals.Refusals(n).limit for n in (1, 19, 40, 60, 200, 10_000)]
    assert limits == [1, 19, 20, 30, 100, 100]


@pytest.mark.parametrize(
    ("kind", "initial", "slope", "num_steps", "is_fine"),
    [
        ("log", 1.0, 80.0, 2, False),  # exp(-160) is 0 in float32,
        ("log", 1.0, -80.0, 2, False),  # exp(160) is infinite.
        ("plain", 1.0, 0.3, 4, False),  # Below zero at the end,
        ("plain", 1.0, 0.3, 3, True),  # above it.
        ("plain", 1.0, 0.5, 3, False),  # At 0 it stays on the way.
    ],
)
def test_a_learned_rate_that_no_network_can_use_ends_the_run(
    kind, initial, slope, num_steps, is_fine
):
    name = {"log": "log_learning_rate", "plain": "learning_rate"}[kind]
    decoder = dj.transforms.learn_rate(dj.plain_decoder(), initial, kind=kind)
    rate = lambda synthetic: (
        jnp.log(synthetic.learning_rate) if kind == "log" else synthetic.learning_rate
    )
    objective = dj.Objective(
        init=lambda key, synthetic: {},
        loss=lambda synthetic, key, inner, batch: (slope * rate(synthetic), dj.Aux()),
        advance=lambda key, inner, synthetic, batch: inner,
    )
    optimizer = {"x": optax.sgd(1.0), name: optax.sgd(1.0)}
    made = recipe(lambda step: 0.0)._replace(
        method=dj.distill(objective, decoder=decoder, optimizer=optimizer)
    )
    call = lambda: dj.run(
        made, jnp.zeros(()), num_steps=num_steps, key=jax.random.key(0), logging=EVERY
    )
    if is_fine:
        call()
        return
    with pytest.raises(errors.NonFiniteError, match="learned learning rate is"):
        call()
