# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Samplers on small hand-made data sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors, samplers


def source(counts=(5, 2, 3)):
    """x is the index, classes have the given sizes, everything is shuffled."""
    classes = np.repeat(np.arange(len(counts)), counts)
    order = np.random.default_rng(0).permutation(len(classes))
    classes = classes[order].astype(np.int32)
    table = np.zeros((len(counts), max(counts)), np.int32)
    for number, count in enumerate(counts):
        table[number, :count] = np.flatnonzero(classes == number)
    identity = dj.data.Normalizer(
        scale=jnp.ones(()),
        mean=jnp.zeros(1),
        std=jnp.ones(1),
        whiten=None,
        unwhiten=None,
    )
    x = jnp.arange(len(classes), dtype=jnp.float32)[:, None]
    return dj.Source(
        x=x,
        y=jnp.asarray(classes),
        normalizer=identity,
        table=jnp.asarray(table),
        count=jnp.asarray(counts, jnp.int32),
    )


def test_uniform_draws_are_distinct_and_labelled_right():
    src = source()
    batch = samplers.uniform(6)(jax.random.key(0), 0, src)
    index = np.asarray(batch.index)
    assert len(set(index)) == 6
    np.testing.assert_array_equal(batch.x[:, 0], index)
    np.testing.assert_array_equal(batch.y.argmax(-1), np.asarray(src.y)[index])
    assert float(batch.weight.sum()) == 6


def test_uniform_gives_the_whole_small_data_set_and_weight_zero_beyond_it():
    batch = samplers.uniform(16)(jax.random.key(0), 0, source())
    drawn = np.asarray(batch.index)[np.asarray(batch.weight) > 0]
    assert sorted(drawn) == list(range(10))
    assert batch.weight.shape == (16,)


def test_uniform_draws_every_example_equally_often():
    draw = jax.jit(lambda key: samplers.uniform(4)(key, 0, source()).index)
    drawn = jax.vmap(draw)(jax.random.split(jax.random.key(1), 2000))
    counts = np.bincount(np.asarray(drawn).ravel(), minlength=10)
    # Expected 800 with a standard deviation of about 22.
    assert np.abs(counts - 800).max() < 5 * 22


def test_per_class_rows_hold_their_class_without_repeats():
    src = source()
    batch = samplers.per_class(3)(jax.random.key(0), 0, src)
    assert batch.x.shape == (3, 3, 1)
    weight, index = np.asarray(batch.weight), np.asarray(batch.index)
    np.testing.assert_array_equal(weight.sum(1), [3, 2, 3])
    for number in range(3):
        drawn = index[number][weight[number] > 0]
        assert len(set(drawn)) == len(drawn)
        assert set(np.asarray(src.y)[drawn]) == {number}


def test_per_class_beyond_the_largest_class_is_padded():
    batch = samplers.per_class(9)(jax.random.key(0), 0, source())
    np.testing.assert_array_equal(np.asarray(batch.weight).sum(1), [5, 2, 3])


def test_soft_targets_of_a_source_pass_through():
    src = source()
    soft = jax.nn.softmax(jnp.arange(30.0).reshape(10, 3) % 7)
    batch = samplers.uniform(4)(jax.random.key(0), 0, src._replace(y=soft))
    np.testing.assert_array_equal(batch.y, np.asarray(soft)[np.asarray(batch.index)])


@pytest.mark.parametrize("make", [samplers.uniform, samplers.per_class])
@pytest.mark.parametrize("size", [0, -3])
def test_batch_sizes_below_one_are_refused(make, size):
    with pytest.raises(errors.InputError, match="at least 1"):
        make(size)


def test_the_two_batches_of_a_pair_are_drawn_independently():
    sampler = samplers.pair(samplers.uniform(4), samplers.uniform(4))
    batch = sampler(jax.random.key(0), 0, source((50, 50, 50)))
    assert batch.match.index.tolist() != batch.train.index.tolist()
    again = sampler(jax.random.key(0), 0, source((50, 50, 50)))
    assert batch.match.index.tolist() == again.match.index.tolist()
