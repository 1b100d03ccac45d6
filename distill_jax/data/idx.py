# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The IDX files of MNIST and the sets made in its image.

    magic number (0, 0, type, number of axes), each axis as a big-endian uint32, values

The type of all sets read here is 8, unsigned bytes. Files may be gzipped, and have a
dot in place of the second dash, as ``train-images.idx3-ubyte``.

Reference:
  LeCun, Cortes & Burges, "The MNIST database of handwritten digits" (1998).
"""

import gzip
import io
import math
import os
import pathlib

import numpy as np

from distill_jax import errors
from distill_jax.data import dataset, files
from distill_jax.storage import bounds

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
    splits = [_read_split(name, data_dir, split) for split in ("train", "t10k")]
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
    with files.opened(path) as file:
        shape = _shape(path, file, num_axes)
        size, packed = math.prod(shape), path.stat().st_size
        bounds.check_size(size, packed=packed, what=f'The file "{path}"')
        content = file.read(size)
        num = len(content) + len(file.read(1 if path.suffix == ".gz" else packed))
    if num != size:
        more = " or more" if num > size and path.suffix == ".gz" else ""
        raise errors.InputError(
            f'The file "{path}" announces {size} values (shape {shape}) but holds '
            f"{num}{more}; it was cut off or damaged, fetch it again."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_split(name: str, data_dir, split: str) -> dataset.Arrays:
    """Images and labels of one split, whose heads must agree before they are read."""
    kinds = {f"{split}-images-idx3-ubyte": 3, f"{split}-labels-idx1-ubyte": 1}
    paths, numbers = [], []
    for file_name, num_axes in kinds.items():
        names = [file_name, f"{file_name}.gz"]
        path = files.find(name, data_dir, names, other_names=_spellings(file_name))
        with files.opened(path) as file:
            numbers.append(_shape(path, file, num_axes)[0])
        paths.append(path)
    if numbers[0] != numbers[1]:
        raise errors.InputError(
            f'The file "{paths[0]}" has {numbers[0]} inputs but {numbers[1]} labels '
            f'are in "{paths[1]}"; there must be one label for every input.'
        )
    x = read_idx(paths[0], num_axes=3)[..., None]
    return dataset.Arrays(x, read_idx(paths[1], num_axes=1).astype("i4"))


def _spellings(file_name: str) -> list[str]:
    """The names that a file may have besides the official one."""
    dotted = file_name.replace("-idx", ".idx")
    plain = [dotted, f"{file_name}/{file_name}", f"{dotted}/{dotted}"]
    return plain + [f"{name}.gz" for name in plain]


def _shape(
    path: pathlib.Path, file: gzip.GzipFile | io.BufferedReader, num_axes: int
) -> tuple[int, ...]:
    """The sizes that the head of a file announces."""
    head = file.read(4 + 4 * num_axes)
    expected = bytes([0, 0, 8, num_axes])
    if head[:4] != expected:
        raise errors.InputError(
            f'The file "{path}" begins with 0x{head[:4].hex()}, but an IDX file of '
            f"bytes with {num_axes} axes begins with 0x{expected.hex()}; it is another "
            "kind of file, or images and labels are exchanged."
        )
    if len(head) < 4 + 4 * num_axes:
        raise errors.InputError(
            f'The file "{path}" ends within its header of {4 + 4 * num_axes} bytes; '
            "fetch it again."
        )
    return tuple(np.frombuffer(head, ">u4", num_axes, offset=4).tolist())
