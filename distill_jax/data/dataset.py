# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The records of a data set in memory.

Arrays keep the type and scale of their source (uint8 pixels, int16 thousandths, float32
features); what networks see is ``normalize(spec.normalizer, x)``, computed inside jit.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from distill_jax.data import spec as specs

__all__ = [
    "Arrays",
    "DataSpec",
    "Dataset",
    "RawSet",
    "describe",
    "fingerprint",
    "groups_of",
]

DataSpec = specs.DataSpec
SPLITS = ("train", "validation", "test")


class Arrays(NamedTuple):
    """The examples of one split, on the host."""

    x: np.ndarray  # [N, ...] in the source's own type
    y: np.ndarray  # [N] int32 class, or [N, C] float32 targets, [N, T] values


class RawSet(NamedTuple):
    """What a reader returns: the splits as they were found, and how to read them."""

    train: Arrays
    test: Arrays | None  # None: a part of `train` becomes the test set
    class_names: tuple[str, ...]  # none where `y` are values
    scale: float = 1 / 255  # raw value -> unit value
    pixel_range: tuple[float, float] = (0.0, 1.0)  # unit values of black and white
    validation: Arrays | None = None  # None: so does another


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory: three disjoint splits and what is known about them.

    Attributes:
      train: what is distilled and what statistics are fitted on.
      validation: what hyper-parameters are chosen on: the validation set of the source
        where it has one, else a stratified part of its training set. Empty with
        ``validation_fraction=0``.
      test: what results are reported on.
      spec: names, shapes, normaliser.
      rows: for each split, [N] int32, where its examples stood in the file that they
        were read from: what names an example whatever was split off or selected. The
        rows of "train" are of one file, those of "validation" and of "test" of their
        own, or of the same where the source has no such set. By default
        ``0 .. N - 1``; -1, unknown, where a split was replaced by one of another
        length.
    """

    train: Arrays
    validation: Arrays
    test: Arrays
    spec: DataSpec
    rows: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        count = {name: len(getattr(self, name).y) for name in SPLITS}
        usual = {name: np.arange(num, dtype=np.int32) for name, num in count.items()}
        rows = {**usual, **self.rows}
        for name, num in count.items():
            if len(rows[name]) != num:  # Another split was put in its place.
                rows[name] = np.full(num, -1, np.int32)
        object.__setattr__(self, "rows", rows)

    def __str__(self) -> str:
        return describe(self)


def describe(dataset: Dataset) -> str:
    """Says in one line what a data set is.

    Args:
      dataset: a loaded data set.

    Returns:
      Its name, sizes, shape, type, number of classes or targets, and normalisation.

    Example:
      >>> import distill_jax as dj
      >>> dj.data.describe(dj.data.load("digits"))  # doctest: +NORMALIZE_WHITESPACE
      'digits: 960 train, 240 validation and 597 test examples of 8x8x1 uint8
       in 10 classes, normalization "fitted"'
    """
    spec = dataset.spec
    shape = "x".join(str(size) for size in spec.shape)
    targets = "target" if spec.num_targets == 1 else "targets"
    kinds = f"in {spec.num_classes} classes"
    if spec.num_targets:
        kinds = f"with {spec.num_targets} {targets}"
    return (
        f"{spec.name}: {len(dataset.train.y)} train, {len(dataset.validation.y)} "
        f"validation and {len(dataset.test.y)} test examples of {shape} "
        f"{dataset.train.x.dtype} {kinds}, "
        f'normalization "{spec.normalization}"'
    )


def groups_of(y: np.ndarray, num_classes: int) -> np.ndarray:
    """Tells the class of each example, or 0 for all where targets are values.

    Args:
      y: classes ``[N]``, class probabilities ``[N, C]``, or values ``[N, T]``.
      num_classes: ``C``; 0 for values, which are one group.

    Returns:
      [N] int32.

    Example:
      >>> groups_of(np.array([2, 0]), 3).tolist()
      [2, 0]
      >>> groups_of(np.array([[0.5], [-3.0]]), 0).tolist()
      [0, 0]
    """
    y = np.asarray(y)
    if not num_classes:
        return np.zeros(len(y), np.int32)
    return (y if y.ndim == 1 else y.argmax(axis=1)).astype(np.int32)


def fingerprint(arrays: Iterable[np.ndarray], kind: str) -> str:
    """The sha256 of arrays (type, shape and bytes) and a word.

    Args:
      arrays: what was read, in a fixed order.
      kind: what was done with it: the kind of normaliser.

    Returns:
      64 hexadecimal digits, the same on every machine.

    Example:
      >>> fingerprint([np.arange(3, dtype=np.uint8)], "none")[:8]
      'e4fbc4a8'
    """
    digest = hashlib.sha256(kind.encode())
    for array in arrays:
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{little.dtype.str}{little.shape}".encode())
        digest.update(np.ascontiguousarray(little).data)
    return digest.hexdigest()
