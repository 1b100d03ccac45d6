# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the contents of a report must be, so that they can be shown."""

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distill_jax import errors

__all__ = [
    "check_classes",
    "check_images",
    "check_labels",
    "check_numbers",
    "check_row",
]

_TARGETS = ("probabilities", "centred", "values")


def check_images(images: np.ndarray | None, name: str) -> None:
    """Raises unless images can be shown."""
    if images is None:
        return
    shape, dtype = getattr(images, "shape", ()), getattr(images, "dtype", None)
    if dtype != np.uint8 or len(shape) != 5 or shape[-1] not in (1, 3, 4):
        raise errors.InputError(
            f"`{name}` has the shape {list(shape)} and the type {dtype}; pass uint8 "
            "[C, K, H, W, channels] with 1, 3 or 4 channels, or None for what is not "
            "pictures."
        )
    if not all(shape):
        raise errors.InputError(
            f"`{name}` has the shape {list(shape)}, so it is empty; pass None."
        )


def check_classes(contents: Any) -> None:
    """Raises unless names and both sets of images have the same classes."""
    counts = {
        name: len(value)
        for name in ("class_names", "distilled_images", "real_images")
        if (value := getattr(contents, name)) is not None and len(value)
    }
    if len(set(counts.values())) > 1:
        numbers = ", ".join(f"`{name}` {count}" for name, count in counts.items())
        raise errors.InputError(
            f"The numbers of classes differ: {numbers}; pass the same classes in each."
        )


def check_labels(contents: Any) -> None:
    """Raises unless labels can be shown."""
    for name, known in (("targets", _TARGETS), ("label_mass", ("one", "free"))):
        word = getattr(contents, name)
        if word not in known:
            raise errors.InputError(
                f"`{name}` is {word!r}, which says nothing about the labels. "
                f"{errors.nearest(str(word), known)}"
            )
    labels = contents.labels
    if labels is None:
        return
    shape = np.shape(labels)
    if len(shape) != 2 or not all(shape) or not np.isfinite(labels).all():
        raise errors.InputError(
            f"`labels` has the shape {list(shape)} or is not finite; pass finite "
            "numbers [M, C], or None where labels were not learned."
        )


def check_numbers(name: str, row: Sequence[Any]) -> None:
    """Raises unless all entries of a row are numbers, or None where one is missing."""
    for value in row:
        if not isinstance(value, numbers.Real | type(None)):
            raise errors.InputError(
                f"A row of `{name}` has the entry {value!r}; it must be a number."
            )


def check_row(what: str, row: Mapping[str, Any], fields: Sequence[str]) -> None:
    """Raises unless a row of a table has a name and nothing unknown."""
    if not isinstance(row, Mapping):
        raise errors.InputError(f"{what} is {row!r}, but it must be a mapping.")
    unknown = [key for key in row if key not in fields]
    if unknown:
        raise errors.InputError(
            f"{what} has the key {unknown[0]!r}, which the report cannot show. "
            f"{errors.nearest(unknown[0], fields)}"
        )
    for key, value in row.items():
        parts = value if key == "ci95" and isinstance(value, list | tuple) else [value]
        if not all(isinstance(part, str | numbers.Real | type(None)) for part in parts):
            raise errors.InputError(
                f"{what} has {value!r} as {key!r}; it must be a number or a text."
            )
    if not row.get("name"):
        raise errors.InputError(
            f"{what} ({dict(row)}) has no `name`; the reader must know what it is."
        )
