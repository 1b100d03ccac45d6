# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Loading by name: options, splits, statistics, fingerprints."""

import hashlib
import os

import numpy as np
import pytest

from distill_jax import data, errors
from distill_jax.data import dataset


def two_classes(num=40):
    x = np.random.default_rng(0).integers(0, 256, (num, 3, 3, 1)).astype(np.uint8)
    return x, np.arange(num) % 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("digit", 'There is no data set "digit". Did you mean "digits"'),
        ("fashionmnist", 'Did you mean "fashion_mnist"'),
        ("npz", "npz:PATH"),
        ("npz:", "npz:PATH"),
        ("zip:x", "There is no data set"),
        ("???", 'Known are "digits"'),
        ("MNIST", 'Did you mean "mnist"?'),
        ("CIFAR10", 'Did you mean "cifar10"?'),
        ("cifar-100", 'Did you mean "cifar100"?'),
        ("Fashion-MNIST", 'Did you mean "fashion_mnist"?'),
        ("NPZ:a.npz", 'Did you mean "npz:a.npz"?'),
        ("Folder: pictures", 'Did you mean "folder:pictures"?'),
        ("data/mine.npz", 'Did you mean "npz:data/mine.npz"?'),
        ("/tmp", 'Did you mean "folder:/tmp"?'),
        ("a/b", 'a folder of pictures as "folder:PATH"'),
        ("npz:/tmp", 'Did you mean "folder:/tmp"?'),
        ("folder:/nowhere/a.npz", 'Did you mean "npz:/nowhere/a.npz"?'),
        ("npz:none.npz", f'There is no file "none.npz" in the folder "{os.getcwd()}"'),
    ],
)
def test_unknown_name_is_answered_with_near_ones(name, said):
    with pytest.raises(errors.InputError) as caught:
        data.load(name)
    assert said in str(caught.value)


def test_unknown_normalization_is_answered_with_near_ones():
    with pytest.raises(errors.InputError, match='Did you mean "published"'):
        data.load("digits", normalization="publish")


def test_published_statistics_must_exist():
    with pytest.raises(errors.InputError, match='published for "digits"; use "fitted"'):
        data.load("digits", normalization="published")


@pytest.mark.parametrize("fraction", [-0.5, 1, 2.0, float("nan")])
def test_validation_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(errors.InputError, match="`validation_fraction` must be"):
        data.load("digits", validation_fraction=fraction)


def test_folder_must_be_named(monkeypatch):
    monkeypatch.delenv("DISTILL_JAX_DATA", raising=False)
    with pytest.raises(
        errors.InputError, match="pass `data_dir` or set the environment"
    ):
        data.load("mnist")


def test_folder_must_exist(tmp_path, monkeypatch):
    nowhere = tmp_path / "nowhere"
    with pytest.raises(errors.InputError, match=r"`data_dir` is .* is not a folder"):
        data.load("mnist", nowhere)
    monkeypatch.setenv("DISTILL_JAX_DATA", str(nowhere))
    with pytest.raises(errors.InputError, match=r"DISTILL_JAX_DATA is .* not a folder"):
        data.load("cifar10")


def test_named_folder_comes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DISTILL_JAX_DATA", "/nowhere")
    with pytest.raises(errors.InputError, match=str(tmp_path)):
        data.load("usps", tmp_path)


def test_splits_are_disjoint_and_complete():
    x, y = two_classes()
    x[:, 0, 0, 0] = np.arange(40)
    loaded = data.from_arrays(x, y, x[:4], y[:4], validation_fraction=0.3, seed=5)
    train, validation = loaded.train.x[:, 0, 0, 0], loaded.validation.x[:, 0, 0, 0]
    assert sorted([*train, *validation]) == list(range(40))
    assert np.bincount(loaded.validation.y).tolist() == [6, 6]
    np.testing.assert_array_equal(train % 2, loaded.train.y)


def test_statistics_are_fitted_on_the_training_part_alone():
    x, y = two_classes()
    loaded = data.from_arrays(x, y, x, y, validation_fraction=0.5)
    unit = loaded.train.x / 255
    np.testing.assert_allclose(loaded.spec.normalizer.mean, unit.mean(), rtol=1e-6)
    np.testing.assert_allclose(loaded.spec.normalizer.std, unit.std(), rtol=1e-6)
    zca = data.from_arrays(x, y, x, y, validation_fraction=0.5, normalization="zca")
    np.testing.assert_allclose(zca.spec.normalizer.mean, unit.mean(0), rtol=1e-5)


def test_normalization_none_gives_unit_values():
    x, y = two_classes()
    loaded = data.from_arrays(x, y, x, y, normalization="none")
    np.testing.assert_allclose(
        data.normalize(loaded.spec.normalizer, x), x / 255, rtol=1e-6
    )


def test_auto_takes_the_published_statistics(tmp_path):
    rng = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        records = rng.integers(0, 256, (20, 3073)).astype(np.uint8)
        records[:, 0] = np.arange(20) % 10
        (tmp_path / f"{name}.bin").write_bytes(records.tobytes())
    auto = data.load("cifar10", tmp_path)
    assert auto.spec.normalization == "published"
    mean, std = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
    expected = (auto.train.x / 255 - mean) / std
    seen = data.normalize(auto.spec.normalizer, auto.train.x)
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    assert data.load(
        "cifar10", tmp_path, normalization="fitted"
    ).spec.normalization == ("fitted")


def test_fingerprint_tells_data_and_space_apart():
    x, y = two_classes()

    def fingerprint(x=x, y=y, **options):
        return data.from_arrays(x, y, x, y, **options).spec.fingerprint

    changed = x.copy()
    changed[3, 1, 1, 0] ^= 1
    prints = [
        fingerprint(),
        fingerprint(changed),
        fingerprint(y=1 - y),
        fingerprint(normalization="none"),
        fingerprint(normalization="zca"),
        fingerprint(seed=1),  # Other examples were fitted on.
    ]
    assert len(set(prints)) == len(prints)
    assert all(len(print_) == 64 for print_ in prints)
    assert fingerprint() == prints[0]
    # Without fitted statistics the space is the same, whatever was split off.
    assert fingerprint(normalization="none", seed=1) == prints[3]


def test_fingerprint_is_sha256_of_type_shape_and_bytes():
    array = np.arange(6, dtype=">i2").reshape(2, 3)
    content = b"none" + b"<i2(2, 3)" + array.astype("<i2").tobytes()
    assert dataset.fingerprint([array], "none") == hashlib.sha256(content).hexdigest()


def test_description_is_one_line():
    said = str(data.load("digits"))
    assert said == data.describe(data.load("digits"))
    assert "\n" not in said
    assert "960 train, 240 validation and 597 test" in said


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", True, None])
def test_number_per_class_must_be_a_positive_integer(number):
    with pytest.raises(errors.InputError, match="must be a positive integer, got"):
        data.check_num_per_class([0, 1], number)


def test_class_with_too_few_examples_is_named():
    labels = np.repeat([0, 1, 2], [5, 3, 9])
    data.check_num_per_class(labels, 3, 3)
    with pytest.raises(errors.InputError, match="class 1 of the pool has only 3; use"):
        data.check_num_per_class(labels, 4, 3, "the pool")
    with pytest.raises(
        errors.InputError, match="class 3 of the training set has only 0"
    ):
        data.check_num_per_class(labels, 1, 4)


def test_training_part_of_a_data_set_is_counted():
    digits = data.load("digits")
    fewest = np.bincount(digits.train.y).min()
    data.check_num_per_class(digits, int(fewest))
    with pytest.raises(errors.InputError, match=f"has only {fewest}"):
        data.check_num_per_class(digits, np.int64(fewest + 1))


def test_soft_labels_are_counted_by_their_largest_entry():
    with pytest.raises(errors.InputError, match=r"class 1 .* has only 1"):
        data.check_num_per_class(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), 2)
