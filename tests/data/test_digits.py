# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scikit-learn's digits and the hundred classes made of them."""

import numpy as np
from sklearn import datasets as sklearn_datasets

from distill_jax import data


def reference():
    """Images and labels in the order of the permutation with seed 0."""
    pixels, labels = sklearn_datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(1797)
    return pixels[order].reshape(-1, 8, 8, 1), labels[order]


def test_digits_are_permuted_with_seed_zero_and_split():
    x, y = reference()
    loaded = data.load("digits", validation_fraction=0)
    np.testing.assert_array_equal(loaded.train.x, x[:1200])
    np.testing.assert_array_equal(loaded.test.y, y[1200:])
    assert loaded.train.x.dtype == np.uint8
    assert loaded.train.x.max() == 16
    assert len(loaded.validation.y) == 0


def test_a_fifth_of_the_digits_is_for_validation():
    loaded = data.load("digits")
    sizes = [len(part.y) for part in (loaded.train, loaded.validation, loaded.test)]
    assert sizes == [960, 240, 597]
    x = loaded.train.x / 16
    np.testing.assert_allclose(loaded.spec.normalizer.mean, x.mean(), rtol=1e-6)
    np.testing.assert_allclose(loaded.spec.normalizer.std, x.std(), rtol=1e-6)
    seen = data.normalize(loaded.spec.normalizer, loaded.test.x)
    shown = data.to_pixels(loaded.spec.normalizer, seen)
    np.testing.assert_allclose(shown, loaded.test.x / 16 * 255, atol=0.51)


def test_digits100_is_made_of_pairs_of_the_same_split():
    loaded = data.load("digits100", validation_fraction=0)
    x, y = reference()
    pools = {"train": (x[:1200], y[:1200]), "test": (x[1200:], y[1200:])}
    assert loaded.train.x.shape == (10000, 8, 16, 1)
    assert loaded.test.x.shape == (2000, 8, 16, 1)
    assert loaded.spec.num_classes == 100
    for split, (pool_x, pool_y) in pools.items():
        digit_of = {
            image.astype(np.uint8).tobytes(): digit
            for image, digit in zip(pool_x, pool_y, strict=True)
        }
        images, labels = getattr(loaded, split)
        assert len(set(np.bincount(labels))) == 1
        for image, label in zip(images[::7], labels[::7], strict=True):
            left = digit_of[np.ascontiguousarray(image[:, :8]).tobytes()]
            right = digit_of[np.ascontiguousarray(image[:, 8:]).tobytes()]
            assert 10 * left + right == label


def test_digits100_draws_left_and_right_independently():
    train = data.load("digits100", validation_fraction=0).train
    doubles = train.x[train.y == 33]
    assert not (doubles[:, :, :8] == doubles[:, :, 8:]).all(axis=(1, 2, 3)).all()
    assert len(np.unique(doubles.reshape(100, -1), axis=0)) > 90


def test_loading_twice_gives_the_same():
    first, second = data.load("digits100"), data.load("digits100")
    np.testing.assert_array_equal(first.train.x, second.train.x)
    assert first.spec.fingerprint == second.spec.fingerprint
