# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Normalisation against numpy and golden files, and back again."""

import jax
import numpy as np
import pytest

from distill_jax import data

GOLDEN = [("zca_6x4x3", 1e-3), ("zca_8x8x1_eps1e-5", 1e-1)]


def images(shape=(50, 4, 4, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def check_zca(fit, file, tolerance, assert_near):
    """Every array of a golden file, at one tolerance."""
    normalizer = data.zca_normalizer(fit, scale=1.0, eps=float(file["eps"]))
    whitened = data.normalize(normalizer, file["apply_images"].astype(fit.dtype))
    back = data.denormalize(normalizer, whitened)
    num = file["mean"].size
    assert_near(normalizer.mean.reshape(num), file["mean"], tolerance)
    assert_near(normalizer.whiten, file["transform_matrix"], tolerance)
    assert_near(normalizer.unwhiten, file["inverse_matrix"], tolerance)
    assert_near(data.normalize(normalizer, fit), file["fit_images_whitened"], tolerance)
    assert_near(whitened, file["apply_images_whitened"], tolerance)
    assert_near(back, file["apply_images_inverted"], tolerance)
    assert whitened.dtype == fit.dtype


@pytest.mark.parametrize("name", [name for name, _ in GOLDEN])
def test_zca_matches_the_reference_in_float64(name, golden, assert_near, x64):
    del x64
    file = golden(name)
    check_zca(file["fit_images"], file, 1e-9, assert_near)


@pytest.mark.parametrize(("name", "tolerance"), GOLDEN)
def test_zca_matches_the_reference_in_float32(name, tolerance, golden, assert_near):
    file = golden(name)
    check_zca(file["fit_images"].astype(np.float32), file, tolerance, assert_near)


def test_whitened_covariance_has_the_eigenvalues_of_theory():
    x, eps = images((400, 3, 3, 1)), 0.1
    unit = x.reshape(400, -1) / 255
    values = np.linalg.eigvalsh(np.cov(unit.T))
    normalizer = data.zca_normalizer(x, scale=1 / 255, eps=eps)
    white = np.asarray(data.normalize(normalizer, x)).reshape(400, -1)
    actual = np.linalg.eigvalsh(np.cov(white.T))
    np.testing.assert_allclose(actual, values / (values + eps), rtol=1e-4)


def test_zca_over_several_chunks_equals_numpy():
    x = images((2500, 2, 2, 1))
    unit = x.reshape(2500, -1) / 255
    values, vectors = np.linalg.eigh(np.cov(unit.T))
    expected = vectors @ np.diag((values + 0.1) ** -0.5) @ vectors.T
    normalizer = data.zca_normalizer(x, scale=1 / 255)
    np.testing.assert_allclose(normalizer.whiten, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(normalizer.mean.ravel(), unit.mean(0), rtol=1e-5)


def test_mean_and_std_equal_numpy_over_several_chunks():
    x = images((2500, 2, 3, 3))
    normalizer = data.mean_std_normalizer(x, scale=1 / 255)
    np.testing.assert_allclose(normalizer.mean, (x / 255).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(normalizer.std, (x / 255).std((0, 1, 2)), rtol=1e-6)


def test_int16_thousandths_are_fitted_with_their_sign():
    x = np.array([[-1000, 500], [0, -500]], np.int16)[..., None]
    normalizer = data.mean_std_normalizer(x, scale=1e-3)
    unit = x / 1000
    np.testing.assert_allclose(
        data.normalize(normalizer, x), (unit - unit.mean()) / unit.std(), rtol=1e-5
    )


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_a_channel_that_never_varies_stays_finite(value):
    x = np.full((7, 2), value, np.float32)
    x[:, 1] = np.arange(7)
    normalizer = data.mean_std_normalizer(x, scale=1.0)
    assert normalizer.std[0] == 1.0
    np.testing.assert_allclose(
        data.normalize(normalizer, x)[:, 0], 0, atol=1e-7 * value
    )


def normalizers(x):
    half = data.Normalizer(
        np.float32(1 / 255),
        np.float32([0.4, 0.5, 0.6]),
        np.float32([0.2, 0.3, 0.25]),
    )
    return {
        "given": half,
        "fitted": data.mean_std_normalizer(x, scale=1 / 255),
        "zca": data.zca_normalizer(x, scale=1 / 255),
    }


@pytest.mark.parametrize("kind", ["given", "fitted", "zca"])
def test_pixels_come_back_exactly(kind):
    x = images()
    normalizer = normalizers(x)[kind]
    seen = jax.jit(data.normalize)(normalizer, x)
    assert seen.dtype == np.float32
    pixels = data.to_pixels(normalizer, seen)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, x)
    np.testing.assert_allclose(
        jax.jit(data.denormalize)(normalizer, seen), x, atol=1e-2
    )


@pytest.mark.parametrize("kind", ["given", "fitted", "zca"])
def test_any_number_of_leading_axes_gives_the_same(kind):
    x = images((6, 4, 4, 3))
    normalizer = normalizers(images())[kind]
    whole = data.normalize(normalizer, x)
    single = data.normalize(normalizer, x[2])
    per_class = data.normalize(normalizer, x.reshape(2, 3, 4, 4, 3))
    np.testing.assert_allclose(single, whole[2], atol=1e-6)
    np.testing.assert_allclose(per_class.reshape(whole.shape), whole, atol=1e-6)


def test_values_outside_the_range_are_clipped_and_nan_is_black():
    plain = data.Normalizer(np.float32(1), np.zeros(1), np.ones(1))
    x = np.array([-3.0, 0.25, 7.0, np.nan])[:, None]
    assert data.to_pixels(plain, x).ravel().tolist() == [0, 64, 255, 0]


def test_pictures_use_the_range_of_the_source():
    plain = data.Normalizer(
        np.float32(1e-3), np.zeros(1), np.ones(1), pixel_range=np.array([-1.0, 1.0])
    )
    x = np.array([[-1.0], [0.0], [1.0]])
    assert data.to_pixels(plain, x).ravel().tolist() == [0, 128, 255]


def test_the_whitening_matrix_is_an_argument_and_no_constant():
    x = images()
    normalizer = data.zca_normalizer(x, scale=1 / 255)
    jaxpr = jax.make_jaxpr(data.normalize)(normalizer, x)
    assert sum(np.size(constant) for constant in jaxpr.consts) < 10
    lowered = jax.jit(data.normalize).lower(normalizer, x)
    assert len(lowered.as_text()) < 10_000
