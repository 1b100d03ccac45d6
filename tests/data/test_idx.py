# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""IDX files: round trip, damage, and the real sets."""

import gzip
import struct
import tracemalloc

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distill_jax import data, errors
from distill_jax.data import idx

SETTINGS = hypothesis.settings(max_examples=50, deadline=None, database=None)
ARRAYS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0))


def encode(array):
    """The bytes of an IDX file, from its description."""
    sizes = struct.pack(f">{array.ndim}i", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def write_set(folder, num_train=40, num_test=20, ending=".gz"):
    """A small set in the form of MNIST; returns its images and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    written = {}
    for split, num in (("train", num_train), ("t10k", num_test)):
        x = rng.integers(0, 256, (num, 28, 28)).astype(np.uint8)
        y = (np.arange(num) % 10).astype(np.uint8)
        for name, array in (("images-idx3", x), ("labels-idx1", y)):
            content = encode(array)
            content = gzip.compress(content) if ending else content
            (folder / f"{split}-{name}-ubyte{ending}").write_bytes(content)
        written[split] = x, y
    return written


@SETTINGS
@hypothesis.given(ARRAYS, st.booleans())
def test_round_trip(tmp_path_factory, array, is_packed):
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if is_packed else "a")
    content = encode(array)
    path.write_bytes(gzip.compress(content) if is_packed else content)
    read = idx.read_idx(path, num_axes=array.ndim)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


@SETTINGS
@hypothesis.given(ARRAYS, st.data())
def test_a_file_of_another_length_is_refused(tmp_path_factory, array, draw):
    content = encode(array)
    length = draw.draw(st.integers(0, len(content) + 9))
    hypothesis.assume(length != len(content))
    path = tmp_path_factory.mktemp("idx") / "a"
    path.write_bytes((content + bytes(9))[:length])
    with pytest.raises(errors.InputError, match=str(path)):
        idx.read_idx(path, num_axes=array.ndim)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("inside", ["mnist", "."])
def test_set_is_found_plain_or_packed_in_its_folder_or_above(tmp_path, inside, ending):
    written = write_set(tmp_path / inside, ending=ending)
    loaded = data.load("mnist", tmp_path, validation_fraction=0)
    np.testing.assert_array_equal(loaded.train.x[..., 0], written["train"][0])
    np.testing.assert_array_equal(loaded.test.y, written["t10k"][1])
    assert loaded.train.x.dtype == np.uint8
    assert loaded.train.y.dtype == np.int32
    assert loaded.spec.shape == (28, 28, 1)


@pytest.mark.parametrize("folder", ["FashionMNIST/raw", "fashion-mnist", "raw", "."])
@pytest.mark.parametrize(
    "spell",
    [
        str,
        lambda name: name.replace("-idx", ".idx"),
        lambda name: f"{name}/{name}",
        lambda name: f"{name.replace('-idx', '.idx')}/{name.replace('-idx', '.idx')}",
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_layouts_of_other_libraries_are_found(tmp_path, folder, spell, ending):
    written = write_set(tmp_path / "plain", ending=ending)
    for file in list((tmp_path / "plain").iterdir()):
        name = spell(file.name.removesuffix(".gz"))
        target = tmp_path / "data" / folder / f"{name}{ending}"
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    loaded = data.load("fashion_mnist", tmp_path / "data", validation_fraction=0)
    np.testing.assert_array_equal(loaded.train.x[..., 0], written["train"][0])
    np.testing.assert_array_equal(loaded.test.y, written["t10k"][1])


def test_folder_of_the_environment_is_used(tmp_path, monkeypatch):
    write_set(tmp_path / "kmnist")
    monkeypatch.setenv("DISTILL_JAX_DATA", str(tmp_path))
    loaded = data.load("kmnist")
    assert loaded.spec.class_names[4] == "na"
    assert loaded.spec.normalization == "fitted"


def test_wrong_magic_number_is_named(tmp_path):
    write_set(tmp_path / "mnist", ending="")
    labels = (tmp_path / "mnist" / "train-labels-idx1-ubyte").read_bytes()
    (tmp_path / "mnist" / "train-images-idx3-ubyte").write_bytes(labels)
    with pytest.raises(errors.InputError, match=r"0x00000801.*begins with 0x00000803"):
        data.load("mnist", tmp_path)


def test_announced_and_held_values_are_named(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(encode(np.zeros((3, 2, 2), np.uint8))[:-5])
    with pytest.raises(errors.InputError, match=r"announces 12 values.*but holds 7"):
        idx.read_idx(path, num_axes=3)


def test_file_that_ends_in_its_header_is_refused(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes([0, 0, 8, 3, 0, 0]))
    with pytest.raises(errors.InputError, match="ends within its header of 16 bytes"):
        idx.read_idx(path, num_axes=3)


def test_truncated_gzip_is_refused(tmp_path):
    write_set(tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(errors.InputError, match="cut off; fetch it again"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("damage", ["header", "body"])
def test_damaged_gzip_is_refused(tmp_path, damage):
    write_set(tmp_path / "mnist")
    path = tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    where = slice(0, 4) if damage == "header" else slice(2000, 2100)
    content[where] = bytes(len(content[where]))
    path.write_bytes(content)
    with pytest.raises(errors.InputError, match="is not a sound gzip file"):
        data.load("mnist", tmp_path)


def test_missing_file_says_which_and_where(tmp_path):
    write_set(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(errors.InputError) as caught:
        data.load("mnist", tmp_path)
    said = str(caught.value)
    assert '"t10k-labels-idx1-ubyte.gz"' in said
    assert f'"{tmp_path / "mnist"}" and "{tmp_path}"' in said
    assert "DISTILL_JAX_DATA" in said


def test_images_and_labels_of_different_number_are_refused(tmp_path):
    write_set(tmp_path / "mnist", ending="")
    path = tmp_path / "mnist" / "train-labels-idx1-ubyte"
    path.write_bytes(encode(np.zeros(39, np.uint8)))
    with pytest.raises(errors.InputError, match="has 40 inputs but 39 labels"):
        data.load("mnist", tmp_path)


def test_label_out_of_range_is_refused(tmp_path):
    write_set(tmp_path / "mnist", ending="")
    path = tmp_path / "mnist" / "t10k-labels-idx1-ubyte"
    path.write_bytes(encode(np.full(20, 11, np.uint8)))
    with pytest.raises(errors.InputError, match=r"label 11 \(example 0\) of the test"):
        data.load("mnist", tmp_path)


def test_class_without_example_is_refused(tmp_path):
    write_set(tmp_path / "mnist", ending="")
    path = tmp_path / "mnist" / "train-labels-idx1-ubyte"
    path.write_bytes(encode((np.arange(40) % 9).astype(np.uint8)))
    with pytest.raises(errors.InputError, match="Class 9 of the training set"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_real_sets_have_their_known_sizes(name, real_data_dir):
    loaded = data.load(name, real_data_dir)
    known = {
        "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        "fashion_mnist": [6000] * 10,
    }[name]
    both = np.concatenate([loaded.train.y, loaded.validation.y])
    assert np.bincount(both).tolist() == known
    assert loaded.train.x.shape == (54000, 28, 28, 1)
    assert loaded.validation.x.shape == (6000, 28, 28, 1)
    assert loaded.test.x.shape == (10000, 28, 28, 1)
    # The published mean and deviation are those of this very set.
    seen = (loaded.train.x[:5000] / 255 - loaded.spec.normalizer.mean[0]) / (
        loaded.spec.normalizer.std[0]
    )
    assert abs(seen.mean()) < 0.02
    assert abs(seen.std() - 1) < 0.02


def test_a_packed_file_is_unpacked_only_as_far_as_it_announces(tmp_path):
    write_set(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    more = gzip.compress(bytes(2**20)) * 64
    path.write_bytes(path.read_bytes() + more)
    tracemalloc.start()
    try:
        with pytest.raises(errors.InputError, match="holds 31361 or more"):
            data.load("mnist", tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_what_a_small_packed_file_announces_is_weighed_first(tmp_path):
    write_set(tmp_path)
    for name, shape in (("images-idx3", (10**7, 28, 28)), ("labels-idx1", (10**7,))):
        head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}i", *shape)
        path = tmp_path / f"train-{name}-ubyte.gz"
        path.write_bytes(gzip.compress(head + bytes(2**20)))
    with pytest.raises(errors.InputError, match="cannot be unpacked to so much"):
        data.load("mnist", tmp_path)


def test_heads_are_compared_before_pictures_are_read(tmp_path, monkeypatch):
    write_set(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(encode(np.zeros(39, np.uint8))))
    monkeypatch.setattr(idx, "read_idx", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(errors.InputError, match="has 40 inputs but 39 labels"):
        data.load("mnist", tmp_path)
