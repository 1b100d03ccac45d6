# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Policies: what is drawn how often, what is shared, what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from distill_jax import errors
from distill_jax.augmentation import drawing, policies

FULL = "color_crop_cutout_flip_scale_rotate"
EVERY = "brightness_saturation_contrast_translate_noise_rrc"
SHAPE = (10, 12, 3)


def _draw(policy, num_examples=5, shape=SHAPE, seed=0):
    return drawing.sample_augmentation(
        jax.random.key(seed), policy, num_examples=num_examples, shape=shape
    )


def _pictures(num_examples=5, shape=SHAPE):
    return jax.random.normal(jax.random.key(9), (num_examples, *shape))


def test_each_operation_is_drawn_equally_often():
    policy = policies.dsa_policy(FULL)
    keys = jax.random.split(jax.random.key(3), 3000)
    draw = functools.partial(
        drawing.sample_augmentation, policy=policy, num_examples=1, shape=(8, 8, 1)
    )
    counts = np.bincount(jax.jit(jax.vmap(draw))(keys).choice, minlength=6)
    assert len(counts) == 6
    assert scipy.stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(
    ("name", "field", "low", "high"),
    [
        ("brightness", "offset", -0.5, 0.5),
        ("saturation", "factor", 0.0, 2.0),
        ("contrast", "factor", 0.5, 1.5),
        ("scale", "scale_x", 1 / 1.2, 1.2),
        ("scale", "scale_y", 1 / 1.2, 1.2),
        ("rotate", "angle", -np.pi / 12, np.pi / 12),
    ],
)
def test_continuous_parameters_are_uniform_in_their_range(name, field, low, high):
    draws = np.asarray(_draw(policies.dsa_policy(name), 2000).draws[0][field])
    uniform = scipy.stats.uniform(low, high - low)
    assert scipy.stats.kstest(draws, uniform.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("name", "field", "shape", "values"),
    [
        ("crop", "rows", (28, 32, 1), range(-4, 5)),
        ("crop", "columns", (28, 64, 1), range(-8, 9)),
        ("cutout", "centre_rows", (28, 32, 1), range(29)),  # An even side of 14.
        ("cutout", "centre_columns", (28, 9, 1), range(9)),  # An odd side of 5.
        ("flip", "flipped", (8, 8, 1), range(2)),
    ],
)
def test_whole_parameters_are_uniform_on_their_values(name, field, shape, values):
    draws = np.asarray(_draw(policies.dsa_policy(name), 3000, shape).draws[0][field])
    found, counts = np.unique(draws, return_counts=True)
    assert found.tolist() == list(values)
    assert scipy.stats.chisquare(counts).pvalue > 0.01


def test_scales_of_the_two_axes_are_independent():
    draws = _draw(policies.dsa_policy("scale"), 2000).draws[0]
    correlation = np.corrcoef(draws["scale_x"], draws["scale_y"])[0, 1]
    assert abs(correlation) < 0.06


def test_color_is_brightness_then_saturation_then_contrast():
    params, x = _draw(policies.dsa_policy("color")), np.asarray(_pictures())
    draws = {
        name: np.asarray(value).reshape(-1, 1, 1, 1)
        for name, value in params.draws[0].items()
    }
    y = x + draws["offset"]
    mean = y.mean(3, keepdims=True)
    y = (y - mean) * draws["saturation"] + mean
    mean = y.mean((1, 2, 3), keepdims=True)
    y = (y - mean) * draws["contrast"] + mean
    np.testing.assert_allclose(drawing.augment(params, x), y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", f"{FULL}_{EVERY}".split("_"))
def test_siamese_draws_bend_all_pictures_of_all_batches_alike(name):
    policy = policies.share(policies.dsa_policy(name))
    params = _draw(policy)
    picture = _pictures(1)
    many = drawing.augment(params, jnp.tile(picture, (7, 1, 1, 1)))
    few = drawing.augment(params, jnp.tile(picture, (2, 1, 1, 1)))
    np.testing.assert_array_equal(many, jnp.tile(few[:1], (7, 1, 1, 1)))
    single = _draw(policies.dsa_policy(name), num_examples=7)
    if name in ("saturation", "flip"):
        return
    different = drawing.augment(single, jnp.tile(picture, (7, 1, 1, 1)))
    assert not np.allclose(different, different[:1]) or name == "color"


@pytest.mark.parametrize("siamese", [False, True])
@pytest.mark.parametrize("mode", ["single", "per_example", "all", "composed"])
def test_augmentation_keeps_shape_and_type_under_jit_and_vmap(mode, siamese):
    policy = policies.dsa_policy(FULL, mode=mode, siamese=siamese)
    x = _pictures(3, (6, 7, 3))

    @jax.jit
    def once(key, x):
        params = drawing.sample_augmentation(
            key, policy, num_examples=x.shape[0], shape=x.shape[1:]
        )
        return drawing.augment(params, x)

    keys = jax.random.split(jax.random.key(1), 4)
    mapped = jax.vmap(once, (0, None))(keys, x)
    assert mapped.shape == (4, *x.shape)
    assert mapped.dtype == x.dtype
    assert jnp.isfinite(mapped).all()
    for key, expected in zip(keys, mapped, strict=True):
        np.testing.assert_allclose(once(key, x), expected, rtol=1e-4, atol=1e-5)
    assert once(keys[0], x.astype(jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.usefixtures("x64")
def test_gradients_match_finite_differences():
    policy = policies.dsa_policy(FULL)
    x, direction = _pictures(2, (6, 7, 3)), _pictures(4, (6, 7, 3))[2:]
    params = _draw(policy, 2, (6, 7, 3))

    @jax.jit
    def value(x, params):
        return jnp.sum(jnp.sin(drawing.augment(params, x)))

    @jax.jit
    def slope(x, params):
        return jnp.sum(jax.grad(value)(x, params) * direction)

    curvature = jax.jit(
        lambda x, params: jnp.sum(jax.grad(slope)(x, params) * direction)
    )
    step = 1e-5 * direction
    for choice in range(len(policy.operations)):
        now = params._replace(choice=jnp.asarray(choice))
        first = (value(x + step, now) - value(x - step, now)) / 2e-5
        np.testing.assert_allclose(slope(x, now), first, rtol=1e-6, atol=1e-8)
        second = (slope(x + step, now) - slope(x - step, now)) / 2e-5
        np.testing.assert_allclose(curvature(x, now), second, rtol=1e-5, atol=1e-8)


def test_all_operations_are_applied_in_order():
    params, x = _draw(policies.dsa_policy("flip_crop", mode="all")), _pictures()
    by_hand = x
    for name, draws in zip(("flip", "crop"), params.draws, strict=True):
        alone = _draw(policies.dsa_policy(name))._replace(draws=(draws,))
        by_hand = drawing.augment(alone, by_hand)
    np.testing.assert_array_equal(drawing.augment(params, x), by_hand)


def test_per_example_draws_an_operation_for_each_picture():
    policy = policies.dsa_policy("brightness_crop", mode="per_example")
    params, x = _draw(policy, 40), _pictures(40)
    out = drawing.augment(params, x)
    assert set(params.choice.tolist()) == {0, 1}
    offset = params.draws[0]["offset"]
    for index, choice in enumerate(params.choice.tolist()):
        is_brighter = np.allclose(out[index], x[index] + offset[index])
        assert is_brighter == (choice == 0)


def test_dc_fills_with_the_mean_colour():
    shifted = _draw(policies.dc_policy("crop"), 1)
    draws = {"rows": jnp.array([4]), "columns": jnp.array([0])}
    x = _pictures(1)
    out = drawing.augment(shifted._replace(draws=(draws,)), x)
    np.testing.assert_allclose(out[:, :-4], x[:, 4:], atol=1e-5)
    outside = np.broadcast_to(x.mean((0, 1, 2)), out[:, -4:].shape)
    np.testing.assert_allclose(out[:, -4:], outside, atol=1e-5)
    params = _draw(policies.dc_policy(), 2000)
    assert params.choice.shape == (2000,)
    assert np.abs(params.draws[2]["angle"]).max() == pytest.approx(np.pi / 4, rel=0.01)


def test_crop_shifts_by_up_to_its_padding():
    draws = _draw(policies.crop_policy(3), 500).draws[0]
    assert sorted(set(draws["rows"].tolist())) == list(range(-3, 4))


def test_noise_has_its_standard_deviation():
    x = jnp.zeros((50, *SHAPE))
    out = drawing.augment(_draw(policies.noise_policy(0.2), 50), x)
    np.testing.assert_allclose(out.std(), 0.2, rtol=0.02)


@pytest.mark.parametrize("strategy", [FULL, "cutout_scale_color_crop"])
def test_composed_colours_always_moves_in_one_way_and_cuts_last(strategy):
    policy = policies.parse(f"idc:{strategy}")
    x, names = _pictures(), strategy.split("_")
    seen = set()
    for seed in range(12):
        drawn = _draw(policy, seed=seed)
        parts = dict(zip(names, drawn.draws, strict=True))
        middle = [name for name in names if name in ("crop", "scale", "rotate")]
        moved = middle[int(drawn.choice)]
        seen.add(moved)
        order = [name for name in ("flip", "color") if name in names]
        expected = x
        for name in [*order, moved, "cutout"]:
            alone = policies.dsa_policy(name, mode="all")
            static = drawing.sample_augmentation(
                jax.random.key(0), alone, num_examples=5, shape=SHAPE
            )
            expected = drawing.augment(static._replace(draws=(parts[name],)), expected)
        np.testing.assert_allclose(drawing.augment(drawn, x), expected, atol=1e-4)
    assert seen == set(middle)
    assert _draw(policies.parse("idc:color_cutout")).choice is None


def test_no_policy_is_the_identity():
    x = _pictures()
    assert policies.share(None) is None
    assert drawing.augment(_draw(None), x) is x


def test_parse_reads_configurations():
    policy = policies.parse(FULL, align_corners=True, siamese=True)
    assert policy == policies.dsa_policy(FULL, align_corners=True, siamese=True)
    assert policies.parse("none") is None
    assert policies.parse(None) is None


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: policies.dsa_policy("color_crp"), r'no augmentation "crp" .*"crop"'),
        (lambda: policies.parse("colour"), r'no augmentation "colour" .*"color"'),
        (lambda: policies.dsa_policy(""), r'no augmentation ""'),
        (lambda: policies.dsa_policy("crop", mode="al"), r'no mode .*"al".*"all"'),  # type: ignore
        (lambda: policies.crop_policy(-1), r"padding of a crop .* got -1"),
        (lambda: policies.noise_policy(-0.1), r"at least 0, got -0.1"),
        (lambda: policies.resized_crop_policy(0.5, 0.2), r"low=0.5 and high=0.2"),
        (
            lambda: _draw(policies.crop_policy(8), shape=(8, 9, 1)),
            r"8 pixels.*at most 7",
        ),
        (
            lambda: _draw(policies.dsa_policy("flip"), shape=(64,)),
            r"shape \(64,\).*\"none\"",
        ),
    ],
)
def test_what_cannot_work_is_refused(make, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        make()


def test_a_draw_for_another_number_of_pictures_is_refused():
    with pytest.raises(errors.InputError, match="drawn for 4 examples, but 5 came"):
        drawing.augment(_draw(policies.flip_policy(), 4), _pictures(5))
