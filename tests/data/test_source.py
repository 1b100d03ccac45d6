# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What samplers draw from."""

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from distill_jax import data, errors

SETTINGS = hypothesis.settings(max_examples=60, deadline=None, database=None)


@SETTINGS
@hypothesis.given(st.lists(st.integers(0, 5), min_size=1, max_size=40).map(np.array))
def test_table_lists_each_example_once_in_the_row_of_its_class(labels):
    table, count = data.class_table(labels, 6)
    assert table.dtype == count.dtype == np.int32
    real = [row[:num] for row, num in zip(table, count, strict=True)]
    assert sorted(np.concatenate(real)) == list(range(len(labels)))
    for number, rows in enumerate(real):
        assert (labels[rows] == number).all()
        assert (np.diff(rows) > 0).all()
    for number, row in enumerate(table):
        if count[number]:
            assert (labels[row] == number).all(), "padding left its class"


def test_source_keeps_bytes_and_is_an_argument_of_jit():
    digits = data.load("digits")
    source = data.to_source(digits)
    assert source.x.dtype == np.uint8
    assert source.y.dtype == source.table.dtype == source.count.dtype == np.int32
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(source))

    @jax.jit
    def class_mean(source, number):
        x = data.normalize(source.normalizer, source.x[source.table[number]])
        is_real = np.arange(source.table.shape[1]) < source.count[number]
        return (x.mean((1, 2, 3)) * is_real).sum() / source.count[number]

    seen = np.asarray(data.normalize(digits.spec.normalizer, digits.train.x))
    expected = seen[digits.train.y == 4].mean()
    np.testing.assert_allclose(class_mean(source, 4), expected, rtol=1e-4)


def test_source_does_not_share_memory_with_the_host():
    x = np.arange(40, dtype=np.uint8).reshape(20, 2)
    loaded = data.from_arrays(
        x, np.arange(20) % 2, x, np.arange(20) % 2, validation_fraction=0
    )
    source = data.to_source(loaded)
    x_before = np.array(source.x)
    loaded.train.x[:] = 0
    np.testing.assert_array_equal(source.x, x_before)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_split_has_its_source(split):
    digits = data.load("digits")
    source = data.to_source(digits, split)
    np.testing.assert_array_equal(source.x, getattr(digits, split).x)


def test_selection_keeps_its_examples_alone():
    digits = data.load("digits")
    table, count = data.class_table(digits.train.y, 10)
    kept = np.minimum(count, np.arange(1, 11))
    with pytest.warns(DeprecationWarning, match=r"data\.select"):
        source = data.to_source(digits, index_table=(table[:, ::-1][:, -12:], kept))
    chosen = table[:, ::-1][:, -12:]
    rows = np.concatenate([chosen[c, : kept[c]] for c in range(10)])
    np.testing.assert_array_equal(source.x, digits.train.x[rows])
    np.testing.assert_array_equal(source.y, digits.train.y[rows])
    assert source.table.shape == (10, int(source.count.max()))
    assert int(source.count.sum()) == len(rows)
    for number in range(10):
        own = np.asarray(source.table[number, : source.count[number]])
        assert (np.asarray(source.y)[own] == number).all()


def test_soft_targets_are_filed_under_their_largest_entry():
    digits = data.load("digits")
    soft = np.eye(10, dtype=np.float32)[digits.train.y] * 0.7 + 0.03
    relabelled = data.Dataset(
        digits.train._replace(y=soft), digits.validation, digits.test, digits.spec
    )
    source = data.to_source(relabelled)
    assert source.y.dtype == np.float32
    np.testing.assert_array_equal(source.table, data.to_source(digits).table)


def test_unknown_split_is_answered_with_near_ones():
    with pytest.raises(errors.InputError, match='Did you mean "train"'):
        data.to_source(data.load("digits"), "trian")


def test_empty_split_is_refused():
    digits = data.load("digits", validation_fraction=0)
    with pytest.raises(errors.InputError, match="larger `validation_fraction`"):
        data.to_source(digits, "validation")


@pytest.mark.parametrize(
    ("table", "count", "said"),
    [
        (np.zeros((3, 2), int), np.ones(3, int), r"must have \(10, K\) and \(10,\)"),
        (np.zeros(10, int), np.ones(10, int), r"must have \(10, K\)"),
        (np.full((10, 2), 960), np.ones(10, int), r"outside 0 \.\. 959"),
        (np.full((10, 2), -1), np.ones(10, int), r"outside 0 \.\. 959"),
        (np.zeros((10, 2), int), np.zeros(10, int), "is empty"),
    ],
)
def test_selection_that_does_not_fit_is_refused(table, count, said):
    with (
        pytest.raises(errors.InputError, match=said),
        pytest.warns(DeprecationWarning, match="index_table"),
    ):
        data.to_source(data.load("digits"), index_table=(table, count))
