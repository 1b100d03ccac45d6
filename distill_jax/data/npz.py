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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.data import arrays as own_arrays
from distill_jax.data import checks, dataset, files
from distill_jax.storage import bounds, npz_files

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
    keys: dict[str, str] = {}

    def choose(headers: Mapping[str, bounds.Header]) -> Iterable[str]:
        named = _by_known_names(path, headers)
        needed = [
            key
            for x, y in zip(KEYS[::2], KEYS[1::2], strict=True)
            if x == KEYS[0] or x in named or y in named
            for key in (x, y)
        ]
        _check_keys(path, headers, needed, named)
        keys.update({key: named[key] for key in needed})
        _check_numbers(path, headers, keys.values())
        return keys.values()

    content = _load(pathlib.Path(path).expanduser(), choose)
    of_splits: dict[str, Any] = {key: content[name] for key, name in keys.items()}
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

    def choose(headers: Mapping[str, bounds.Header]) -> Iterable[str]:
        _check_keys(path, headers, USPS_KEYS, headers)
        for key, num_axes in zip(USPS_KEYS, (3, 1, 3, 1), strict=True):
            shape, dtype = headers[key]
            if len(shape) != num_axes or dtype.kind not in "iu":
                raise errors.InputError(
                    f'The array "{key}" of the file "{path}" has the type {dtype} and '
                    f"the shape {shape}; it must hold whole numbers, with {num_axes} "
                    "axes, so fetch it again."
                )
        _check_numbers(path, headers, USPS_KEYS)
        return USPS_KEYS

    content = _load(path, choose)
    x_train, y_train, x_test, y_test = (content[key] for key in USPS_KEYS)
    return dataset.RawSet(
        train=dataset.Arrays(x_train[..., None], checks.small_labels(y_train)),
        test=dataset.Arrays(x_test[..., None], checks.small_labels(y_test)),
        class_names=tuple("0123456789"),
        scale=1 / 1000,
        pixel_range=(-1.0, 1.0),
    )


def _load(
    path: pathlib.Path,
    choose_fn: Callable[[Mapping[str, bounds.Header]], Iterable[str]],
) -> dict[str, np.ndarray]:
    """The arrays that are chosen by the heads of all; none of them pickled."""
    if not path.is_file():
        hint = f' Did you mean "folder:{path}"?' if path.is_dir() else ""
        raise errors.InputError(
            f'There is no file "{path}"{files.looked_in(path)}; name an npz file with '
            f"the keys {', '.join(KEYS)}.{hint}"
        )
    message = (
        f'The file "{path}" cannot be read ({{error}}); it must be written by '
        "numpy.savez and hold plain arrays of numbers, no pickled objects."
    )
    what = f'The file "{path}"'
    with bounds.reading(message):
        names = choose_fn(npz_files.headers(path, what=what))
        return npz_files.read(path, [*names], what=what)


def _check_numbers(
    path: str | os.PathLike, headers: Mapping[str, bounds.Header], keys: Iterable[str]
) -> None:
    """Raises unless there is a label for every input, before any is unpacked."""
    lengths = {key: (*headers[key].shape, 0)[0] for key in keys}
    for x, y in zip([*lengths][::2], [*lengths][1::2], strict=True):
        if lengths[x] != lengths[y]:
            raise errors.InputError(
                f'The file "{path}" has {lengths[x]} inputs "{x}" but {lengths[y]} '
                f'labels "{y}"; there must be one label for every input.'
            )


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
