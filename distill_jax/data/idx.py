# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The IDX files of MNIST and the sets made in its image.

    magic number (0, 0, type, number of axes), each axis as a big-endian uint32, values

The type of all sets read here is 8, unsigned bytes. Files may be gzipped.

Reference:
  LeCun, Cortes & Burges, "The MNIST database of handwritten digits" (1998).
"""

import math
import os
import pathlib

import numpy as np

from distill_jax import errors
from distill_jax.data import dataset, files

__all__ = ["CLASS_NAMES", "read", "read_idx"]

CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion_mnist": (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}


def read(name: str, data_dir: str | os.PathLike | None) -> dataset.RawSet:
    """Reads one of the sets in the form of MNIST.

    Args:
      name: "mnist", "fashion_mnist" or "kmnist".
      data_dir: a folder, or ``None`` for the one that the environment names.

    Returns:
      The two splits, images ``[N, 28, 28, 1]`` uint8.

    Raises:
      InputError: when a file is missing, damaged, or not what it should be.

    Example:
      >>> read("mnist", "/")
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The data set "mnist" needs the file \
"train-images-idx3-ubyte" or "train-images-idx3-ubyte.gz", which is in none of \
"/mnist" and "/"; put it there, or let `data_dir` or DISTILL_JAX_DATA name the folder \
that has it.
    """
    splits = [
        dataset.Arrays(
            x=_read_one(name, data_dir, f"{split}-images-idx3-ubyte", 3)[..., None],
            y=_read_one(name, data_dir, f"{split}-labels-idx1-ubyte", 1).astype("i4"),
        )
        for split in ("train", "t10k")
    ]
    return dataset.RawSet(splits[0], splits[1], CLASS_NAMES[name])


def read_idx(path: str | os.PathLike, *, num_axes: int) -> np.ndarray:
    """Reads one IDX file of unsigned bytes.

    Args:
      path: the file, gzipped where its name ends in ``.gz``.
      num_axes: the number of axes it must have, 3 for images and 1 for labels.

    Returns:
      A uint8 array.

    Raises:
      InputError: when the magic number or the length is wrong.

    Example:
      >>> import tempfile, pathlib
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "labels")
      ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
      ...     read_idx(path, num_axes=1).tolist()
      [7, 9]
    """
    path = pathlib.Path(path)
    content = files.read_bytes(path)
    expected = bytes([0, 0, 8, num_axes])
    if content[:4] != expected:
        raise errors.InputError(
            f'The file "{path}" begins with 0x{content[:4].hex()}, but an IDX file of '
            f"bytes with {num_axes} axes begins with 0x{expected.hex()}; it is another "
            "kind of file, or images and labels are exchanged."
        )
    header = 4 + 4 * num_axes
    if len(content) < header:
        raise errors.InputError(
            f'The file "{path}" ends within its header of {header} bytes; fetch it '
            "again."
        )
    shape = tuple(np.frombuffer(content, ">u4", num_axes, offset=4).tolist())
    if len(content) - header != math.prod(shape):
        raise errors.InputError(
            f'The file "{path}" announces {math.prod(shape)} values (shape {shape}) '
            f"but holds {len(content) - header}; it was cut off or "
            "damaged, fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_one(name, data_dir, file_name: str, num_axes: int) -> np.ndarray:
    """Finds and reads one file, plain or gzipped."""
    path = files.find(name, data_dir, [file_name, f"{file_name}.gz"])
    return read_idx(path, num_axes=num_axes)
