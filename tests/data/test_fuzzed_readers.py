# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Readers of data sets meet 200 seeded changes of each of their files.

A changed file is read, or refused in a sentence. Nothing else is raised, the process
does not end, and none takes long or much memory.
"""

import gzip
import io
import pickle

import fuzzing
import mutations
import numpy as np
import PIL.Image
import pytest
import scipy.io

from distill_jax import data

random = np.random.default_rng(0)
Y = (np.arange(20) % 10).astype(np.uint8)
FINE = np.arange(100, dtype=np.uint8)  # Of CIFAR-100.


def numbers(*shape, num=20):
    return random.integers(0, 256, (num, *shape), dtype=np.uint8)


def idx_content(array):
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.tobytes()


def mnist(pack):
    files = {}
    for split in ("train", "t10k"):
        for kind, array in (("images-idx3", numbers(4, 4)), ("labels-idx1", Y)):
            content = idx_content(array)
            name = f"{split}-{kind}-ubyte"
            files[f"{name}.gz" if pack else name] = pack(content) if pack else content
    return files


def cifar100(protocol):
    content = {b"names": ["a"] * 9, b"fine_labels": FINE.tolist()}
    content |= {b"coarse_labels": FINE, b"data": numbers(3072, num=100)}
    content = pickle.dumps(content, protocol)
    return {"train": content, "test": content}


def records():
    return np.c_[FINE, FINE, numbers(3072, num=100)].tobytes()


def mat(is_packed):
    stream = io.BytesIO()
    x = np.moveaxis(numbers(32, 32, 3), 0, -1)
    content = {"X": x, "y": Y[:, None] + 1.0, "name": "words", "cells": {"a": 1}}
    scipy.io.savemat(stream, content, do_compression=is_packed)
    return {f"{split}_32x32.mat": stream.getvalue() for split in ("train", "test")}


def npz(save, **more):
    stream = io.BytesIO()
    save(stream, x_train=numbers(3, 2), y_train=Y, **more)
    return {"mine.npz": stream.getvalue()}


def usps():
    stream = io.BytesIO()
    x = numbers(2, 2).astype(np.int16)
    np.savez(
        stream,
        **{"train_images_milli": x, "train_labels": Y},
        **{"test_images_milli": x, "test_labels": Y},
    )
    return {"usps.npz": stream.getvalue()}


def pictures(form, mode="RGB", **options):
    files = {}
    for number in range(12):
        stream = io.BytesIO()
        picture = PIL.Image.fromarray(numbers(5, 3)[0]).convert(mode)
        picture.save(stream, form, **options)
        files[f"{number % 2}/{number}.{form.lower()}"] = stream.getvalue()
    return files


SETS = {
    "idx": ("mnist", mnist(None)),
    "idx, packed": ("mnist", mnist(gzip.compress)),
    "cifar, protocol 2": ("cifar100", cifar100(2)),
    "cifar, protocol 5": ("cifar100", cifar100(5)),
    "cifar, binary": (
        "cifar100",
        dict.fromkeys(("train.bin", "test.bin"), records()),
    ),
    "mat": ("svhn", mat(False)),
    "mat, packed": ("svhn", mat(True)),
    "npz": ("npz:mine.npz", npz(np.savez)),
    "npz, packed": (
        "npz:mine.npz",
        npz(np.savez_compressed, x_test=numbers(3, 2), y_test=Y),
    ),
    "usps": ("usps", usps()),
    "png": ("folder:", pictures("PNG")),
    "png with a palette": ("folder:", pictures("PNG", "P")),
    "jpeg": ("folder:", pictures("JPEG")),
    "gif": ("folder:", pictures("GIF", "P")),
    "tiff": ("folder:", pictures("TIFF", compression="tiff_lzw")),
    "bmp": ("folder:", pictures("BMP")),
    "ppm": ("folder:", pictures("PPM")),
    "webp": ("folder:", pictures("WEBP")),
}


def load(name, folder):
    """What a set in a folder says of its content."""
    prefix, is_own, rest = name.partition(":")
    if is_own:
        name = f"{prefix}:{folder / rest}"
    loaded = data.load(name, folder)
    return loaded.spec.fingerprint, loaded.spec.class_names


@pytest.mark.parametrize("kind", SETS)
def test_changed_files_are_read_or_refused_in_a_sentence(kind, tmp_path):
    name, files = SETS[kind]
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)

    def change(seed):
        path = sorted(files)[seed % len(files)]
        (tmp_path / path).write_bytes(mutations.of_bytes(files[path], seed))
        return lambda: (tmp_path / path).write_bytes(files[path])

    fuzzing.check(kind, lambda: load(name, tmp_path), change)
