# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures: one sub-folder for each class (`folder:PATH`).

    PATH/cat/*.png, PATH/dog/*.png                 a fifth is split off for testing
    PATH/train/cat/*.png, PATH/test/cat/*.png      the split is given

Classes are numbered in the alphabetical order of their folders. Pictures may lie
deeper within the folder of their class, must all have the same size, and are read in
grey where all of them are grey, else in colour.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import PIL.Image

from distill_jax import errors
from distill_jax.data import dataset

__all__ = ["read"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".webp")
GREY_MODES = ("1", "L")
COLOUR_MODES = ("RGB", "RGBA", "LA", "P", "PA", "CMYK", "YCbCr", "RGBX")


def read(path: str | os.PathLike) -> dataset.RawSet:
    """Reads a folder of pictures.

    Args:
      path: the folder.

    Returns:
      The splits, images ``[N, H, W, channels]`` uint8 with 1 or 3 channels; ``test``
      is ``None`` where there is no folder ``test`` beside ``train``.

    Raises:
      InputError: when the folder is missing or empty, a class is empty or unknown, a
        picture cannot be read, or the sizes differ.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in ("cat", "dog"):
      ...         pathlib.Path(folder, name).mkdir()
      ...         picture = PIL.Image.new("L", (4, 3))
      ...         picture.save(pathlib.Path(folder, name, "0.png"))
      ...     raw = read(folder)
      >>> raw.train.x.shape, raw.class_names
      ((2, 3, 4, 1), ('cat', 'dog'))
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_dir():
        raise errors.InputError(
            f'There is no folder "{path}"; name a folder with one sub-folder of '
            "pictures for each class."
        )
    has_split = (path / "train").is_dir()
    folders = [path / "train", path / "test"] if has_split else [path]
    folders = [folder for folder in folders if folder.is_dir()]
    class_names = _class_names(folders[0])
    listed = [_list(folder, class_names) for folder in folders]
    x = _load([file for pictures, _ in listed for file in pictures])
    num_train = len(listed[0][0])
    train = dataset.Arrays(x[:num_train], listed[0][1])
    test = dataset.Arrays(x[num_train:], listed[1][1]) if len(listed) == 2 else None
    return dataset.RawSet(train, test, class_names)


def _class_names(folder: pathlib.Path) -> tuple[str, ...]:
    """The sub-folders that are not hidden, in alphabetical order."""
    names = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )
    if not names:
        raise errors.InputError(
            f'The folder "{folder}" has no sub-folders; it needs one sub-folder of '
            "pictures for each class."
        )
    return tuple(names)


def _list(
    folder: pathlib.Path, class_names: Sequence[str]
) -> tuple[list[pathlib.Path], np.ndarray]:
    """The pictures of one split, class-major, and their classes [N]."""
    unknown = sorted(set(_class_names(folder)) - set(class_names))
    if unknown:
        raise errors.InputError(
            f'The folder "{folder}" has the class "{unknown[0]}", which the training '
            "folder has not; both need the same classes."
        )
    pictures, labels = [], []
    for label, name in enumerate(class_names):
        inside = sorted((folder / name).rglob("*"))
        of_class = [file for file in inside if file.suffix.lower() in SUFFIXES]
        if not of_class:
            raise errors.InputError(
                f'The class folder "{folder / name}" has no picture; put some in it '
                f"({', '.join(SUFFIXES)}) or remove it."
            )
        pictures += of_class
        labels += [label] * len(of_class)
    return pictures, np.array(labels, np.int32)


def _load(pictures: Sequence[pathlib.Path]) -> np.ndarray:
    """All pictures, [N, H, W, 1] where all are grey, else [N, H, W, 3]."""
    arrays = [_load_one(file) for file in pictures]
    for file, array in zip(pictures, arrays, strict=True):
        if array.shape[:2] != arrays[0].shape[:2]:
            raise errors.InputError(
                f'The picture "{file}" is {_size(array)} pixels, but "{pictures[0]}" '
                f"is {_size(arrays[0])}; all pictures must have the same size, so "
                "resize them first."
            )
    num_channels = max(array.shape[2] for array in arrays)
    return np.stack([np.broadcast_to(a, (*a.shape[:2], num_channels)) for a in arrays])


def _load_one(file: pathlib.Path) -> np.ndarray:
    """One picture, [H, W, 1 or 3] uint8."""
    try:
        with PIL.Image.open(file) as picture:
            mode = picture.mode
            if mode in GREY_MODES:
                return np.asarray(picture.convert("L"))[..., None]
            if mode in COLOUR_MODES:
                return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise errors.InputError(
            f'The picture "{file}" cannot be read ({error}); replace or remove it.'
        ) from error
    raise errors.InputError(
        f'The picture "{file}" has pixels of the kind {mode}; only pictures with 8 '
        "bits for each channel are read, so convert it first."
    )


def _size(array: np.ndarray) -> str:
    """Width and height of a picture, as people say it."""
    return f"{array.shape[1]}x{array.shape[0]}"
