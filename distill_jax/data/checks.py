# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The checks that examples pass wherever they come from."""

from collections.abc import Sequence

import numpy as np

from distill_jax import errors
from distill_jax.data import dataset as datasets

__all__ = ["check_examples", "check_num_per_class", "check_splits", "small_labels"]


def check_splits(name: str, raw: datasets.RawSet) -> None:
    """Raises unless the splits that a reader returned can be learned from.

    Args:
      name: of the data set.
      raw: what was read.

    Raises:
      InputError: as :func:`check_examples` does for each split, or when there is one
        class alone.

    Example:
      >>> x = np.zeros((2, 3))
      >>> raw = datasets.RawSet(datasets.Arrays(x, np.zeros(2, int)), None, ("0",))
      >>> check_splits("mine", raw)
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The training set of "mine" has one class alone, \
"0": every network is right about it, so there is nothing to learn; name examples of \
two classes at least, or regress values with `targets="values"`.
    """
    num_classes = len(raw.class_names)
    check_examples(
        *raw.train,
        num_classes=num_classes,
        what=f'the training set of "{name}"',
        needs_every_class=True,
    )
    for kind, part in (("test", raw.test), ("validation", raw.validation)):
        if part is not None:
            what = f'the {kind} set of "{name}"'
            check_examples(*part, num_classes=num_classes, what=what)
    if num_classes == 1:
        raise errors.InputError(
            f'The training set of "{name}" has one class alone, '
            f'"{raw.class_names[0]}": every network is right about it, so there is '
            "nothing to learn; name examples of two classes at least, or regress "
            'values with `targets="values"`.'
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


def small_labels(y: np.ndarray) -> np.ndarray:
    """Returns whole numbers as classes, without wrapping those that do not fit.

    Args:
      y: whole numbers ``[N]`` of any type.

    Returns:
      [N] int32; what does not fit becomes the smallest or largest number, which no
      class has, so that :func:`check_examples` names it.

    Example:
      >>> small_labels(np.array([3, 2**40])).tolist()
      [3, 2147483647]
    """
    own, small = np.iinfo(y.dtype), np.iinfo(np.int32)
    return np.clip(y, max(own.min, small.min), min(own.max, small.max)).astype(np.int32)


def check_num_per_class(
    dataset_or_labels: datasets.Dataset | np.ndarray | Sequence[int],
    num_per_class: int,
    num_classes: int | None = None,
    what: str = "the training set",
    *,
    other_way: str = "",
) -> None:
    """Raises unless every class has the number of examples that is asked for.

    Args:
      dataset_or_labels: a data set, whose training part is looked at, or classes
        ``[N]``.
      num_per_class: how many examples of each class are wanted.
      num_classes: ``C``; needed only with plain labels, and there the largest label
        plus one where it is not given.
      what: the words that name the examples in an error.
      other_way: words that name what else can be done, such as ``"or start from
        noise"``.

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
    if isinstance(dataset_or_labels, datasets.Dataset):
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
            f"use at most {fewest} per class"
            if fewest
            else "every class needs examples"
        )
        advice += f", {other_way}." if other_way else "."
        raise errors.InputError(
            f"`num_per_class` is {num_per_class}, but class {smallest} of {what} has "
            f"only {fewest}; {advice}"
        )


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
