# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which folders of a folder of pictures are splits, and which are classes.

A folder is a split when its name says so ("Train", "val", "seg_test") and it holds
folders with pictures; the class "train" of vehicles holds pictures. What could be read
in two ways is refused with what was seen.
"""

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from distill_jax import errors
from distill_jax.data import listing

__all__ = ["Layout", "find", "role_of"]

ROLES = {
    "train": ("train", "training", "trn"),
    "validation": ("dev", "val", "valid", "validation"),
    "test": ("test", "testing", "tst"),
}
_OTHER_WORDS = ("data", "dataset", "images", "imgs", "pictures", "set", "split")


class Layout(NamedTuple):
    """The folders of a data set."""

    splits: Mapping[str, pathlib.Path]  # "train", and perhaps "validation" and "test"
    class_names: tuple[str, ...]  # the folders of "train", in alphabetical order


def find(path: pathlib.Path) -> Layout:
    """Finds the splits and the classes in a folder of pictures.

    Args:
      path: the folder.

    Returns:
      A :class:`Layout`.

    Raises:
      InputError: when there is no class, or it is not clear which folders are classes.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in ("Train/a", "Train/b", "VAL/a", "VAL/b"):
      ...         picture = pathlib.Path(folder, name, "0.png")
      ...         picture.parent.mkdir(parents=True)
      ...         picture.touch()
      ...     layout = find(pathlib.Path(folder))
      >>> [(name, folder.name) for name, folder in layout.splits.items()]
      [('train', 'Train'), ('validation', 'VAL')]
      >>> layout.class_names
      ('a', 'b')
    """
    folders = listing.folders_in(path)
    if not folders:
        raise errors.InputError(
            f'The folder "{path}" has no sub-folders; it needs one sub-folder of '
            "pictures for each class."
        )
    splits = _splits(path, folders)
    if splits is None:
        _check_classes(path, folders)
        splits = {"train": path}
    class_folders = listing.folders_in(splits["train"])
    _check_more_than_one(splits["train"], class_folders, splits["train"] != path)
    return Layout(splits, tuple(folder.name for folder in class_folders))


def role_of(name: str, *, is_exact: bool = False) -> str | None:
    """Tells which split a folder of that name may be.

    Args:
      name: of the folder.
      is_exact: whether other words beside the one that says it rule it out.

    Returns:
      "train", "validation", "test", or ``None``.

    Example:
      >>> role_of("TRAINING"), role_of("seg_test"), role_of("val2017"), role_of("cat")
      ('train', 'test', 'validation', None)
      >>> role_of("seg_test", is_exact=True) is None
      True
    """
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    text = re.sub(f"(?<=[a-z]{{3}})({'|'.join(_OTHER_WORDS)})$", r" \1", text)
    words = [word for word in re.findall("[a-z]+", text) if word not in _OTHER_WORDS]
    roles = {role for role, known in ROLES.items() if set(known) & set(words)}
    if len(roles) != 1 or (is_exact and len(words) != 1):
        return None
    return roles.pop()


def _splits(
    path: pathlib.Path, folders: Sequence[pathlib.Path]
) -> dict[str, pathlib.Path] | None:
    """The folders of splits, or `None` where the folders are classes."""
    exact = {role_of(folder.name, is_exact=True) for folder in folders} - {None}
    nested = [
        folder
        for folder in folders
        if role_of(folder.name) and listing.folders_in(folder, with_pictures=True)
    ]
    if len({role_of(folder.name) for folder in nested}) < 2:  # "train_station".
        nested = [f for f in nested if role_of(f.name, is_exact=True)]
    if not nested:
        if len(exact) < 2:
            return None
        raise errors.InputError(
            f'The folder "{path}" holds {_names(folders)}, which hold pictures but no '
            "sub-folders, so it is not told which class a picture has; put those of "
            f'each class into a sub-folder of its own, "{folders[0].name}/CLASS", or '
            "give classes other names than those of splits."
        )
    others = [f for f in folders if f not in nested and listing.has_pictures(f)]
    inside = listing.folders_in(nested[0], with_pictures=True)
    if len(nested) == 1 and others and len(inside) < 2:
        return None  # A class of that name, whose pictures lie deeper.
    roles = [str(role_of(folder.name)) for folder in nested]
    if others or len(set(roles)) < len(roles) or "train" not in roles:
        raise errors.InputError(_unclear_sentence(path, nested, roles, others))
    without = [folder for folder in folders if folder not in nested]
    if without:
        errors.warn(
            f'In "{path}" nothing is read from {_names(without)}, where there is no '
            "picture."
        )
    found = dict(zip(roles, nested, strict=True))
    return {role: found[role] for role in ROLES if role in found}


def _check_classes(path: pathlib.Path, folders: Sequence[pathlib.Path]) -> None:
    """Raises where splits lie within classes; warns where classes may lie deeper."""
    inner = [listing.folders_in(folder) for folder in folders]
    for folder, inside in zip(folders, inner, strict=True):
        roles = {role_of(sub.name, is_exact=True) for sub in inside} - {None}
        if len(roles) > 1:
            raise errors.InputError(
                f'The folder "{folder}" would be a class, but it holds '
                f"{_names(inside)}, which are splits; name the folder that holds "
                f'"train", such as folder:{folder}, or lay the pictures of all classes '
                f"out as train/CLASS and test/CLASS."
            )
    sets = {tuple(sub.name for sub in inside) for inside in inner}
    are_same = len(folders) > 1 and len(sets) == 1 and len(inner[0]) > 1
    if are_same and not any(listing.has_pictures(f, is_deep=False) for f in folders):
        errors.warn(
            f'The folders {_names(folders)} of "{path}" are read as the classes. Each '
            f"of them holds {_names(inner[0])}: if those are the classes, name one of "
            f"the folders, such as folder:{folders[0]}."
        )


def _check_more_than_one(
    path: pathlib.Path, folders: Sequence[pathlib.Path], is_split: bool
) -> None:
    """Raises where there is one folder alone, which holds what may be the classes."""
    if not folders:
        raise errors.InputError(
            f'The folder "{path}" has no sub-folders; it needs one sub-folder of '
            "pictures for each class."
        )
    deeper, inside = folders[0], folders
    while len(inside) == 1:
        deeper, inside = inside[0], listing.folders_in(inside[0], with_pictures=True)
    if len(folders) > 1 or len(inside) < 2:
        return  # What has one class alone is refused as all such data are.
    advice = f"move those up into {path}" if is_split else f"name folder:{deeper}"
    raise errors.InputError(
        f'The folder "{path}" has one sub-folder alone, "{folders[0].name}", and every '
        f'sub-folder is a class. "{deeper}" holds {_names(inside)}: if they are meant, '
        f"{advice}."
    )


def _unclear_sentence(
    path: pathlib.Path,
    splits: Sequence[pathlib.Path],
    roles: Sequence[str],
    others: Sequence[pathlib.Path],
) -> str:
    """Says what was seen and why it can be read in two ways."""
    if others:
        reason = f"beside {_names(others)}, with pictures but no folders of classes"
    elif "train" not in roles:
        reason = "without a folder of training pictures"
    else:
        reason = "two of which are the same split"
    return (
        f'The folder "{path}" holds {_names(splits)}, {reason}, so it is not clear '
        "which folders are classes; name the folder that holds the classes themselves, "
        'or keep "train" and perhaps "val" and "test", each with the same classes.'
    )


def _names(folders: Sequence[pathlib.Path], most: int = 5) -> str:
    """The names of folders in a sentence."""
    names = [f'"{folder.name}"' for folder in folders]
    if len(names) > most:
        names[most - 1 :] = [f"{len(names) - most + 1} others"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
