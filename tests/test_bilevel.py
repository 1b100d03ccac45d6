# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The outer loop on a world whose answers are computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from distill_jax import base, bilevel
from distill_jax.transforms import composition


def quadratic() -> base.Objective:
    """loss = 1/2 |x - target|^2, inner counts what it has seen."""

    def advance(key, inner, synthetic, batch):
        return inner + jnp.sum(synthetic.x)

    return base.Objective(
        init=lambda key, synthetic: jnp.zeros(()),
        loss=lambda synthetic, key, inner, batch: (
            0.5 * jnp.sum((synthetic.x - batch.x) ** 2),
            base.Aux(metrics={"inner": inner}),
        ),
        advance=advance,
        read=lambda synthetic, inner: synthetic._replace(learning_rate=inner),
    )


SEED = base.Examples(x=jnp.zeros((2, 3)), y=jnp.eye(2))
REAL = base.Examples(x=jnp.full((2, 3), 4.0), y=jnp.eye(2))


def make(optimizer):
    return bilevel.distill(
        quadratic(), decoder=composition.plain_decoder(), optimizer=optimizer
    )


def test_one_step_is_one_gradient_step_and_advance_sees_the_updated_set():
    method = make(optax.sgd(0.25))
    state = method.init(jax.random.key(0), SEED)
    state, info = method.step(jax.random.key(1), state, REAL)
    # gradient = 0 - 4, so x = 1 everywhere; six entries of 1 reach `advance`.
    np.testing.assert_array_equal(state.latent.learned["x"], np.ones((2, 3)))
    assert float(info.loss) == 0.5 * 6 * 16
    assert float(state.inner) == 6.0
    assert float(info.metrics["inner"]) == 0.0
    assert int(state.step) == 1
    assert float(method.read(state).learning_rate) == 6.0


def test_optimisers_are_given_per_key_of_what_is_learned():
    plain = composition.plain_decoder()

    def init(key, seed):
        latent = plain.init(key, seed)
        return base.Latent({**latent.learned, "y": latent.fixed["y"]}, {})

    decoder = base.Decoder(init, plain.decode)
    objective = quadratic()._replace(
        loss=lambda s, key, inner, batch: (jnp.sum(s.x) + jnp.sum(s.y), base.Aux())
    )
    method = bilevel.distill(
        objective, decoder=decoder, optimizer={"x": optax.sgd(1.0), "y": optax.sgd(0.1)}
    )
    state = method.init(jax.random.key(0), SEED)
    state, _ = method.step(jax.random.key(1), state, REAL)
    np.testing.assert_allclose(state.latent.learned["x"], -np.ones((2, 3)))
    np.testing.assert_allclose(state.latent.learned["y"], np.eye(2) - 0.1, rtol=1e-6)


def test_an_optimiser_for_something_not_learned_is_refused():
    method = make({"x": optax.sgd(1.0), "y": optax.sgd(1.0)})
    with pytest.raises(ValueError, match="one optimiser for each learned key"):
        method.init(jax.random.key(0), SEED)


def test_a_seed_that_is_not_class_major_is_refused():
    seed = SEED._replace(x=jnp.zeros((4, 3)), y=jnp.eye(2)[jnp.array([0, 1, 0, 1])])
    with pytest.raises(ValueError, match="not class-major"):
        make(optax.sgd(1.0)).init(jax.random.key(0), seed)


def test_a_seed_with_uneven_classes_is_refused():
    seed = SEED._replace(x=jnp.zeros((3, 3)), y=jnp.eye(2)[jnp.array([0, 0, 1])])
    with pytest.raises(ValueError, match="same number of rows for every class"):
        make(optax.sgd(1.0)).init(jax.random.key(0), seed)


def test_the_class_of_a_row_is_its_group_and_not_the_argmax_of_its_label():
    taken_for = jnp.array([[0.4, 0.6], [0.1, 0.9]])  # An expert errs on the first.
    x, groups = jnp.zeros((2, 3)), jnp.arange(2)
    bilevel.check_class_major(base.Examples(x, taken_for, group=groups))
    with pytest.raises(ValueError, match="not class-major"):
        bilevel.check_class_major(base.Examples(x, taken_for, group=groups[::-1]))
    three = jnp.array([0, 0, 1])
    with pytest.raises(ValueError, match="3 rows for 2 classes"):
        bilevel.check_class_major(base.Examples(jnp.zeros((3, 3)), None, group=three))


@pytest.mark.parametrize(
    "y", [jnp.array([[3.0, 1.5], [0.2, 0.1], [0.3, 7.0]]), jnp.array([[0.4, 0.6]])]
)
def test_values_and_soft_labels_name_no_class(y):
    bilevel.check_class_major(base.Examples(jnp.zeros((len(y), 3)), y))


@pytest.mark.parametrize("write", [lambda y: y - 0.5, lambda y: 0.8 * y + 0.1])
def test_hard_labels_name_classes_however_they_are_written(write):
    ordered = write(jnp.eye(2).repeat(2, axis=0))
    bilevel.check_class_major(base.Examples(jnp.zeros((4, 3)), ordered))
    with pytest.raises(ValueError, match="not class-major"):
        bilevel.check_class_major(base.Examples(jnp.zeros((4, 3)), ordered[::-1]))


def test_loss_and_advance_get_different_halves_of_the_key():
    draw = lambda key: jax.random.uniform(key)
    objective = quadratic()._replace(
        loss=lambda s, key, inner, batch: (
            jnp.sum(s.x) * 0.0,
            base.Aux(metrics={"drawn": draw(key)}),
        ),
        advance=lambda key, inner, s, batch: draw(key),
    )
    method = bilevel.distill(
        objective, decoder=composition.plain_decoder(), optimizer=optax.sgd(1.0)
    )
    state = method.init(jax.random.key(0), SEED)
    state, info = method.step(jax.random.key(1), state, REAL)
    key_loss, key_advance = jax.random.split(jax.random.key(1))
    assert float(info.metrics["drawn"]) == float(draw(key_loss))
    assert float(state.inner) == float(draw(key_advance))


def test_composition_applies_the_last_transform_first():
    plus, times = (lambda x: x + 1), (lambda x: 3 * x)
    assert composition.compose(plus, times)(2) == 7
    assert composition.compose()(2) == 2
