# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The stratified split: disjoint, complete, proportional, a function of its seed."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from distill_jax import data, errors

LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=80).map(np.array)
FRACTIONS = st.floats(0, 1, exclude_max=True)
SETTINGS = hypothesis.settings(max_examples=100, deadline=None, database=None)


@SETTINGS
@hypothesis.given(LABELS, FRACTIONS, st.integers(0, 2**32))
def test_parts_are_disjoint_complete_and_ascending(labels, fraction, seed):
    kept, taken = data.stratified_split(labels, fraction, seed=seed)
    np.testing.assert_array_equal(
        np.sort(np.concatenate([kept, taken])), np.arange(len(labels))
    )
    assert (np.diff(kept) > 0).all()
    assert (np.diff(taken) > 0).all()


@SETTINGS
@hypothesis.given(LABELS, FRACTIONS, st.integers(0, 100))
def test_share_of_each_class_is_right_to_less_than_one(labels, fraction, seed):
    kept, taken = data.stratified_split(labels, fraction, seed=seed)
    for label in np.unique(labels):
        num = int((labels == label).sum())
        assert abs(int((labels[taken] == label).sum()) - fraction * num) < 1 + 1e-9
        assert (labels[kept] == label).any(), "a class lost all of its examples"


def test_total_is_the_fraction_rounded():
    labels = np.repeat(np.arange(7), [3, 5, 8, 13, 21, 34, 55])
    _, taken = data.stratified_split(labels, 0.2, seed=3)
    assert taken.size == round(0.2 * labels.size)


def test_largest_remainders_get_the_extra_examples():
    labels = np.repeat(np.arange(3), [4, 5, 9])  # 0.3 of each: 1.2, 1.5, 2.7; total 5
    _, taken = data.stratified_split(labels, 0.3, seed=0)
    assert np.bincount(labels[taken]).tolist() == [1, 1, 3]


def test_split_is_a_function_of_the_seed():
    labels = np.arange(200) % 10
    first = data.stratified_split(labels, 0.3, seed=1)
    again = data.stratified_split(labels, 0.3, seed=1)
    other = data.stratified_split(labels, 0.3, seed=2)
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_taken_examples_are_drawn_from_all_of_a_class():
    labels = np.zeros(100, int)
    seen = np.zeros(100)
    for seed in range(40):
        seen[data.stratified_split(labels, 0.25, seed=seed)[1]] += 1
    # Binomial(40, 1/4): beyond 25 or at 0 has a chance below 1e-4 for any example.
    assert seen.min() > 0
    assert seen.max() < 25


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, float("nan"), "0.1", True, None])
def test_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(errors.InputError, match="at least 0 and below 1"):
        data.stratified_split(np.zeros(4, int), fraction, seed=0)


@pytest.mark.parametrize("seed", [-1, 0.5, True, None])
def test_seed_must_be_a_whole_number(seed):
    with pytest.raises(errors.InputError, match="`seed` must be a whole number"):
        data.stratified_split(np.zeros(4, int), 0.5, seed=seed)
