# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The files of a folder of pictures: which are read, and which are passed over and why.

What systems and programs leave behind is hidden: names that begin with a dot, such as
``.ipynb_checkpoints`` and ``._cat.png``, and a few others.
"""

import collections
import os
import pathlib
import stat

from distill_jax import errors
from distill_jax.data import pictures

__all__ = ["Passed", "folders_in", "has_pictures", "is_hidden", "list_pictures"]

HIDDEN = {
    *("__macosx", "__pycache__", "@eadir", "$recycle.bin", "lost+found"),
    *("desktop.ini", "thumbs.db", "system volume information"),
}

Passed = collections.Counter[str]  # How many files were passed over, by the reason.


def is_hidden(name: str) -> bool:
    """Tells whether a file or folder of that name is none of the user's.

    Args:
      name: without the folders above.

    Example:
      >>> is_hidden("._cat.png"), is_hidden("__MACOSX"), is_hidden("cat.png")
      (True, True, False)
    """
    return name.startswith(".") or name.lower() in HIDDEN


def folders_in(
    folder: pathlib.Path, *, with_pictures: bool = False
) -> list[pathlib.Path]:
    """Lists the sub-folders that are not hidden, in alphabetical order.

    Args:
      folder: where they are.
      with_pictures: whether only those that hold a picture, however deep.

    Raises:
      InputError: when the folder cannot be read.

    Example:
      >>> folders_in(pathlib.Path("/nowhere"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The folder "/nowhere" cannot be read (...
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise _unreadable(error) from error
    inside = sorted(f for f in entries if f.is_dir() and not is_hidden(f.name))
    return [f for f in inside if has_pictures(f)] if with_pictures else inside


def has_pictures(folder: pathlib.Path, *, is_deep: bool = True) -> bool:
    """Tells whether a folder holds a file that is called like a picture.

    Args:
      folder: where to look.
      is_deep: whether in its sub-folders too.

    Example:
      >>> has_pictures(pathlib.Path("/nowhere"))
      False
    """
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        if any(_is_picture(name) and not is_hidden(name) for name in names):
            return True
        if not is_deep:
            break
    return False


def list_pictures(
    folder: pathlib.Path, passed: Passed, *, is_deep: bool = True
) -> list[pathlib.Path]:
    """Lists the pictures in a folder.

    Args:
      folder: where they are.
      passed: counts the files that are passed over.
      is_deep: whether in its sub-folders too.

    Returns:
      Their files, in alphabetical order.

    Raises:
      InputError: when a folder cannot be read.

    Example:
      >>> import tempfile
      >>> passed = Passed()
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     for name in ("b.png", "a.JPG", "._b.png", "boxes.txt"):
      ...         pathlib.Path(folder, name).touch()
      ...     [file.name for file in list_pictures(pathlib.Path(folder), passed)]
      ['a.JPG', 'b.png']
      >>> sorted(passed.items())
      [('.txt', 1), ('hidden', 1)]
    """
    found = []
    for where, folders, names in os.walk(folder, onerror=_raise_unreadable):
        root = pathlib.Path(where)
        for name in [*folders]:
            is_link = is_deep and (root / name).is_symlink()
            if is_link or is_hidden(name):
                folders.remove(name)
                count = has_pictures(root / name)
                passed["in linked folders" if is_link else "hidden"] += count
        for name in names:
            reason = _reason_against(root / name)
            if reason is None:
                found.append(root / name)
            elif reason:
                passed[reason] += 1
        if not is_deep:
            break
    return sorted(found)


def _reason_against(file: pathlib.Path) -> str | None:
    """Why a file is passed over; empty where nobody need know, else `None`."""
    if is_hidden(file.name):
        return "hidden" if _is_picture(file.name) else ""
    if not _is_picture(file.name):
        return file.suffix.lower() or "without an ending"
    try:
        is_regular = stat.S_ISREG(file.stat().st_mode)
    except OSError:  # A link to nothing.
        is_regular = False
    return None if is_regular else "no regular file"


def _is_picture(name: str) -> bool:
    return name.lower().endswith(pictures.SUFFIXES)


def _raise_unreadable(error: OSError) -> None:
    raise _unreadable(error)


def _unreadable(error: OSError) -> errors.InputError:
    return errors.InputError(
        f'The folder "{error.filename}" cannot be read ({error.strerror or error}); '
        "name another, or change who may read it."
    )
