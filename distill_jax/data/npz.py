# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Data sets in one npz file: one's own (`npz:PATH`), and USPS.

The keys of a file of one's own:

* ``x_train`` ``[N, H, W, channels]``, ``[N, H, W]`` or ``[N, D]``,
* ``y_train`` ``[N]`` whole numbers from 0,
* ``x_test`` and ``y_test``, likewise; without them a stratified fifth of the training
  set becomes the test set.

Whole numbers within 0 .. 255 are taken for bytes, with the unit 1/255; all other
numbers become float32 and are their own unit. Pickled objects are never loaded.
"""

import os
import pathlib
import zipfile
from typing import Literal

import numpy as np

from distill_jax import errors
from distill_jax.data import dataset, files

__all__ = ["raw_from_arrays", "read", "read_usps"]

KEYS = ("x_train", "y_train", "x_test", "y_test")
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
      The splits; ``test`` is ``None`` where the file has none.

    Raises:
      InputError: when the file is missing, is not an npz file, holds pickled objects,
        or has not the documented keys.

    Example:
      >>> import tempfile, pathlib
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "mine.npz")
      ...     np.savez(path, x_train=np.zeros((4, 2)), y_train=np.arange(4) % 2)
      ...     raw = read(path)
      >>> raw.train.x.shape, raw.train.x.dtype, raw.test
      ((4, 2), dtype('float32'), None)
    """
    arrays = _load(pathlib.Path(path).expanduser())
    has_test = "x_test" in arrays or "y_test" in arrays
    _check_keys(path, arrays, KEYS if has_test else KEYS[:2])
    return raw_from_arrays(
        arrays["x_train"], arrays["y_train"], arrays.get("x_test"), arrays.get("y_test")
    )


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
    _check_keys(path, arrays, USPS_KEYS)
    x_train, y_train, x_test, y_test = (arrays[key] for key in USPS_KEYS)
    return dataset.RawSet(
        train=dataset.Arrays(x_train[..., None], y_train.astype(np.int32)),
        test=dataset.Arrays(x_test[..., None], y_test.astype(np.int32)),
        class_names=tuple("0123456789"),
        scale=1 / 1000,
        pixel_range=(-1.0, 1.0),
    )


def raw_from_arrays(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    targets: Literal["classes", "values"] = "classes",
) -> dataset.RawSet:
    """Brings arrays into the form that readers return.

    Args:
      x_train: inputs ``[N, H, W, channels]``, ``[N, H, W]`` or ``[N, D]``.
      y_train: classes ``[N]`` or ``[N, 1]``, whole numbers from 0; or values ``[N]``
        or ``[N, T]``.
      x_test: test inputs; without them a part of the training set is split off later.
      y_test: test classes or values.
      targets: which of the two.

    Returns:
      The splits as bytes or float32, with the number of classes taken from the largest
      training label, and values as float32 ``[N, T]``.

    Raises:
      InputError: when a type or shape cannot be read.

    Example:
      >>> raw = raw_from_arrays(np.zeros((2, 4, 4), int), np.array([0, 1]))
      >>> raw.train.x.shape, raw.train.x.dtype, raw.class_names
      ((2, 4, 4, 1), dtype('uint8'), ('0', '1'))
    """
    inputs = [_inputs(x_train, "x_train")]
    read_fn = _labels if targets == "classes" else _values
    labels = [read_fn(y_train, "y_train")]
    if x_test is not None and y_test is not None:
        inputs.append(_inputs(x_test, "x_test"))
        labels.append(read_fn(y_test, "y_test"))
        if labels[0].shape[1:] != labels[1].shape[1:]:
            raise errors.InputError(
                f'"y_test" has {labels[1].shape[1]} targets, but "y_train" has '
                f"{labels[0].shape[1]}; they must be the same."
            )
        if inputs[0].shape[1:] != inputs[1].shape[1:]:
            raise errors.InputError(
                f'One example of "x_test" has the shape {inputs[1].shape[1:]}, but one '
                f'of "x_train" has {inputs[0].shape[1:]}; they must be the same.'
            )
    is_bytes = all(_is_bytes(x) for x in inputs)
    with np.errstate(over="ignore"):  # Infinities are found by the checks of splits.
        inputs = [x.astype(np.uint8 if is_bytes else np.float32) for x in inputs]
    splits = [dataset.Arrays(x, y) for x, y in zip(inputs, labels, strict=True)]
    return dataset.RawSet(
        train=splits[0],
        test=splits[1] if len(splits) == 2 else None,
        class_names=_number_names(labels[0]) if targets == "classes" else (),
        scale=1 / 255 if is_bytes else 1.0,
        pixel_range=(0.0, 1.0) if is_bytes else _float_range(inputs[0]),
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


def _check_keys(path, arrays: dict[str, np.ndarray], keys: tuple[str, ...]) -> None:
    """Raises unless the file has the keys."""
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise errors.InputError(
            f'The file "{path}" has no {" and no ".join(missing)}; it holds '
            f"{', '.join(sorted(arrays)) or 'nothing'}, but needs {', '.join(keys)}."
        )


def _inputs(x: np.ndarray, what: str) -> np.ndarray:
    """Inputs with a channel axis, after a look at type and shape."""
    x = np.asarray(x)
    if x.dtype.kind not in "buif" or x.ndim < 2:
        raise errors.InputError(
            f'"{what}" has the type {x.dtype} and the shape {x.shape}; it must hold '
            "numbers of shape (N, H, W, channels), (N, H, W) or (N, D)."
        )
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[2] == x.shape[3] > 4:
        raise errors.InputError(
            f'"{what}" has the shape {x.shape}, which looks as if the channels came '
            f"first; they must come last, as {what}.transpose(0, 2, 3, 1) brings them."
        )
    return x[..., None] if x.ndim == 3 else x


def _labels(y: np.ndarray, what: str) -> np.ndarray:
    """Classes [N] int32."""
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "ui" or y.ndim != 1:
        raise errors.InputError(
            f'"{what}" has the type {y.dtype} and the shape {y.shape}; it must hold '
            "one whole number for each example, the class counted from 0. Numbers to "
            'be regressed are read with `targets="values"`.'
        )
    own, small = np.iinfo(y.dtype), np.iinfo(np.int32)
    return np.clip(y, max(own.min, small.min), min(own.max, small.max)).astype(np.int32)


def _values(y: np.ndarray, what: str) -> np.ndarray:
    """Values [N, T] float32."""
    y = np.asarray(y)
    if y.dtype.kind not in "buif" or y.ndim not in (1, 2) or 0 in y.shape[1:]:
        raise errors.InputError(
            f'"{what}" has the type {y.dtype} and the shape {y.shape}; it must hold '
            "the numbers to be regressed, of shape (N,) or (N, T)."
        )
    return y.reshape(len(y), -1).astype(np.float32)


def _is_bytes(x: np.ndarray) -> bool:
    """Whether inputs are whole numbers within 0 .. 255."""
    return x.dtype.kind in "ui" and (
        x.dtype == np.uint8 or bool(x.size and x.min() >= 0 and x.max() <= 255)
    )


def _number_names(labels: np.ndarray) -> tuple[str, ...]:
    """The classes named by their numbers."""
    largest = int(labels.max(initial=0))
    if largest >= max(len(labels), 1):
        raise errors.InputError(
            f"The largest training label is {largest}, but there are only "
            f"{len(labels)} labels, so some class has no example; "
            "number the classes from 0 without a gap."
        )
    return tuple(str(number) for number in range(largest + 1))


def _float_range(x: np.ndarray) -> tuple[float, float]:
    """The values that pictures of float inputs show as black and white."""
    low, high = float(x.min(initial=0.0)), float(x.max(initial=1.0))
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= -1 and high <= 1:
        return -1.0, 1.0
    return low, high
