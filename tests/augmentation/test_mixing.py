# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""MixUp and CutMix: pictures and labels are joined in the same shares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from distill_jax import base, errors
from distill_jax.augmentation import mixing

SHAPE = (6, 8, 2)


def _draw(kind, num_examples=5, seed=0, **options):
    return mixing.sample_mixing(
        jax.random.key(seed), kind, num_examples=num_examples, shape=SHAPE, **options
    )


def _examples(num_examples=5):
    x = jax.random.normal(jax.random.key(7), (num_examples, *SHAPE))
    return base.Examples(x, jnp.eye(num_examples))


def test_mixup_mixes_pictures_and_labels_linearly():
    params, examples = _draw("mixup"), _examples()
    mixed = mixing.mix(params, examples)
    lam, perm = float(params.share), np.asarray(params.permutation)
    x, y = np.asarray(examples.x), np.asarray(examples.y)
    np.testing.assert_allclose(mixed.x, lam * x + (1 - lam) * x[perm], atol=1e-6)
    np.testing.assert_allclose(mixed.y, lam * y + (1 - lam) * y[perm], atol=1e-6)
    np.testing.assert_array_equal(np.sort(perm), np.arange(5))


def test_cutmix_counts_the_pixels_it_replaces():
    for seed in range(5):
        params, examples = _draw("cutmix", seed=seed), _examples()
        mixed = mixing.mix(params, examples)
        x = np.asarray(examples.x)
        partner = x[np.asarray(params.permutation)]
        replaced = np.asarray(mixed.x == partner).all(-1)
        kept = np.asarray(mixed.x == x).all(-1)
        moved = np.asarray(params.permutation) != np.arange(5)
        assert (replaced | kept).all()
        share = 1 - replaced[moved].mean((1, 2))
        np.testing.assert_allclose(share, float(params.share), atol=1e-6)
        np.testing.assert_allclose(mixed.y.sum(1), 1, atol=1e-6)


def test_cutmix_replaces_one_rectangle_of_the_drawn_area():
    keys = jax.random.split(jax.random.key(0), 500)
    draw = lambda key: mixing.sample_mixing(
        key, "cutmix", num_examples=2, shape=(32, 32, 1)
    )
    params = jax.jit(jax.vmap(draw))(keys)
    mask = np.asarray(params.mask)
    rows, columns = mask.any(2).sum(1), mask.any(1).sum(1)
    np.testing.assert_array_equal(mask.sum((1, 2)), rows * columns)
    # A clipped rectangle is smaller than the u of its sides sqrt(u), never larger.
    assert 0.5 < float(params.share.mean()) < 0.8


def test_the_share_of_mixup_follows_a_beta_distribution():
    keys = jax.random.split(jax.random.key(1), 1000)
    draw = lambda key: mixing.sample_mixing(
        key, "mixup", num_examples=2, shape=SHAPE, concentration=0.4
    )
    shares = np.asarray(jax.jit(jax.vmap(draw))(keys).share)
    assert scipy.stats.kstest(shares, scipy.stats.beta(0.4, 0.4).cdf).pvalue > 0.01


def test_a_filled_up_row_brings_in_no_label():
    weight = jnp.array([1.0, 1.0, 0.0])
    examples = _examples(3)._replace(weight=weight)
    params = mixing.Mixing(jnp.array([1, 2, 0]), jnp.array(0.75), None)
    mixed = mixing.mix(params, examples)
    np.testing.assert_allclose(mixed.weight, [1.0, 0.75, 0.25])
    expected = [[0.75, 0.25, 0], [0, 1, 0], [1, 0, 0]]
    np.testing.assert_allclose(mixed.y, expected, atol=1e-6)
    assert float(mixed.weight.sum()) == float(weight.sum())


def test_targets_of_a_teacher_are_mixed_by_the_same_draw():
    params, targets = _draw("cutmix"), jax.random.uniform(jax.random.key(1), (5, 3))
    lam, perm = params.share, params.permutation
    expected = lam * targets + (1 - lam) * targets[perm]
    np.testing.assert_allclose(mixing.mix_labels(params, targets), expected, atol=1e-6)


def test_no_mixing_is_the_identity():
    params, examples = _draw("none"), _examples()
    assert mixing.mix(params, examples) is examples
    assert mixing.mix_labels(params, examples.y) is examples.y


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_runs_under_jit_and_vmap_and_has_gradients(kind):
    examples = _examples()

    def loss_fn(x, key):
        params = mixing.sample_mixing(key, kind, num_examples=5, shape=SHAPE)
        return mixing.mix(params, examples._replace(x=x)).x.sum()

    keys = jax.random.split(jax.random.key(0), 3)
    grads = jax.jit(jax.vmap(jax.grad(loss_fn), (None, 0)))(examples.x, keys)
    # Shares sum to one over the batch.
    np.testing.assert_allclose(grads.sum(1), 5, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("mixupp", {}, r'no mixing "mixupp".*"mixup"'),
        ("mixup", {"concentration": 0.0}, r"above 0, got 0.0"),
        ("cutmix", {"shape": (64,)}, r"shape \(64,\); use \"mixup\""),
    ],
)
def test_what_cannot_work_is_refused(kind, options, sentence):
    options = {"num_examples": 2, "shape": SHAPE} | options
    with pytest.raises(errors.InputError, match=sentence):
        mixing.sample_mixing(jax.random.key(0), kind, **options)
