# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SVHN from small MATLAB files."""

import numpy as np
import pytest
import scipy.io

from distill_jax import data, errors


def write_set(folder):
    folder.mkdir(exist_ok=True)
    written = {}
    for split, num in (("train", 40), ("test", 20)):
        x = np.random.default_rng(num).integers(0, 256, (32, 32, 3, num))
        y = np.arange(num) % 10 + 1
        content = {"X": x.astype(np.uint8), "y": y[:, None].astype(np.uint8)}
        scipy.io.savemat(folder / f"{split}_32x32.mat", content)
        written[split] = x, y
    return written


@pytest.mark.parametrize("inside", ["svhn", "."])
def test_label_ten_is_the_digit_zero(tmp_path, inside):
    written = write_set(tmp_path / inside)
    loaded = data.load("svhn", tmp_path, validation_fraction=0)
    x, y = written["train"]
    np.testing.assert_array_equal(loaded.train.y, y % 10)
    np.testing.assert_array_equal(loaded.train.x[7], x[..., 7])
    assert loaded.train.x.dtype == np.uint8
    assert loaded.test.x.shape == (20, 32, 32, 3)
    assert loaded.spec.normalization == "published"


def test_missing_file_is_named(tmp_path):
    write_set(tmp_path)
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(errors.InputError, match=r'needs the file "test_32x32.mat"'):
        data.load("svhn", tmp_path)


@pytest.mark.parametrize("length", [0, 60, 5000])
def test_damaged_file_is_refused(tmp_path, length):
    write_set(tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(errors.InputError, match="is not a sound MATLAB file"):
        data.load("svhn", tmp_path)


def test_other_matlab_file_is_refused(tmp_path):
    write_set(tmp_path)
    scipy.io.savemat(tmp_path / "train_32x32.mat", {"Z": np.zeros(3)})
    with pytest.raises(errors.InputError, match=r'must hold bytes "X"'):
        data.load("svhn", tmp_path)


def test_labels_of_another_number_are_refused_before_pictures_are_unpacked(tmp_path):
    write_set(tmp_path)
    content = {"X": np.zeros((32, 32, 3, 9), np.uint8), "y": np.ones((8, 1))}
    scipy.io.savemat(tmp_path / "train_32x32.mat", content, do_compression=True)
    with pytest.raises(errors.InputError, match="9 images but 8 labels"):
        data.load("svhn", tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.float64])
def test_labels_may_have_any_type_of_number(tmp_path, dtype):
    write_set(tmp_path)
    path = tmp_path / "train_32x32.mat"
    content = scipy.io.loadmat(path)
    scipy.io.savemat(path, {"X": content["X"], "y": content["y"].astype(dtype)})
    loaded = data.load("svhn", tmp_path, validation_fraction=0)
    np.testing.assert_array_equal(loaded.train.y, content["y"][:, 0] % 10)


@pytest.mark.parametrize("label", [0.5, np.nan, np.inf, -1, 11, 300])
def test_labels_that_are_no_digits_are_refused(tmp_path, label):
    write_set(tmp_path)
    path = tmp_path / "train_32x32.mat"
    content = scipy.io.loadmat(path)
    y = content["y"].astype(np.float64)
    y[3] = label
    scipy.io.savemat(path, {"X": content["X"], "y": y})
    with pytest.raises(errors.InputError, match=r"\(example 3\).* outside 0 \.\. 9"):
        data.load("svhn", tmp_path)
