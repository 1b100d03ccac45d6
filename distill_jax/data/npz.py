# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data sets in one npz file: one's own (`npz:PATH`), and USPS.

The keys of a file of one's own:

* ``x_train`` ``[N, H, W, channels]``, ``[N, H, W]`` or ``[N, D]``,
* ``y_train`` ``[N]`` whole numbers from 0,
* ``x_test`` and ``y_test``, likewise; without them a stratified fifth of the training
  set becomes the test set,
* ``x_val`` and ``y_val``, likewise; without them a stratified part of it.

Capitals, "images" for "x", "labels" for "y" and the order of the two words make no
difference: ``train_images`` is ``x_train``. Pickled objects are never loaded.
"""

import os
import pathlib
import re
import zipfile
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.data import arrays as own_arrays
from distill_jax.data import dataset, files

__all__ = ["read", "read_usps"]

KEYS = ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val")
WORDS = {
    "x": ("x", "data", "features", "image", "images", "input", "inputs", "pixels"),
    "y": ("y", "class", "classes", "label", "labels", "target", "targets"),
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation", "dev"),
}
USPS_KEYS = (
    "train_images_milli",
    "train_labels",
    "test_images_milli",
    "test_labels",
)


def read(path: str | os.PathLike) -> dataset.RawSet:
    """Reads a data set of one's own.

    Args:
      path: the npz file.

    Returns:
      The splits; ``test`` and ``validation`` are ``None`` where the file has none.

    Raises:
      InputError: when the file is missing, is not an npz file, holds pickled objects,
        has not the documented keys, or two for the same.

    Example:
      >>> import tempfile, pathlib
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "mine.npz")
      ...     np.savez(path, x_train=np.zeros((4, 2)), y_train=np.arange(4) % 2)
      ...     raw = read(path)
      >>> raw.train.x.shape, raw.train.x.dtype, raw.test
      ((4, 2), dtype('float32'), None)
    """
    content = _load(pathlib.Path(path).expanduser())
    named = _by_known_names(path, content)
    needed = [
        key
        for x, y in zip(KEYS[::2], KEYS[1::2], strict=True)
        if x == KEYS[0] or x in named or y in named
        for key in (x, y)
    ]
    _check_keys(path, content, needed, named)
    of_splits: dict[str, Any] = {key: content[named[key]] for key in needed}
    return own_arrays.raw_from_arrays(**of_splits)


def read_usps(name: str, data_dir: str | os.PathLike | None) -> dataset.RawSet:
    """Reads USPS from ``usps.npz``, whose values are thousandths in -1 .. 1.

    Args:
      name: "usps".
      data_dir: a folder, or ``None`` for the one that the environment names.

    Returns:
      7291 training and 2007 test images ``[N, 16, 16, 1]`` int16.

    Raises:
      InputError: when the file is missing or is not what it should be.

    Example:
      >>> read_usps("usps", "/")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The data set "usps" needs the file ...

    Reference:
      Hull, "A database for handwritten text recognition research" (1994).
    """
    path = files.find(name, data_dir, ["usps.npz"])
    arrays = _load(path)
    _check_keys(path, arrays, USPS_KEYS, arrays)
    x_train, y_train, x_test, y_test = (arrays[key] for key in USPS_KEYS)
    return dataset.RawSet(
        train=dataset.Arrays(x_train[..., None], y_train.astype(np.int32)),
        test=dataset.Arrays(x_test[..., None], y_test.astype(np.int32)),
        class_names=tuple("0123456789"),
        scale=1 / 1000,
        pixel_range=(-1.0, 1.0),
    )


def _load(path: pathlib.Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file, none of them pickled."""
    if not path.is_file():
        raise errors.InputError(
            f'There is no file "{path}"; name an npz file with the keys '
            f"{', '.join(KEYS)}."
        )
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if isinstance(content, np.ndarray):
                raise ValueError("it is a single array, as numpy.save writes it")
            return {key: content[key] for key in content.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise errors.InputError(
            f'The file "{path}" cannot be read ({error}); it must be written by '
            "numpy.savez and hold plain arrays of numbers, no pickled objects."
        ) from error


def _by_known_names(path: str | os.PathLike, content: Iterable[str]) -> dict[str, str]:
    """The keys of a file by what they are called here; tells which are passed over."""
    named: dict[str, str] = {}
    passed_over = []
    for key in content:
        known = _known_name(key)
        if known is None:
            passed_over.append(key)
        elif known in named:
            raise errors.InputError(
                f'The file "{path}" holds both {named[known]} and {key}, which are the '
                f"same, {known}; keep one of them."
            )
        else:
            named[known] = key
    if passed_over and set(KEYS[:2]) <= set(named):
        errors.warn(
            f'The file "{path}" holds {", ".join(sorted(passed_over))}, which is not '
            f"used; only {', '.join(KEYS)} are."
        )
    return named


def _known_name(key: str) -> str | None:
    """Such as "x_train" for "train_images" or "X_train"; `None` for other keys."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower())
    roles = {role for word in words for role, known in WORDS.items() if word in known}
    letter, split = roles & {"x", "y"}, roles - {"x", "y"}
    is_known = len(words) == 2 and len(letter) == 1 and len(split) == 1
    return f"{letter.pop()}_{split.pop()}" if is_known else None


def _check_keys(
    path: str | os.PathLike,
    arrays: Collection[str],
    keys: Sequence[str],
    named: Collection[str],
) -> None:
    """Raises unless the file has the keys."""
    missing = [key for key in keys if key not in named]
    if missing:
        raise errors.InputError(
            f'The file "{path}" has no {" and no ".join(missing)}; it holds '
            f"{', '.join(sorted(arrays)) or 'nothing'}, but needs {', '.join(keys)}."
        )
