# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""CIFAR in both forms, and pickles that name foreign code."""

import os
import pathlib
import pickle
import struct

import numpy as np
import pytest

from distill_jax import data, errors
from distill_jax.data import cifar

TRAIN = [f"data_batch_{i}" for i in range(1, 6)]


def python2_pickle(pixels, labels, key=b"labels"):
    """A batch as the cPickle of Python 2 wrote it: protocol 2, texts as `U` strings."""

    def text(content):
        return b"U" + bytes([len(content)]) + content

    shape = b"M" + struct.pack("<H", len(pixels)) + b"M\x00\x0c\x86"
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        + (b"K\x00\x85" + text(b"b") + b"\x87R(K\x01" + shape)
        + (b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|"))
        + (b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89")
        + (b"T" + struct.pack("<I", pixels.size) + pixels.tobytes() + b"tb")
    )
    entries = text(key) + b"](" + numbers + b"e" + text(b"data") + array
    return b"\x80\x02}(" + entries + b"u."


def python3_pickle(pixels, labels, key=b"labels"):
    return pickle.dumps({b"data": pixels, key: list(labels)}, protocol=2)


def batch(seed, num=20, num_classes=10):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (num, 3072)).astype(np.uint8)
    return pixels, [i % num_classes for i in range(num)]


def to_images(pixels):
    """Red plane, green plane, blue plane -> colour last, written out by index."""
    images = np.empty((len(pixels), 32, 32, 3), np.uint8)
    for channel in range(3):
        plane = pixels[:, 1024 * channel : 1024 * (channel + 1)]
        images[..., channel] = plane.reshape(-1, 32, 32)
    return images


def write_python(folder, encode=python2_pickle):
    folder.mkdir(parents=True, exist_ok=True)
    batches = [batch(seed) for seed in range(6)]
    for name, (pixels, labels) in zip([*TRAIN, "test_batch"], batches, strict=True):
        (folder / name).write_bytes(encode(pixels, labels))
    return batches


def check_cifar10(loaded, batches):
    train = np.concatenate([pixels for pixels, _ in batches[:5]])
    np.testing.assert_array_equal(loaded.train.x, to_images(train))
    np.testing.assert_array_equal(loaded.test.x, to_images(batches[5][0]))
    np.testing.assert_array_equal(loaded.train.y, list(range(10)) * 10)
    assert loaded.train.y.dtype == np.int32
    assert loaded.spec.class_names[3] == "cat"


@pytest.mark.parametrize("encode", [python2_pickle, python3_pickle])
@pytest.mark.parametrize(
    "inside",
    ["cifar10/cifar-10-batches-py", "cifar-10-batches-py", "cifar10", "."],
)
def test_python_form_is_found_and_read(tmp_path, inside, encode):
    batches = write_python(tmp_path / inside, encode)
    check_cifar10(data.load("cifar10", tmp_path, validation_fraction=0), batches)


@pytest.mark.parametrize("inside", ["cifar10/cifar-10-batches-bin", "."])
def test_binary_form_is_found_and_read(tmp_path, inside):
    folder = tmp_path / inside
    folder.mkdir(parents=True, exist_ok=True)
    batches = [batch(seed) for seed in range(6)]
    for name, (pixels, labels) in zip([*TRAIN, "test_batch"], batches, strict=True):
        records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    check_cifar10(data.load("cifar10", tmp_path, validation_fraction=0), batches)


def test_cifar100_takes_the_fine_labels_of_both_forms(tmp_path):
    python, binary = tmp_path / "a" / "cifar-100-python", tmp_path / "b"
    binary /= "cifar100/cifar-100-binary"
    python.mkdir(parents=True)
    binary.mkdir(parents=True)
    for split, seed in (("train", 0), ("test", 1)):
        pixels, fine = batch(seed, 100, 100)
        (python / split).write_bytes(python2_pickle(pixels, fine, b"fine_labels"))
        coarse = np.full((100, 1), 7, np.uint8)
        records = [coarse, np.array(fine, np.uint8)[:, None], pixels]
        (binary / f"{split}.bin").write_bytes(np.concatenate(records, 1).tobytes())
    first = data.load("cifar100", tmp_path / "a")
    second = data.load("cifar100", tmp_path / "b")
    np.testing.assert_array_equal(first.train.x, second.train.x)
    assert first.spec.fingerprint == second.spec.fingerprint
    # One example of each class: none can be spared for validation.
    assert first.train.y.tolist() == list(range(100))
    assert first.spec.class_names[99] == "worm"
    assert first.spec.num_classes == 100


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("is_text", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        np.array,
        lambda y: [np.int64(label) for label in y],
        lambda y: np.array(y, ">u2")[:, None],
    ],
    ids=["list", "tuple", "array", "numbers of numpy", "a column, big-endian"],
)
def test_a_set_that_was_pickled_again_is_read(tmp_path, protocol, is_text, form):
    def encode(pixels, labels):
        content = {"labels": form(labels), "data": np.asfortranarray(pixels)}
        if not is_text:
            content = {key.encode(): value for key, value in content.items()}
        return pickle.dumps(content, protocol)

    batches = write_python(tmp_path, encode)
    check_cifar10(data.load("cifar10", tmp_path, validation_fraction=0), batches)


@pytest.mark.parametrize("form", [list, np.array])
@pytest.mark.parametrize("label", [2**32, 2**63 - 1, -(2**40)])
def test_a_label_that_is_no_small_number_does_not_become_one(tmp_path, form, label):
    encode = lambda pixels, y: pickle.dumps({"data": pixels, "labels": form(y)}, 4)
    write_python(tmp_path, encode)
    pixels, labels = batch(9)
    (tmp_path / "test_batch").write_bytes(encode(pixels, [label, *labels[1:]]))
    with pytest.raises(errors.InputError, match=r"outside 0 \.\. 9"):
        data.load("cifar10", tmp_path)


class Evil:
    """Writes a file when it is unpickled by a reader that trusts it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_pickle_that_names_foreign_code_is_refused_and_not_run(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_python(folder)
    victim = tmp_path / "victim"
    content = pickle.dumps({b"data": Evil(victim), b"labels": [0]}, protocol=2)
    (folder / "data_batch_3").write_bytes(content)
    with pytest.raises(errors.InputError, match=r"names the code \w+\.system, which"):
        data.load("cifar10", tmp_path)
    assert not victim.exists()
    pickle.loads(content)  # It is indeed dangerous to others.
    assert victim.exists()


@pytest.mark.parametrize(
    "danger", [eval, exec, getattr, __import__, open, pathlib.Path]
)
def test_builtins_that_act_are_refused(danger):
    with pytest.raises(errors.InputError, match="refused and not run"):
        cifar.restricted_loads(pickle.dumps(danger))


@pytest.mark.parametrize("protocol", range(5))
def test_plain_content_of_any_protocol_is_read(protocol):
    content = {
        "a": [1, 2.5, None, True],
        "b": (b"bytes", {"set"}, bytearray(b"x"), 1 + 2j),
        "c": np.arange(6, dtype=np.int16).reshape(2, 3),
    }
    read = cifar.restricted_loads(pickle.dumps(content, protocol))
    np.testing.assert_array_equal(read.pop("c"), content.pop("c"))
    assert read == content


@pytest.mark.parametrize("length", [0, 1, 40, 5000])
def test_truncated_pickle_is_refused(tmp_path, length):
    folder = tmp_path / "cifar-10-batches-py"
    write_python(folder)
    path = folder / "data_batch_2"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(errors.InputError, match=r"data_batch_2.* cut off or damaged"):
        data.load("cifar10", tmp_path)


def test_truncated_binary_is_refused(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073 * 2 - 1))
    with pytest.raises(errors.InputError, match=r"6145 bytes.*records of 3073 bytes"):
        data.load("cifar10", tmp_path)


def test_missing_batch_is_named(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_python(folder)
    (folder / "data_batch_4").unlink()
    with pytest.raises(errors.InputError, match='"data_batch_4", which is missing'):
        data.load("cifar10", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {b"data": np.zeros((2, 3072), np.uint8)},
        {b"data": np.zeros((2, 3072)), b"labels": [0, 1]},
        {b"data": np.zeros((2, 100), np.uint8), b"labels": [0, 1]},
        {b"data": np.zeros((2, 3072), np.uint8), b"labels": ["a", "b"]},
    ],
)
def test_pickle_of_something_else_is_refused(tmp_path, content):
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(errors.InputError, match="is not a batch of CIFAR"):
        data.load("cifar10", tmp_path)


def test_images_and_labels_of_different_number_are_refused(tmp_path):
    pixels, labels = batch(0)
    (tmp_path / "data_batch_1").write_bytes(python2_pickle(pixels, labels[:-1]))
    with pytest.raises(errors.InputError, match="20 images but 19 labels"):
        data.load("cifar10", tmp_path)


def test_label_out_of_range_is_refused(tmp_path):
    write_python(tmp_path)
    pixels, labels = batch(9)
    (tmp_path / "test_batch").write_bytes(python2_pickle(pixels, [10, *labels[1:]]))
    with pytest.raises(errors.InputError, match=r"label 10 .* outside 0 \.\. 9"):
        data.load("cifar10", tmp_path)
