# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Whole numbers and orders read off uniform numbers are uniform themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from distill_jax.compute import randomness


@pytest.mark.parametrize(("low", "high"), [(-3, 4), (0, 6), (5, 29)])
def test_every_whole_number_is_as_likely(low, high):
    u = jax.random.uniform(jax.random.key(0), (20_000,))
    drawn = np.asarray(randomness.whole_numbers(u, low, high))
    assert drawn.dtype == np.int32
    counts = np.bincount(drawn - low, minlength=high - low)
    assert counts.shape == (high - low,)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("num", [1, 3, 7, 28, 1000, 2**20])
def test_the_largest_number_below_one_stays_in_range(num):
    largest = jnp.float32(1 - 2.0**-23)  # As jax draws them, in steps of 2**-23.
    assert int(randomness.whole_numbers(largest, 0, num)) == num - 1
    assert int(randomness.whole_numbers(jnp.float32(0), 0, num)) == 0


def test_every_order_is_as_likely():
    orders = np.asarray(randomness.permutations(jax.random.key(1), 3, 6000))
    np.testing.assert_array_equal(
        np.sort(orders, axis=1), np.tile([0, 1, 2], (6000, 1))
    )
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3
    alone = randomness.permutation(jax.random.key(2), 50)
    assert sorted(alone.tolist()) == list(range(50))
    assert alone.tolist() != list(range(50))
