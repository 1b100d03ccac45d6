# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The records of a data set in memory, and the checks that every source passes.

Arrays keep the type and scale of their source (uint8 pixels, int16 thousandths, float32
features); what networks see is ``normalize(spec.normalizer, x)``, computed inside jit.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from distill_jax import errors
from distill_jax.data import spec as specs

__all__ = [
    "Arrays",
    "DataSpec",
    "Dataset",
    "RawSet",
    "check_examples",
    "check_num_per_class",
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
    """What a reader returns: two splits as they were found, and how to read them."""

    train: Arrays
    test: Arrays | None  # None: a part of `train` becomes the test set
    class_names: tuple[str, ...]  # none where `y` are values
    scale: float = 1 / 255  # raw value -> unit value
    pixel_range: tuple[float, float] = (0.0, 1.0)  # unit values of black and white


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory: three disjoint splits and what is known about them.

    Attributes:
      train: what is distilled and what statistics are fitted on.
      validation: a stratified part of the training set of the source; what
        hyper-parameters are chosen on. Empty with ``validation_fraction=0``.
      test: what results are reported on.
      spec: names, shapes, normaliser.
      rows: for each split, [N] int32, where its examples stood in the file that they
        were read from: what names an example whatever was split off or selected. The
        rows of "train" and "validation" are of one file, those of "test" of its own,
        or of the same where the source has no test set. By default ``0 .. N - 1``;
        -1, unknown, where a split was replaced by one of another length.
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


def check_examples(
    x: np.ndarray,
    y: np.ndarray,
    *,
    num_classes: int,
    what: str,
    needs_every_class: bool = False,
) -> None:
    """Raises unless the examples of one split can be learned from.

    Args:
      x: inputs ``[N, ...]``.
      y: classes ``[N]``, or values ``[N, T]``.
      num_classes: ``C``; classes are ``0 .. C - 1``. 0 for values.
      what: the words that name this split in an error, as in "the test set of mnist".
      needs_every_class: whether each class must have an example.

    Raises:
      InputError: when the lengths differ, there is no example, a label is out of
        range, an input or a target is not finite, or a class has no example.

    Example:
      >>> check_examples(np.zeros((2, 3)), np.array([0, 2]), num_classes=2, what="it")
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The label 2 (example 1) of it is outside 0 .. 1; \
labels must count from 0 to the number of classes less one.
    """
    if len(x) != len(y):
        raise errors.InputError(
            f"{_capital(what)} has {len(x)} inputs but {len(y)} labels; there must be "
            "one label for every input."
        )
    if len(x) == 0 or x.size == 0:
        raise errors.InputError(
            f"{_capital(what)} is empty (shape {x.shape}); it needs at least one "
            "example of at least one value."
        )
    if not num_classes:
        _check_finite(x, what)
        _check_finite(y, f"the targets of {what}")
        return
    wrong = np.flatnonzero((y < 0) | (y >= num_classes))
    if wrong.size:
        raise errors.InputError(
            f"The label {y[wrong[0]]} (example {wrong[0]}) of {what} is outside 0 .. "
            f"{num_classes - 1}; labels must count from 0 to the number of classes "
            "less one."
        )
    _check_finite(x, what)
    if needs_every_class:
        empty = np.flatnonzero(np.bincount(y, minlength=num_classes) == 0)
        if empty.size:
            raise errors.InputError(
                f"Class {empty[0]} of {what} has no example; each of the "
                f"{num_classes} classes needs one, so leave the class out and number "
                "the others from 0 without a gap."
            )


def check_num_per_class(
    dataset_or_labels: Dataset | np.ndarray | Sequence[int],
    num_per_class: int,
    num_classes: int | None = None,
    what: str = "the training set",
) -> None:
    """Raises unless every class has the number of examples that is asked for.

    Args:
      dataset_or_labels: a data set, whose training part is looked at, or classes
        ``[N]``.
      num_per_class: how many examples of each class are wanted.
      num_classes: ``C``; needed only with plain labels, and there the largest label
        plus one where it is not given.
      what: the words that name the examples in an error.

    Raises:
      InputError: when the number is not a positive integer, or a class has fewer.

    Example:
      >>> check_num_per_class([0, 0, 1], 2)
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: `num_per_class` is 2, but class 1 of the training \
set has only 1; use at most 1 per class.
    """
    is_integer = isinstance(num_per_class, int | np.integer)
    if not is_integer or isinstance(num_per_class, bool) or num_per_class < 1:
        raise errors.InputError(
            f"`num_per_class` must be a positive integer, got {num_per_class!r}."
        )
    if isinstance(dataset_or_labels, Dataset):
        num_classes = dataset_or_labels.spec.num_classes
        labels = dataset_or_labels.train.y
        if not num_classes:
            _check_num_examples(num_per_class, len(labels), what)
            return
    else:
        labels = np.asarray(dataset_or_labels)
    if labels.ndim == 2:
        num_classes = labels.shape[1]
        labels = labels.argmax(axis=1)
    count = np.bincount(labels, minlength=num_classes or 0)
    smallest = int(count.argmin()) if count.size else 0
    fewest = int(count.min(initial=len(labels)))
    if num_per_class > fewest:
        advice = (
            f"use at most {fewest} per class."
            if fewest
            else "every class needs examples."
        )
        raise errors.InputError(
            f"`num_per_class` is {num_per_class}, but class {smallest} of {what} has "
            f"only {fewest}; {advice}"
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


def _check_num_examples(num: int, num_train: int, what: str) -> None:
    """Raises where more examples are wanted than there are."""
    if num > num_train:
        raise errors.InputError(
            f"`num_examples` is {num}, but {what} has only {num_train}; use at most "
            f"{num_train}."
        )


def _check_finite(x: np.ndarray, what: str) -> None:
    """Raises at the first value of floating inputs that is not finite."""
    if not np.issubdtype(x.dtype, np.floating):
        return
    is_finite = np.isfinite(x.reshape(len(x), -1)).all(axis=1)
    if not is_finite.all():
        raise errors.InputError(
            f"Example {int(is_finite.argmin())} of {what} holds a value that is not "
            "finite (NaN or infinity); remove or fill such values first."
        )


def _capital(sentence: str) -> str:
    """The sentence with a capital first letter."""
    return sentence[:1].upper() + sentence[1:]
