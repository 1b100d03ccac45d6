# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Decoder and objective transforms by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base, errors, transforms
from distill_jax.augmentation import policies
from distill_jax.transforms import composition, factorised

KEY = jax.random.key(0)


def seed(num_per_class=4, size=6):
    rows = 2 * num_per_class
    x = jax.random.normal(jax.random.key(1), (rows, size, size, 3))
    return base.Examples(x=x, y=jnp.repeat(jnp.eye(2), num_per_class, axis=0))


def test_learned_logits_decode_to_probabilities_that_start_near_the_seed():
    decoder = transforms.learn_labels(composition.plain_decoder(), kind="logits")
    latent = decoder.init(KEY, seed())
    assert sorted(latent.learned) == ["x", "y_logits"]
    y = decoder.decode(latent).y
    np.testing.assert_allclose(y.sum(-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(y, seed().y, atol=1e-4)


def test_centred_labels_sum_to_zero_and_are_scaled_by_the_number_of_classes():
    decoder = transforms.learn_labels(composition.plain_decoder(), kind="centred")
    seed_of_forty = base.Examples(x=jnp.zeros((40, 1)), y=jnp.eye(40))
    centred = decoder.init(KEY, seed_of_forty).learned["y"]
    np.testing.assert_allclose(centred.sum(-1), 0.0, atol=1e-6)
    np.testing.assert_allclose(centred[3, 3], (1 - 1 / 40) / 2.0, rtol=1e-6)


def test_learned_probabilities_are_the_labels_as_they_stand():
    decoder = transforms.learn_labels(composition.plain_decoder(), kind="probabilities")
    latent = decoder.init(KEY, seed())
    np.testing.assert_array_equal(latent.learned["y"], seed().y)
    np.testing.assert_array_equal(decoder.decode(latent).y, seed().y)


def test_an_unknown_kind_of_labels_is_refused():
    with pytest.raises(errors.InputError, match='Did you mean "logits"'):
        transforms.learn_labels(composition.plain_decoder(), kind="logit")


@pytest.mark.parametrize(("factor", "size"), [(2, 6), (2, 7), (3, 9), (3, 8)])
def test_factorised_pictures_keep_the_size_and_the_order_of_examples(factor, size):
    num = factor**2
    constant = jnp.arange(2.0 * num).reshape(-1, 1, 1, 1) * jnp.ones((1, size, size, 1))
    examples = base.Examples(constant, jnp.repeat(jnp.eye(2), num, axis=0))
    decoder = transforms.factorise(composition.plain_decoder(), factor=factor)
    latent = decoder.init(KEY, examples)
    assert latent.learned["x"].shape == (2, size, size, 1)
    decoded = decoder.decode(latent)
    assert decoded.x.shape == constant.shape
    # Top left pixels lie inside a tile whatever the rounding.
    np.testing.assert_allclose(decoded.x[:, 0, 0, 0], np.arange(2.0 * num), atol=1e-5)
    np.testing.assert_array_equal(decoded.y, examples.y)


def test_unpack_enlarges_bilinearly():
    picture = jnp.arange(16.0).reshape(1, 4, 4, 1)
    tiles = factorised.unpack(picture, 2)
    expected = jax.image.resize(picture[:, :2, 2:], (1, 4, 4, 1), "bilinear")
    np.testing.assert_allclose(tiles[1:2], expected, rtol=1e-6)


def test_factorised_refuses_rows_that_do_not_fill_a_picture():
    decoder = transforms.factorise(composition.plain_decoder(), factor=2)
    with pytest.raises(errors.InputError, match="use a multiple of 4"):
        decoder.init(KEY, seed(num_per_class=3))


def test_factorised_refuses_what_is_no_picture():
    decoder = transforms.factorise(composition.plain_decoder(), factor=2)
    flat = base.Examples(jnp.ones((8, 5)), jnp.repeat(jnp.eye(2), 4, axis=0))
    with pytest.raises(errors.InputError, match="pictures"):
        decoder.init(KEY, flat)


def test_factorised_composes_with_learned_labels():
    decoder = transforms.learn_labels(
        transforms.factorise(composition.plain_decoder(), factor=2), kind="centred"
    )
    latent = decoder.init(KEY, seed(num_per_class=4))
    assert latent.learned["x"].shape[0] == 2
    assert latent.learned["y"].shape == (8, 2)
    assert decoder.decode(latent).x.shape == seed().x.shape


def record():
    """An objective that hands back what it is given."""
    return base.Objective(
        init=lambda key, synthetic: {},
        loss=lambda synthetic, key, inner, batch: (
            jnp.sum(synthetic.x),
            base.Aux(probes={"syn": synthetic.x, "real": batch.x}),
        ),
        advance=lambda key, inner, synthetic, batch: synthetic.x,
        read=lambda synthetic, inner: synthetic,
    )


def test_siamese_bends_real_and_synthetic_examples_of_a_class_alike():
    picture = jax.random.normal(KEY, (1, 8, 8, 3))
    synthetic = base.Synthetic(jnp.repeat(picture, 4, 0), jnp.repeat(jnp.eye(2), 2, 0))
    real = jnp.repeat(picture, 6, 0).reshape(2, 3, 8, 8, 3)
    batch = base.Examples(real, jnp.ones((2, 3, 2)))
    objective = transforms.siamese(record(), policies.dsa_policy("crop_rotate_color"))
    _, aux = objective.loss(synthetic, jax.random.key(5), {}, batch)
    syn, real = aux.probes["syn"].reshape(2, 2, 8, 8, 3), aux.probes["real"]
    for number in range(2):
        for bent in (*syn[number], *real[number]):
            np.testing.assert_allclose(bent, syn[number, 0], atol=1e-6)
    assert float(jnp.abs(syn[0, 0] - picture[0]).max()) > 0.01
    assert float(jnp.abs(syn[0] - syn[1]).max()) > 1e-3  # A draw for each class.


def test_siamese_leaves_the_advance_alone():
    synthetic = base.Synthetic(jnp.ones((2, 8, 8, 3)), jnp.eye(2))
    objective = transforms.siamese(record(), policies.dsa_policy("color"))
    assert objective.advance(KEY, {}, synthetic, None) is synthetic.x


def test_the_policy_given_to_siamese_is_not_changed():
    policy = policies.dsa_policy("crop_flip")
    before = dataclasses.asdict(policy)
    transforms.siamese(record(), policy)
    assert dataclasses.asdict(policy) == before


def test_siamese_augments_the_matched_part_of_a_pair_and_leaves_the_other():
    seen = {}

    def loss(synthetic, key, inner, batch):
        seen["batch"] = batch
        return jnp.zeros(()), base.Aux()

    objective = base.Objective(lambda *a: {}, loss, lambda *a: {}, lambda s, i: s)
    examples = base.Examples(jnp.ones((2, 3, 6, 6, 1)), jnp.ones((2, 3, 2)))
    train = base.Examples(jnp.ones((5, 6, 6, 1)), jnp.ones((5, 2)))
    bent = transforms.siamese(objective, policies.dsa_policy("cutout"))
    synthetic = base.Synthetic(jnp.ones((2, 6, 6, 1)), jnp.eye(2))
    bent.loss(synthetic, KEY, {}, base.Pair(examples, train))
    assert float(seen["batch"].match.x.min()) == 0
    assert float(seen["batch"].train.x.min()) == 1


@pytest.mark.parametrize(("low", "high"), [([1.0], [1.0]), ([0.0, 2.0], [1.0, 1.0])])
def test_bounds_that_leave_no_room_are_refused(low, high):
    method = base.Method(lambda *a: None, lambda *a: None, lambda s: s)
    with pytest.raises(errors.InputError, match="must be below the highest"):
        transforms.clip_pixels(method, low, high)
