# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Street View House Numbers, cropped digits, from its MATLAB files.

The label 10 of the files stands for the digit 0 and becomes class 0.

Reference:
  Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning"
  (2011).
"""

import math
import os

import numpy as np

from distill_jax import errors
from distill_jax.data import dataset, files, matlab

__all__ = ["read"]


def read(name: str, data_dir: str | os.PathLike | None) -> dataset.RawSet:
    """Reads ``train_32x32.mat`` and ``test_32x32.mat``.

    Args:
      name: "svhn".
      data_dir: a folder, or ``None`` for the one that the environment names.

    Returns:
      The two splits, images ``[N, 32, 32, 3]`` uint8.

    Raises:
      InputError: when a file is missing, damaged, or not what it should be.

    Example:
      >>> read("svhn", "/")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The data set "svhn" needs the file ...
    """
    train = _read_one(files.find(name, data_dir, ["train_32x32.mat"]))
    test = _read_one(files.find(name, data_dir, ["test_32x32.mat"]))
    return dataset.RawSet(train, test, tuple("0123456789"))


def _read_one(path) -> dataset.Arrays:
    """Reads one file: `X` [32, 32, 3, N] and `y` [N, 1] from 1 to 10."""

    def check(headers):
        x, y = headers.get("X"), headers.get("y")
        is_images = x and x.dtype == np.uint8 and x.shape[:3] == (32, 32, 3)
        if not is_images or not y or len(x.shape) != 4 or 0 in y.shape:
            raise errors.InputError(
                f'The file "{path}" must hold bytes "X" of shape (32, 32, 3, N) and '
                'labels "y"; take the files of cropped digits.'
            )
        num = math.prod(y.shape)
        if num != x.shape[3] or y.dtype.kind == "c":
            raise errors.InputError(
                f'The file "{path}" holds {x.shape[3]} images but {num} labels of '
                f"the type {y.dtype}; fetch it again."
            )

    content = matlab.read_arrays(path, ("X", "y"), check_fn=check)
    images = np.ascontiguousarray(np.moveaxis(content["X"], -1, 0))
    y = content["y"].reshape(-1).astype(np.float64)
    labels = np.where(y == np.floor(y), y, -1).clip(-1, 11).astype(np.int32)
    return dataset.Arrays(images, np.where(labels == 10, 0, labels))
