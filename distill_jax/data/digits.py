# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scikit-learn's handwritten digits, and the hundred classes made of pairs of them.

Both are embedded in scikit-learn: nothing is read from disk. The 1797 images are
permuted with ``RandomState(0)``; the first 1200 are for training, the last 597 for
testing.

Digits-100: class ``10 a + b`` is a picture of the digit ``a`` with a picture of ``b``
to its right, drawn with replacement from the split's own images, 100 of each class for
training and 20 for testing. Classes that share a digit are alike, so that it is known
which soft labels are right.
"""

import importlib.util
import os
import pathlib

import numpy as np

from distill_jax.data import dataset

__all__ = ["read_digits", "read_digits100"]

NUM_TRAIN = 1200
SCALE = 1 / 16  # Pixels are 0 .. 16.


def read_digits(name: str, data_dir: str | os.PathLike | None) -> dataset.RawSet:
    """Reads scikit-learn's digits.

    Args:
      name: "digits", unused.
      data_dir: unused.

    Returns:
      1200 training and 597 test images ``[N, 8, 8, 1]``, uint8 from 0 to 16.

    Example:
      >>> raw = read_digits("digits", None)
      >>> raw.train.x.shape, raw.test.x.shape, int(raw.train.x.max())
      ((1200, 8, 8, 1), (597, 8, 8, 1), 16)
    """
    del name, data_dir  # Embedded in scikit-learn.
    train, test, _ = _pools()
    return dataset.RawSet(train, test, tuple("0123456789"), SCALE)


def read_digits100(name: str, data_dir: str | os.PathLike | None) -> dataset.RawSet:
    """Makes Digits-100.

    Args:
      name: "digits100", unused.
      data_dir: unused.

    Returns:
      10 000 training and 2 000 test images ``[N, 8, 16, 1]``, uint8 from 0 to 16,
      class-major.

    Example:
      >>> raw = read_digits100("digits100", None)
      >>> raw.train.x.shape, raw.test.x.shape, raw.class_names[42]
      ((10000, 8, 16, 1), (2000, 8, 16, 1), '42')
    """
    del name, data_dir  # Embedded in scikit-learn.
    train, test, generator = _pools()
    names = tuple(f"{pair:02d}" for pair in range(100))
    train = _pairs(generator, train, num_per_class=100)
    return dataset.RawSet(
        train, _pairs(generator, test, num_per_class=20), names, SCALE
    )


def _pools() -> tuple[dataset.Arrays, dataset.Arrays, np.random.RandomState]:
    """The two splits of the single digits, and the generator after their draw."""
    # The permutation that published numbers on this set were measured with.
    generator = np.random.RandomState(0)
    pixels, labels = _load()
    order = generator.permutation(len(labels))
    x = pixels[order].astype(np.uint8).reshape(-1, 8, 8, 1)
    y = labels[order].astype(np.int32)
    train = dataset.Arrays(x[:NUM_TRAIN], y[:NUM_TRAIN])
    return train, dataset.Arrays(x[NUM_TRAIN:], y[NUM_TRAIN:]), generator


def _load() -> tuple[np.ndarray, np.ndarray]:
    """Pixels [1797, 64] and classes, without the second that scikit-learn loads for."""
    spec = importlib.util.find_spec("sklearn")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = pathlib.Path(folder, "datasets", "data", "digits.csv.gz")
        if path.is_file():
            table = np.loadtxt(path, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    return pixels, labels


def _pairs(generator, pool: dataset.Arrays, *, num_per_class: int) -> dataset.Arrays:
    """Sets random digits side by side, for each ordered pair of digits."""
    rows = [np.flatnonzero(pool.y == digit) for digit in range(10)]
    pairs = [(left, right) for left in range(10) for right in range(10)]
    images = [
        np.concatenate(
            [
                pool.x[generator.choice(rows[left], num_per_class)],
                pool.x[generator.choice(rows[right], num_per_class)],
            ],
            axis=2,
        )
        for left, right in pairs
    ]
    y = np.repeat(np.arange(100, dtype=np.int32), num_per_class)
    return dataset.Arrays(np.concatenate(images), y)
