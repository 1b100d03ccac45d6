# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures: one sub-folder for each class (`folder:PATH`).

    PATH/cat/*.png, PATH/dog/*.png                 a fifth is split off for testing
    PATH/train/cat/*.png, PATH/test/cat/*.png      the split is given
    PATH/val/cat/*.png                             so is the validation split

The names of splits may be in capitals, or be "training", "valid" and the like. Classes
are numbered in the alphabetical order of their folders. Pictures may lie deeper within
the folder of their class, must all have the same size, and are read in grey where all
of them are grey, else in colour.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from distill_jax import errors
from distill_jax.data import dataset, files, layouts, listing, pictures

__all__ = ["read"]


def read(path: str | os.PathLike) -> dataset.RawSet:
    """Reads a folder of pictures.

    A warning says how many files were passed over, and why.

    Args:
      path: the folder.

    Returns:
      The splits, images ``[N, H, W, channels]`` uint8 with 1 or 3 channels; ``test``
      and ``validation`` are ``None`` where there is no such folder beside ``train``.

    Raises:
      InputError: when the folder is missing or empty, it is not clear what is a class,
        there is only one, a class is empty or unknown, a picture cannot be read, or
        the sizes differ.

    Example:
      >>> import tempfile
      >>> import PIL.Image
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
        hint = f' Did you mean "npz:{path}"?' if path.suffix.lower() == ".npz" else ""
        raise errors.InputError(
            f'There is no folder "{path}"{files.looked_in(path)}; name a folder with '
            f"one sub-folder of pictures for each class.{hint}"
        )
    layout = layouts.find(path)
    passed = listing.Passed()
    listed = {
        name: _list(folder, layout.class_names, passed)
        for name, folder in layout.splits.items()
    }
    for folder in {path, *layout.splits.values()}:
        loose = listing.list_pictures(folder, passed, is_deep=False)
        passed["pictures outside of the folders of classes"] += len(loose)
    _tell(path, passed)
    x = pictures.load([file for files, _ in listed.values() for file in files], path)
    parts = np.split(x, np.cumsum([len(files) for files, _ in listed.values()])[:-1])
    splits = {
        name: dataset.Arrays(part, labels)
        for part, (name, (_, labels)) in zip(parts, listed.items(), strict=True)
    }
    return dataset.RawSet(
        splits["train"],
        splits.get("test"),
        layout.class_names,
        validation=splits.get("validation"),
    )


def _list(
    folder: pathlib.Path, class_names: Sequence[str], passed: listing.Passed
) -> tuple[list[pathlib.Path], np.ndarray]:
    """The pictures of one split, class-major, and their classes [N]."""
    inside = [sub.name for sub in listing.folders_in(folder)]
    unknown = sorted(set(inside) - set(class_names))
    if unknown:
        raise errors.InputError(
            f'The folder "{folder}" has the class "{unknown[0]}", which the training '
            "folder has not; both need the same classes."
        )
    files, labels = [], []
    for label, name in enumerate(class_names):
        of_class = (
            listing.list_pictures(folder / name, passed) if name in inside else []
        )
        if not of_class:
            raise errors.InputError(
                f'The class folder "{folder / name}" has no picture; put some in it '
                f"({', '.join(pictures.SUFFIXES)}) or remove the class."
            )
        files += of_class
        labels += [label] * len(of_class)
    return files, np.array(labels, np.int32)


def _tell(path: pathlib.Path, passed: listing.Passed) -> None:
    """Says how many files were passed over, and why."""
    total = passed.total()
    if total:
        reasons = [
            f"{count} {reason}" for reason, count in passed.most_common() if count
        ]
        errors.warn(
            f'In "{path}" {total} file{"s were" if total > 1 else " was"} passed over: '
            f"{', '.join(reasons)}. "
            f"Pictures end in {', '.join(pictures.SUFFIXES)}."
        )
