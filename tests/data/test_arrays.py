# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Arrays of one's own: their axes, their splits, and the keys of an npz file."""

import ast

import numpy as np
import pytest

from distill_jax import data, errors
from distill_jax.data import dataset

Y = np.arange(60) % 3
SPLITS = {"train": slice(0, 30), "val": slice(30, 40), "test": slice(40, 60)}


def pictures(*shape, num=60):
    return np.random.default_rng(0).integers(0, 256, (num, *shape), dtype=np.uint8)


def save(tmp_path, **content):
    np.savez(tmp_path / "mine.npz", **content)
    return f"npz:{tmp_path / 'mine.npz'}"


@pytest.mark.parametrize(
    "shape",
    [
        *((3, 32, 64), (3, 64, 32), (1, 20, 30), (13, 64, 64), (12, 48, 64)),
        *((4, 10, 12), (16, 8, 8), (1, 9, 7, 8)),
    ],
)
def test_channels_first_are_refused_with_both_ways_out(shape):
    x = pictures(*shape, num=6)
    with pytest.raises(errors.InputError, match="they must come last") as raised:
        data.from_arrays(x, Y[:6])
    calls = [word.rstrip(".") for word in str(raised.value).split("x_train.")[1:]]
    first, second = (ast.literal_eval(call[9 : call.index(")") + 1]) for call in calls)
    last = data.from_arrays(x.transpose(first), Y[:6])
    assert last.spec.shape == (*shape[1:], shape[0])
    assert data.from_arrays(x.transpose(second), Y[:6]).spec.num_classes == 3


@pytest.mark.parametrize(
    "shape", [(28, 28, 3), (3, 5, 1), (6, 30, 4), (7, 7, 512), (9, 6, 16), (8, 16, 3)]
)
def test_channels_last_are_taken(shape):
    assert data.from_arrays(pictures(*shape, num=6), Y[:6]).spec.shape == shape


@pytest.mark.parametrize(
    "names",
    [
        ("x_{}", "y_{}"),
        ("{}_images", "{}_labels"),
        ("X_{}", "Y_{}"),
        ("{}-data", "{}.targets"),
    ],
)
@pytest.mark.parametrize(
    "words", [("train", "val", "test"), ("Training", "VALID", "Test")]
)
def test_the_splits_of_a_file_are_kept_whatever_their_names(tmp_path, names, words):
    x = pictures(4, 5, 3)
    content = {}
    for word, rows in zip(words, SPLITS.values(), strict=True):
        content[names[0].format(word)] = x[rows]
        content[names[1].format(word)] = Y[rows, None]
    loaded = data.load(save(tmp_path, **content))
    for split, rows in zip(dataset.SPLITS, SPLITS.values(), strict=True):
        np.testing.assert_array_equal(getattr(loaded, split).x, x[rows])
        np.testing.assert_array_equal(getattr(loaded, split).y, Y[rows])
        assert loaded.rows[split].tolist() == list(range(len(Y[rows])))


def test_a_validation_split_of_its_own_belongs_to_the_fingerprint():
    x = pictures(4, 5, 3)
    load = lambda x_val: data.from_arrays(x, Y, x, Y, validation=(x_val, Y)).spec
    assert load(x).fingerprint != load(x[::-1]).fingerprint
    assert load(x).fingerprint != data.from_arrays(x, Y, x, Y).spec.fingerprint


def test_a_fraction_beside_a_validation_split_is_told():
    x = pictures(4, 5, 3)
    with pytest.warns(UserWarning, match="has no effect"):
        loaded = data.from_arrays(
            x, Y, x, Y, validation=(x, Y), validation_fraction=0.3
        )
    assert (len(loaded.train.y), len(loaded.validation.y)) == (60, 60)


def test_half_a_validation_split_is_refused(tmp_path):
    x = pictures(4, 5, 3)
    with pytest.raises(errors.InputError, match="has no y_val; it holds x_train, x_v"):
        data.load(save(tmp_path, x_train=x, y_train=Y, x_val=x))
    with pytest.raises(errors.InputError, match="Only one of `x_val` and `y_val`"):
        data.from_arrays(x, Y, validation=(x, None))  # pyright: ignore
    with pytest.raises(errors.InputError, match="pass the pair"):
        data.from_arrays(x, Y, validation=x)  # pyright: ignore


def test_keys_that_are_not_used_are_told(tmp_path):
    x = pictures(4, 5, 3)
    name = save(tmp_path, x_train=x, y_train=Y, weights=Y, x_extra=x)
    with pytest.warns(UserWarning, match="holds weights, x_extra, which is not used"):
        data.load(name)


def test_two_keys_for_the_same_are_refused(tmp_path):
    x = pictures(4, 5, 3)
    name = save(tmp_path, x_train=x, y_train=Y, train_images=x)
    with pytest.raises(errors.InputError, match="holds both x_train and train_images"):
        data.load(name)


def ragged(as_array):
    parts = [np.zeros((2, 3)), np.zeros((2, 4))]
    if not as_array:
        return parts
    both = np.empty(2, object)
    both[:] = parts
    return both


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (ragged(False), [0, 1], '"x_train" cannot be made one array'),
        (ragged(True), [0, 1], '"x_train" is an array of objects'),
        (np.zeros((2, 3)), [[0], [1, 2]], '"y_train" cannot be made one array'),
        ([None, None], [0, 1], '"x_train" is an array of objects'),
    ],
)
def test_examples_of_several_shapes_are_refused_in_a_sentence(x, y, said):
    with pytest.raises(errors.InputError, match=said):
        data.from_arrays(x, y)


def test_one_class_is_refused():
    with pytest.raises(errors.InputError, match='one class alone, "0": every network'):
        data.from_arrays(pictures(4, 5, 3), np.zeros(60, int))
