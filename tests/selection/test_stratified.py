# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random subsets: equally many of every class, without replacement."""

import jax
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors, selection


def test_random_subsets_have_every_class_and_differ():
    data = dj.data.load("digits")
    index = selection.random_subsets(jax.random.key(0), data, 5, num_draws=4)
    assert index.shape == (4, 50)
    expected = np.tile(np.repeat(np.arange(10), 5), (4, 1))
    np.testing.assert_array_equal(data.train.y[index], expected)
    assert all(len(set(draw)) == 50 for draw in index.tolist())
    assert not np.array_equal(index[0], index[1])
    again = selection.random_subsets(jax.random.key(0), data, 5, num_draws=4)
    np.testing.assert_array_equal(index, again)


def test_random_subsets_of_one_key_are_nested():
    data = dj.data.load("digits")
    few, more = (
        selection.random_subsets(jax.random.key(3), data, num, num_draws=draws)
        for num, draws in ((2, 2), (5, 3))
    )
    first = lambda index, num: index.reshape(len(index), 10, num)[:2, :, :2]
    np.testing.assert_array_equal(first(few, 2), first(more, 5))


def test_examples_whatever_they_are_are_nested_and_each_at_most_once():
    data = dj.data.load("digits")
    draw = lambda num: selection.random_subsets(
        jax.random.key(0), data, num_draws=2, num_examples=num
    )
    few, many = draw(7), draw(500)
    np.testing.assert_array_equal(many[:, :7], few)
    assert all(len(set(rows)) == 500 for rows in many.tolist())
    assert (few[0] != few[1]).any()


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({}, "give one of the two"),
        ({"num_per_class": 1, "num_examples": 10}, "give one of the two"),
        ({"num_examples": 0}, "`num_examples` must be a whole number"),
        ({"num_examples": 10**6}, "training set has only 960"),
    ],
)
def test_numbers_of_examples_that_cannot_be_drawn_are_refused(numbers, sentence):
    data = dj.data.load("digits")
    with pytest.raises(errors.InputError, match=sentence):
        selection.random_subsets(jax.random.key(0), data, num_draws=1, **numbers)
