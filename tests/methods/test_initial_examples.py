# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a distilled set starts as."""

import jax
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors
from distill_jax.methods import initial_examples


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


@pytest.mark.parametrize("kind", ["real", "noise", "class_mean"])
@pytest.mark.parametrize("num", [1, 3])
def test_seeds_are_class_major_and_depend_on_the_key_alone(kind, num, digits):
    draw = initial_examples.initial_fn(kind, num)
    seed = draw(jax.random.key(0), digits)
    assert seed.x.shape == (10 * num, 8, 8, 1)
    np.testing.assert_array_equal(seed.y.argmax(-1), np.repeat(np.arange(10), num))
    np.testing.assert_array_equal(seed.x, draw(jax.random.key(0), digits).x)
    if (kind, num) != ("class_mean", 1):
        assert np.abs(seed.x - draw(jax.random.key(1), digits).x).max() > 0


@pytest.mark.parametrize("kind", ["real", "noise", "class_mean"])
def test_values_come_with_the_examples_that_they_belong_to(kind):
    x = np.arange(30.0)[:, None]
    data = dj.data.from_arrays(
        x, 7 * x[:, 0], x, x[:, 0], targets="values", normalization="none"
    )
    encode = lambda y: y / 7
    seed = initial_examples.initial_fn(kind, 4, encode=encode)(jax.random.key(0), data)
    assert seed.x.shape == seed.y.shape == (4, 1)
    assert seed.group.tolist() == [0] * 4
    known = np.asarray(data.train.y) / 7
    if kind == "noise":
        assert np.isin(np.asarray(seed.y).round(4), known.round(4)).all()
    else:  # The target is a multiple of the input, and so are means.
        np.testing.assert_allclose(seed.y, seed.x, rtol=1e-5)
    with pytest.raises(errors.InputError, match="`num_examples` is 99, but"):
        initial_examples.initial_fn(kind, 99)(jax.random.key(0), data)


def test_real_seeds_are_distinct_training_examples_of_their_class(digits):
    seed = initial_examples.initial_fn("real", 5)(jax.random.key(0), digits)
    real = np.asarray(dj.data.normalize(digits.spec.normalizer, digits.train.x))
    gaps = np.abs(np.asarray(seed.x)[:, None] - real[None]).reshape(50, len(real), -1)
    nearest = gaps.max(-1).argmin(1)
    assert gaps.max(-1).min(1).max() < 1e-6
    assert len(set(nearest.tolist())) == 50
    np.testing.assert_array_equal(digits.train.y[nearest], np.repeat(np.arange(10), 5))


def test_one_class_mean_is_near_the_mean_of_the_class(digits):
    seed = initial_examples.initial_fn("class_mean", 1)(jax.random.key(0), digits)
    real = np.asarray(dj.data.normalize(digits.spec.normalizer, digits.train.x))
    for number in range(10):
        mean = real[digits.train.y == number].mean(0)
        # Classes are cut to the smallest; the few left out move the mean a little.
        assert np.abs(seed.x[number] - mean).mean() < 0.1 * np.abs(mean).mean()


def test_more_per_class_than_there_are_is_refused(digits):
    with pytest.raises(errors.InputError, match=r'500.*, or `initialisation="noise"`'):
        initial_examples.initial_fn("real", 500)(jax.random.key(0), digits)
    noise = initial_examples.initial_fn("noise", 500)(jax.random.key(0), digits)
    assert noise.x.shape == (5000, 8, 8, 1)


def test_unknown_kinds_and_counts_are_refused():
    with pytest.raises(errors.InputError, match='Did you mean "real"'):
        initial_examples.initial_fn("reel", 1)
    with pytest.raises(errors.InputError, match="at least 1"):
        initial_examples.initial_fn("real", 0)
