# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data sets in npz files, one's own and USPS."""

import numpy as np
import pytest

from distill_jax import data, errors


def arrays(num=30, shape=(4, 5, 3), num_classes=3, dtype=np.uint8, seed=0):
    x = np.random.default_rng(seed).integers(0, 256, (num, *shape)).astype(dtype)
    return x, np.arange(num) % num_classes


def save(tmp_path, **content):
    np.savez(tmp_path / "mine.npz", **content)
    return f"npz:{tmp_path / 'mine.npz'}"


def test_given_test_set_is_kept(tmp_path):
    (x, y), (x_test, y_test) = arrays(), arrays(9, seed=1)
    name = save(tmp_path, x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    loaded = data.load(name, validation_fraction=0)
    np.testing.assert_array_equal(loaded.train.x, x)
    np.testing.assert_array_equal(loaded.test.x, x_test)
    assert loaded.train.x.dtype == np.uint8
    assert (loaded.spec.name, loaded.spec.shape) == (name, (4, 5, 3))
    assert loaded.spec.class_names == ("0", "1", "2")


def test_without_test_set_a_stratified_fifth_is_split_off(tmp_path):
    x, y = arrays()
    name = save(tmp_path, x_train=x, y_train=y)
    loaded = data.load(name, validation_fraction=0.25)
    assert np.bincount(loaded.test.y).tolist() == [2, 2, 2]
    assert np.bincount(loaded.validation.y).tolist() == [2, 2, 2]
    rows = np.concatenate([loaded.train.x, loaded.validation.x, loaded.test.x])
    assert len(np.unique(rows.reshape(30, -1), axis=0)) == 30


def test_test_set_does_not_depend_on_the_seed(tmp_path):
    x, y = arrays(60)
    name = save(tmp_path, x_train=x, y_train=y)
    first, second = data.load(name, seed=0), data.load(name, seed=1)
    np.testing.assert_array_equal(first.test.x, second.test.x)
    assert not np.array_equal(first.validation.x, second.validation.x)


@pytest.mark.parametrize(
    ("dtype", "factor", "expected", "scale"),
    [
        (np.int64, 1, np.uint8, 1 / 255),
        (np.uint8, 1, np.uint8, 1 / 255),
        (np.int32, -1, np.float32, 1.0),
        (np.uint16, 200, np.float32, 1.0),
        (np.float64, 1 / 255, np.float32, 1.0),
        (np.float16, 1 / 255, np.float32, 1.0),
    ],
)
def test_types_on_host_and_device(dtype, factor, expected, scale):
    x, y = arrays(dtype=np.float64)
    loaded = data.from_arrays((x * factor).astype(dtype), y)
    assert loaded.train.x.dtype == expected
    assert data.to_source(loaded).x.dtype == expected
    np.testing.assert_allclose(loaded.spec.normalizer.scale, scale)


@pytest.mark.parametrize(
    ("shape", "expected"), [((7,), (7,)), ((4, 5), (4, 5, 1)), ((2, 3, 4, 1),) * 2]
)
def test_vectors_grey_images_and_volumes(shape, expected):
    loaded = data.from_arrays(*arrays(shape=shape))
    assert loaded.spec.shape == expected
    assert data.normalize(loaded.spec.normalizer, loaded.train.x).shape[1:] == expected


@pytest.mark.parametrize("low", [0.0, -1.0, -3.0])
def test_pictures_of_floats_use_the_range_of_the_training_set(low):
    x = np.linspace(low, 1, 24).astype(np.float32).reshape(24, 1, 1, 1)
    loaded = data.from_arrays(x, np.arange(24) % 2, x, np.arange(24) % 2)
    seen = data.normalize(loaded.spec.normalizer, x)
    pixels = data.to_pixels(loaded.spec.normalizer, seen).ravel()
    assert (pixels[0], pixels[-1]) == (0, 255)


def test_label_column_is_flattened():
    x, y = arrays()
    assert data.from_arrays(x, y[:, None]).train.y.ndim == 1


def test_missing_file_is_named(tmp_path):
    with pytest.raises(errors.InputError, match=r'no file ".*none\.npz"'):
        data.load(f"npz:{tmp_path / 'none.npz'}")


def test_wrong_keys_are_named(tmp_path):
    name = save(tmp_path, images=np.zeros(3), y_train=np.zeros(3))
    with pytest.raises(errors.InputError, match="has no x_train; it holds images, y_t"):
        data.load(name)


def test_half_a_test_set_is_refused(tmp_path):
    x, y = arrays()
    name = save(tmp_path, x_train=x, y_train=y, x_test=x)
    with pytest.raises(errors.InputError, match="has no y_test"):
        data.load(name)
    with pytest.raises(errors.InputError, match="Only one of `x_test` and `y_test`"):
        data.from_arrays(x, y, x)


class Evil:
    """Raises when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("the pickle was loaded",)


def test_pickled_objects_are_refused_and_not_loaded(tmp_path):
    x = np.array([Evil(), Evil()], dtype=object)
    name = save(tmp_path, x_train=x, y_train=np.zeros(2, int))
    with pytest.raises(errors.InputError, match="plain arrays of numbers, no pickled"):
        data.load(name)


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut"])
def test_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(errors.InputError, match="cannot be read"):
        data.load(f"npz:{tmp_path / 'mine.npz'}")


def test_truncated_file_is_refused(tmp_path):
    x, y = arrays()
    save(tmp_path, x_train=x, y_train=y)
    path = tmp_path / "mine.npz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(errors.InputError, match="cannot be read"):
        data.load(f"npz:{path}")


def test_single_array_is_refused(tmp_path):
    path = tmp_path / "mine.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(errors.InputError, match="it is a single array"):
        data.load(f"npz:{path}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(value):
    x, y = arrays(dtype=np.float64)
    x[4, 1, 1, 0] = value
    with pytest.raises(errors.InputError, match="Example 4 of the training set of"):
        data.from_arrays(x, y)
    good, labels = arrays(dtype=np.float64)
    with pytest.raises(errors.InputError, match="Example 4 of the test set of"):
        data.from_arrays(good + 0.5, labels, x, y)


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (np.arange(29) % 3, "has 30 inputs but 29 labels"),
        (np.arange(30) % 3 - 1, "label -1 .* is outside 0 .. 1"),
        (np.arange(30) % 3 * 2, "Class 1 of the training set"),
        (np.arange(30) * 10**12, "some class has no example"),
        (np.full(30, 2**63, np.uint64), "some class has no example"),
        (np.linspace(0, 1, 30), "one whole number for each example"),
        (np.eye(30), "one whole number for each example"),
        (np.array(["a"] * 30), "one whole number for each example"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(y, said):
    x, _ = arrays()
    with pytest.raises(errors.InputError, match=said):
        data.from_arrays(x, y)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((0, 4)), "is empty"),
        (np.zeros((30, 0)), "is empty"),
        (np.zeros(30), "it must hold numbers of shape"),
        (np.full((30, 4), "a"), "it must hold numbers of shape"),
        (np.zeros((30, 4), complex), "it must hold numbers of shape"),
        (np.zeros((30, 3, 8, 8)), "they must come last"),
    ],
)
def test_inputs_that_cannot_be_read_are_refused(x, said):
    with pytest.raises(errors.InputError, match=said):
        data.from_arrays(x, np.arange(len(x)) % 3)


def test_test_examples_of_another_shape_are_refused():
    with pytest.raises(errors.InputError, match="they must be the same"):
        data.from_arrays(*arrays(), *arrays(shape=(5, 4, 3)))


def test_test_label_unknown_in_training_is_refused():
    with pytest.raises(errors.InputError, match=r"label 3 .* of the test set"):
        data.from_arrays(*arrays(), *arrays(num_classes=4))


def test_usps_keys_are_checked(tmp_path):
    np.savez(tmp_path / "usps.npz", x=np.zeros(3))
    with pytest.raises(errors.InputError, match="has no train_images_milli"):
        data.load("usps", tmp_path)


def test_real_usps_has_its_known_sizes(real_data_dir):
    loaded = data.load("usps", real_data_dir)
    both = np.concatenate([loaded.train.y, loaded.validation.y])
    known_train = [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
    known_test = [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
    assert np.bincount(both).tolist() == known_train
    assert np.bincount(loaded.test.y).tolist() == known_test
    assert loaded.train.x.dtype == np.int16
    assert (loaded.train.x.min(), loaded.train.x.max()) == (-1000, 1000)
    source = data.to_source(loaded)
    assert source.x.dtype == np.int16
    seen = np.asarray(data.normalize(source.normalizer, source.x))
    np.testing.assert_allclose([seen.mean(), seen.std()], [0, 1], atol=1e-4)
    pixels = data.to_pixels(loaded.spec.normalizer, seen)
    exact = np.rint((loaded.train.x / 1000 + 1) / 2 * 255)
    assert np.abs(pixels - exact).max() <= 1
    assert (pixels.min(), pixels.max()) == (0, 255)
