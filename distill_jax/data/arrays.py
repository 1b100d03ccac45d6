# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Arrays of one's own in the form that readers return.

What one example is follows from its axes:

    [N, D]              a table
    [N, H, W]           grey pictures
    [N, H, W, channels] pictures, the channels last
"""

from typing import Any, Literal

import numpy as np

from distill_jax import errors
from distill_jax.data import checks, dataset, scales

__all__ = ["raw_from_arrays"]

NUM_COLOURS = 4  # More channels than red, green, blue and alpha are unusual.


def raw_from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any = None,
    y_test: Any = None,
    *,
    x_val: Any = None,
    y_val: Any = None,
    targets: Literal["classes", "values"] = "classes",
) -> dataset.RawSet:
    """Brings arrays into the form that readers return.

    Args:
      x_train: inputs ``[N, H, W, channels]``, ``[N, H, W]`` or ``[N, D]``.
      y_train: classes ``[N]`` or ``[N, 1]``, whole numbers from 0; or values ``[N]``
        or ``[N, T]``.
      x_test: test inputs; without them a part of the training set is split off later.
      y_test: test classes or values.
      x_val: validation inputs; without them likewise.
      y_val: validation classes or values.
      targets: which of the two.

    Returns:
      The splits as bytes or float32, with the number of classes taken from the largest
      training label, and values as float32 ``[N, T]``.

    Raises:
      InputError: when a type or shape cannot be read, or splits are of different
        shapes or units.

    Example:
      >>> raw = raw_from_arrays(np.zeros((2, 4, 4), int), np.array([0, 1]))
      >>> raw.train.x.shape, raw.train.x.dtype, raw.class_names
      ((2, 4, 4, 1), dtype('uint8'), ('0', '1'))
    """
    given = {"train": (x_train, y_train), "test": (x_test, y_test)}
    given["val"] = (x_val, y_val)
    _check_pairs(given)
    given = {name: pair for name, pair in given.items() if pair[0] is not None}
    read_fn = _labels if targets == "classes" else _values
    x = {f"x_{name}": _inputs(part, f"x_{name}") for name, (part, _) in given.items()}
    y = {f"y_{name}": read_fn(part, f"y_{name}") for name, (_, part) in given.items()}
    _check_shapes(x, y)
    scale = scales.decide(x)
    with np.errstate(over="ignore"):  # Infinities are found by the checks of splits.
        splits = {
            name: dataset.Arrays(x[f"x_{name}"].astype(scale.dtype), y[f"y_{name}"])
            for name in given
        }
    return dataset.RawSet(
        train=splits["train"],
        test=splits.get("test"),
        class_names=_number_names(y["y_train"]) if targets == "classes" else (),
        scale=scale.unit,
        pixel_range=scale.pixel_range,
        validation=splits.get("val"),
    )


def _check_pairs(given: dict[str, tuple[Any, Any]]) -> None:
    """Raises where a split has inputs without targets, or targets without inputs."""
    for name, (x, y) in given.items():
        if (x is None) != (y is None):
            raise errors.InputError(
                f"Only one of `x_{name}` and `y_{name}` was passed; pass both or none."
            )


def _check_shapes(x: dict[str, np.ndarray], y: dict[str, np.ndarray]) -> None:
    """Raises where examples of two splits have different shapes."""
    (first_x, train_x), *other_x = x.items()
    (first_y, train_y), *other_y = y.items()
    for name, labels in other_y:
        if labels.shape[1:] != train_y.shape[1:]:
            raise errors.InputError(
                f'"{name}" has {labels.shape[1]} targets, but "{first_y}" has '
                f"{train_y.shape[1]}; they must be the same."
            )
    for name, inputs in other_x:
        if inputs.shape[1:] != train_x.shape[1:]:
            raise errors.InputError(
                f'One example of "{name}" has the shape {inputs.shape[1:]}, but one '
                f'of "{first_x}" has {train_x.shape[1:]}; they must be the same.'
            )


def _array(values: Any, what: str) -> np.ndarray:
    """The values as one array of numpy."""
    try:
        return np.asarray(values)
    except Exception as error:  # Lists of several lengths, arrays of other libraries.
        raise errors.InputError(
            f'"{what}" cannot be made one array ({_first_line(error)}); every example '
            "must have the same shape, so resize or pad them first, and pass an array "
            "of numpy."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _inputs(x: Any, what: str) -> np.ndarray:
    """Inputs with a channel axis, after a look at type and shape."""
    x = _array(x, what)
    if x.dtype.kind == "O":
        raise errors.InputError(
            f'"{what}" is an array of objects, shape {x.shape}, as examples of several '
            "shapes make it; bring all to one shape first, and pass an array of "
            "numbers."
        )
    if x.dtype.kind not in "buif" or x.ndim < 2:
        raise errors.InputError(
            f'"{what}" has the type {x.dtype} and the shape {x.shape}; it must hold '
            "numbers of shape (N, H, W, channels), (N, H, W) or (N, D)."
        )
    if x.ndim >= 4 and _seem_channels_first(*x.shape[1:]):
        axes = range(x.ndim)
        last, turned = (0, *axes[2:], 1), (0, 2, 1, *axes[3:])
        raise errors.InputError(
            f'"{what}" has the shape {x.shape}, which looks as if the channels came '
            f"first; they must come last, as {what}.transpose{last} brings them. If "
            f"they do come last, turn the pictures: {what}.transpose{turned}."
        )
    return x[..., None] if x.ndim == 3 else x


def _seem_channels_first(first: int, *others: int) -> bool:
    """Whether an example has rather the axes (channels, H, W) than (H, W, channels).

    Few channels in the last place settle it. Otherwise the first axis is that of the
    channels where it is the shortest, or where the others make a square.
    """
    if others[-1] <= NUM_COLOURS or first == others[0]:
        return False
    return first < min(others) or len(set(others)) == 1


def _labels(y: Any, what: str) -> np.ndarray:
    """Classes [N] int32."""
    y = _array(y, what)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "ui" or y.ndim != 1:
        raise errors.InputError(
            f'"{what}" has the type {y.dtype} and the shape {y.shape}; it must hold '
            "one whole number for each example, the class counted from 0. Numbers to "
            'be regressed are read with `targets="values"`.'
        )
    return checks.small_labels(y)


def _values(y: Any, what: str) -> np.ndarray:
    """Values [N, T] float32."""
    y = _array(y, what)
    if y.dtype.kind not in "buif" or y.ndim not in (1, 2) or 0 in y.shape[1:]:
        raise errors.InputError(
            f'"{what}" has the type {y.dtype} and the shape {y.shape}; it must hold '
            "the numbers to be regressed, of shape (N,) or (N, T)."
        )
    return y.reshape(len(y), -1).astype(np.float32)


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
