# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 and CIFAR-100, in their python and in their binary form.

The python form is a set of pickles, and a pickle can name any code to run. They are
read by :mod:`~distill_jax.data.plain_pickle`, which runs none.

Reference:
  Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009).
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.data import dataset, files, plain_pickle

__all__ = ["CLASS_NAMES", "read", "restricted_loads"]

restricted_loads = plain_pickle.restricted_loads

# fmt: off
CLASS_NAMES = {
    "cifar10": (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
        "truck",
    ),
    "cifar100": (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle",
        "bicycle", "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel",
        "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
        "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
        "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
        "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
        "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom",
        "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
        "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit",
        "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew",
        "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
        "sunflower", "sweet_pepper", "table", "tank", "telephone", "television",
        "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
        "willow_tree", "wolf", "woman", "worm",
    ),
}
# fmt: on

PIXELS = 3 * 32 * 32

# Folder of the python form, of the binary form, their files, the key of the labels,
# and the number of label bytes in the binary form, of which the last one counts.
PYTHON_FORM = {
    "cifar10": (
        "cifar-10-batches-py",
        ([f"data_batch_{i}" for i in range(1, 6)], ["test_batch"]),
        "labels",
    ),
    "cifar100": ("cifar-100-python", (["train"], ["test"]), "fine_labels"),
}
BINARY_FORM = {
    "cifar10": (
        "cifar-10-batches-bin",
        ([f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]),
        1,
    ),
    "cifar100": ("cifar-100-binary", (["train.bin"], ["test.bin"]), 2),
}


def read(name: str, data_dir: str | os.PathLike | None) -> dataset.RawSet:
    """Reads CIFAR-10 or CIFAR-100 (fine labels), whichever form is there.

    Args:
      name: "cifar10" or "cifar100".
      data_dir: a folder, or ``None`` for the one that the environment names. The files
        may lie in it, in its folder ``name``, or in the folder of the official archive
        within either.

    Returns:
      The two splits, images ``[N, 32, 32, 3]`` uint8.

    Raises:
      InputError: when a file is missing, cut off, or a pickle names foreign code.

    Example:
      >>> read("cifar10", "/")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The data set "cifar10" needs the file ...
    """
    python_folder, python_names, key = PYTHON_FORM[name]
    binary_folder, binary_names, num_label_bytes = BINARY_FORM[name]
    first = files.find(
        name,
        data_dir,
        [
            f"{python_folder}/{python_names[0][0]}",
            python_names[0][0],
            f"{binary_folder}/{binary_names[0][0]}",
            binary_names[0][0],
        ],
    )
    if first.suffix == ".bin":
        splits = [
            _join(first.parent, name, split, _read_binary, num_label_bytes)
            for split in binary_names
        ]
    else:
        splits = [
            _join(first.parent, name, split, _read_python, key)
            for split in python_names
        ]
    return dataset.RawSet(splits[0], splits[1], CLASS_NAMES[name])


def _join(
    folder: pathlib.Path, name: str, file_names: Sequence[str], read_fn, argument
) -> dataset.Arrays:
    """Reads the files of one split and joins them."""
    parts = []
    for file_name in file_names:
        path = folder / file_name
        if not path.is_file():
            raise errors.InputError(
                f'The data set "{name}" needs the file "{file_name}", which is missing '
                f'in "{folder}"; unpack the whole archive there.'
            )
        parts.append(read_fn(path, argument))
    pixels = np.concatenate([part[0] for part in parts])
    labels = np.concatenate([part[1] for part in parts])
    # Planes of colour to colour last, as a copy that is contiguous.
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return dataset.Arrays(np.ascontiguousarray(images), labels.astype(np.int32))


def _read_python(path: pathlib.Path, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads one pickle: pixels `[N, 3072]` and labels `[N]`."""
    content = restricted_loads(files.read_whole(path), path)
    if not isinstance(content, dict):
        content = {}
    pixels = content.get(b"data", content.get("data"))
    labels = _whole_numbers(content.get(key.encode(), content.get(key)))
    is_array = isinstance(pixels, np.ndarray)
    is_pixels = is_array and pixels.dtype == np.uint8 and pixels.shape[1:] == (PIXELS,)
    if labels is None or pixels is None or not is_pixels:
        raise errors.InputError(
            f'The pickle "{path}" is not a batch of CIFAR: it must hold "data", bytes '
            f'of shape (N, {PIXELS}), and the list of whole numbers "{key}".'
        )
    if len(labels) != len(pixels):
        raise errors.InputError(
            f'The pickle "{path}" holds {len(pixels)} images but {len(labels)} labels; '
            "fetch it again."
        )
    return pixels, labels


def _whole_numbers(labels: Any) -> np.ndarray | None:
    """Labels `[N]` of a list, a tuple or an array; None where they are no numbers."""
    if isinstance(labels, np.ndarray):
        is_column = labels.ndim == 2 and labels.shape[1] == 1
        labels = labels[:, 0] if is_column else labels
        is_numbers = labels.ndim == 1 and labels.dtype.kind in "iu"
    else:
        is_numbers = isinstance(labels, list | tuple) and all(
            isinstance(label, int | np.integer) for label in labels
        )
    if not is_numbers:
        return None
    small = np.iinfo(np.int32)  # What does not fit is no class; the checks name it.
    return np.array([min(max(int(y), small.min), small.max) for y in labels], np.int32)


def _read_binary(path: pathlib.Path, num_label_bytes: int):
    """Reads one binary file of records: label bytes, then pixels."""
    content = np.frombuffer(files.read_whole(path), np.uint8)
    record = num_label_bytes + PIXELS
    if content.size == 0 or content.size % record:
        raise errors.InputError(
            f'The file "{path}" has {content.size} bytes, which is not a whole number '
            f"of records of {record} bytes; it was cut off, fetch it again."
        )
    content = content.reshape(-1, record)
    return content[:, num_label_bytes:], content[:, num_label_bytes - 1]
