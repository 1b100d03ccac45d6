# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The unit of inputs, decided from all splits."""

import warnings
from typing import Any

import numpy as np
import pytest

from distill_jax import data, errors
from distill_jax.data import dataset

Y = np.arange(60) % 3


def unit_pictures(num=60, shape=(6, 6, 1), seed=0):
    return np.random.default_rng(seed).random((num, *shape)).astype(np.float32)


def as_bytes(x):
    return np.rint(x * 255).astype(np.uint8)


def seen(loaded):
    return np.asarray(data.normalize(loaded.spec.normalizer, loaded.train.x))


@pytest.mark.parametrize("normalization", ["fitted", "zca", "none"])
@pytest.mark.parametrize(
    "raw", [lambda x: 255 * x, lambda x: np.rint(255 * x), lambda x: 100 * x + 0.5]
)
def test_floats_up_to_255_are_in_units_of_a_byte_and_this_is_said(raw, normalization):
    x = raw(unit_pictures())
    options = {"normalization": normalization}
    with pytest.warns(UserWarning, match=r"units of 1/255, so that 255 is white"):
        loaded = data.from_arrays(x, Y, **options)
    expected = data.from_arrays(x / 255, Y, **options)
    np.testing.assert_allclose(seen(loaded), seen(expected), atol=1e-4)


def test_grey_floats_without_a_channel_axis_are_pictures_too():
    with pytest.warns(UserWarning, match="units of 1/255"):
        loaded = data.from_arrays(255 * unit_pictures()[..., 0], Y)
    assert loaded.spec.normalizer.scale == np.float32(1 / 255)


@pytest.mark.parametrize("factor", [1, 1.5])
@pytest.mark.parametrize("raw", [lambda x: x, np.rint])
def test_floats_up_to_1_or_a_little_more_are_unit_values(factor, raw):
    x = factor * raw(unit_pictures())
    np.testing.assert_array_equal(
        seen(data.from_arrays(x, Y, normalization="none")),
        data.from_arrays(x, Y, normalization="none").train.x,
    )


def test_bits_kept_as_whole_numbers_are_unit_values_and_this_is_said():
    x = np.rint(unit_pictures())
    with pytest.warns(UserWarning, match="0 and 1 alone, so 1 is taken for white"):
        loaded = data.from_arrays(x.astype(np.uint8), Y, normalization="none")
    assert (loaded.train.x.dtype, seen(loaded).max()) == (np.uint8, 1)
    as_truth = data.from_arrays(x.astype(bool), Y, normalization="none")
    np.testing.assert_array_equal(seen(as_truth), seen(loaded))


def test_tables_are_never_rescaled():
    table = 255 * unit_pictures(shape=(5,))
    assert data.from_arrays(table, Y).spec.normalizer.scale == 1
    loaded = data.from_arrays(table.astype(np.uint8), Y)
    assert (loaded.spec.normalizer.scale, loaded.train.x.dtype) == (1, np.uint8)


UNIT = unit_pictures()
STANDARD = (UNIT - 0.5) / 0.28


def part(split, x) -> dict[str, Any]:
    y = Y[: len(x)]
    return {"validation": (x, y)} if split == "val" else {"x_test": x, "y_test": y}


@pytest.mark.parametrize(
    "scaled",
    [
        as_bytes(UNIT),
        255 * UNIT,
        16 * UNIT,
        65535 * UNIT,
        UNIT / 255,
        STANDARD,
        2 * UNIT - 1,
        as_bytes(UNIT).astype(np.int64),
    ],
)
@pytest.mark.parametrize("split", ["test", "val"])
def test_pictures_of_another_scale_in_one_split_are_refused(scaled, split):
    other = part(split, scaled[:20])
    with pytest.raises(errors.InputError, match=f'"x_{split}" is of another scale'):
        data.from_arrays(UNIT, Y, **other)
    other = part(split, UNIT[:20])
    with pytest.raises(errors.InputError, match=f'"x_{split}" is of another scale'):
        data.from_arrays(scaled, Y, **other)


def test_tables_of_another_scale_in_one_split_are_told():
    table = UNIT.reshape(60, -1)
    with pytest.warns(UserWarning, match='"x_test" is of another scale'):
        data.from_arrays(as_bytes(table), Y, table, Y)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (as_bytes(UNIT), 255 * UNIT[:9]),
        (as_bytes(UNIT), as_bytes(UNIT[:9] / 3)),  # Darker, but of the same unit.
        (as_bytes(UNIT), np.zeros((1, 6, 6, 1), np.uint8)),
        (UNIT, np.where(UNIT > 0.97, UNIT, 0)[:9]),
        (STANDARD, np.abs(STANDARD[:1])),  # One picture may have no negative value.
        (np.where(UNIT > 0.999, 2000, UNIT - 0.1), UNIT - 0.1),  # One rare value.
    ],
)
def test_splits_of_one_scale_are_taken(train, test):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The pictures")
        loaded = data.from_arrays(train, Y, test, Y[: len(test)])
    assert len(loaded.test.y) == len(test)


def test_whitening_of_values_that_are_no_unit_values_is_told():
    wide = (65535 * UNIT).astype(np.uint16)
    for normalization in ("zca", "none"):
        with pytest.warns(UserWarning, match=r"0 \.\. 1, but the largest of \"mine\""):
            data.from_arrays(wide, Y, normalization=normalization, name="mine")
        table = as_bytes(UNIT).reshape(60, -1)
        with pytest.warns(UserWarning, match="a table is never rescaled"):
            data.from_arrays(table, Y, normalization=normalization, name="mine")
        dark = (16 * UNIT).astype(np.uint8)
        with pytest.warns(UserWarning, match=r"their unit is 0\.00392"):
            data.from_arrays(dark, Y, normalization=normalization, name="mine")
    data.from_arrays(wide, Y)


def test_another_unit_is_another_data_set_where_it_is_not_fitted():
    table = as_bytes(UNIT).reshape(60, -1)
    hashes = {}
    with warnings.catch_warnings(action="ignore"):
        for normalization in ("fitted", "none"):
            loaded = data.from_arrays(
                table, Y, table, Y, normalization=normalization, validation_fraction=0
            )
            arrays = [table, Y.astype("i4")] * 2
            arrays += [np.arange(60)] if normalization == "fitted" else []
            plain = dataset.fingerprint(arrays, normalization)
            hashes[normalization] = loaded.spec.fingerprint == plain
    assert hashes == {"fitted": True, "none": False}
