# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The one way a file is replaced: whole or not at all, and on the disk on return.

The new content is written beside the file under a hidden name, flushed to the disk, and
renamed over the file; then the folder is flushed too, so that the new name outlives a
loss of power. Files that belong together are renamed behind a *note*: it comes into the
folder once all new contents are on the disk and names the renames that are left. When a
process is killed between two of them, :func:`finish` does the rest, and a reader that
calls it first finds the old files or the new ones, never a mixture.
"""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Mapping

__all__ = [
    "finish",
    "flush",
    "make_folder",
    "remove_folder",
    "replace_file",
    "replace_files",
    "replace_folder",
    "sweep",
]

_RENAMES = ".renames"


def replace_file(path: pathlib.Path, content: bytes | str) -> None:
    """Writes a file whole or not at all.

    Args:
      path: the file, replaced where it exists.
      content: what is to be in it; text is written as UTF-8.

    Raises:
      OSError: when it cannot be written; what was there before is untouched.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "note.txt"
      ...     replace_file(path, "whole")
      ...     path.read_text(), len(list(path.parent.iterdir()))
      ('whole', 1)
    """
    temporary = _hidden(path)
    try:
        _write(temporary, content)
        os.replace(temporary, path)
    except OSError:
        _remove([temporary])
        raise
    flush(path.parent)


def replace_files(files: Mapping[pathlib.Path, bytes | str]) -> None:
    """Writes files that belong together: all of them or none.

    Args:
      files: the content of each file; all lie in one folder. A reader passes the last
        one to :func:`finish`.

    Raises:
      OSError: when one cannot be written; what was there before is untouched.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     one, two = (pathlib.Path(folder) / name for name in ("one", "two"))
      ...     replace_files({one: "1", two: "2"})
      ...     one.read_text(), two.read_text()
      ('1', '2')
    """
    *_, last = files
    if len(files) == 1:
        return replace_file(last, files[last])
    finish(last)  # Else the note of an earlier process would come after these files.
    hidden = {target: _hidden(target) for target in files}
    try:
        for target, content in files.items():
            _write(hidden[target], content)
        flush(last.parent)
        renames = [[hidden[target].name, target.name] for target in files]
        replace_file(_note(last), json.dumps(renames))
    except OSError:
        _remove(hidden.values())
        raise
    finish(last)


def finish(path: pathlib.Path) -> None:
    """Does the renames that a process left when it was killed in `replace_files`.

    Args:
      path: the last of the files that belong together.

    Raises:
      OSError: when the folder cannot be written.

    Example:
      >>> finish(pathlib.Path("/nowhere/distilled.json"))  # Nothing was left.
    """
    note = _note(path)
    try:
        content = note.read_bytes()
    except FileNotFoundError:
        return
    for hidden, target in _renames(content):
        with contextlib.suppress(FileNotFoundError):  # Renamed before.
            os.replace(path.with_name(hidden), path.with_name(target))
    flush(path.parent)
    note.unlink(missing_ok=True)
    flush(path.parent)


def replace_folder(
    new: pathlib.Path, target: pathlib.Path, *, removed: pathlib.Path
) -> None:
    """Moves a folder that is complete to its name.

    Args:
      new: the folder, on the same disk as its new name.
      target: its new name; a folder that has the name already is removed.
      removed: the name that such a folder has while it is removed, so that what has the
        name ``target`` is always whole.

    Raises:
      OSError: when the folder cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     new, old, removed = (pathlib.Path(folder, name) for name in "abc")
      ...     new.mkdir()
      ...     old.mkdir()
      ...     replace_file(new / "file", "new")
      ...     replace_folder(new, old, removed=removed)
      ...     (old / "file").read_text(), new.exists(), removed.exists()
      ('new', False, False)
    """
    for place, _, names in os.walk(new):
        for name in names:
            flush(pathlib.Path(place, name))
        flush(pathlib.Path(place))
    if target.exists():
        remove_folder(target, removed=removed)
    new.rename(target)
    flush(target.parent)


def remove_folder(folder: pathlib.Path, *, removed: pathlib.Path) -> None:
    """Removes a folder, under another name from the first file on.

    Args:
      folder: what to remove.
      removed: the name that it has meanwhile.

    Raises:
      OSError: when it cannot be removed.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     old = pathlib.Path(folder, "old")
      ...     old.mkdir()
      ...     remove_folder(old, removed=pathlib.Path(folder, "removed"))
      ...     list(pathlib.Path(folder).iterdir())
      []
    """
    folder.rename(removed)
    shutil.rmtree(removed)


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder and those above it, so that they outlive a loss of power.

    Args:
      folder: which may be there.

    Raises:
      OSError: when it cannot be made.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     make_folder(pathlib.Path(folder, "a", "b"))
      ...     pathlib.Path(folder, "a", "b").is_dir()
      True
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        flush(each.parent)


def sweep(folder: pathlib.Path) -> None:
    """Removes the unfinished files that processes which are gone have left.

    Renames that are left are done first, so nothing that was complete is lost.

    Args:
      folder: that this package writes files to.

    Raises:
      OSError: when the folder cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     unfinished = pathlib.Path(folder, ".set.npz.999999999.tmp")
      ...     _ = unfinished.write_text("half of")
      ...     sweep(pathlib.Path(folder))
      ...     unfinished.exists()
      False
    """
    names = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    for name in names:
        if name.endswith(_RENAMES):
            finish(folder / name[1:].removesuffix(_RENAMES))
    for name in names:
        match = re.fullmatch(r"\..+\.(\d+)\.tmp", name)
        if match and not _is_running(int(match[1])):
            (folder / name).unlink(missing_ok=True)


def flush(path: pathlib.Path) -> None:
    """Puts a file, or the names in a folder, onto the disk.

    Args:
      path: of either.

    Raises:
      OSError: when the disk does not take it.

    Example:
      >>> flush(pathlib.Path("/tmp"))
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # Not on every disk.
            raise
    finally:
        os.close(descriptor)


def _hidden(path: pathlib.Path) -> pathlib.Path:
    """Where a process puts a new content until it is whole."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _note(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name}{_RENAMES}")


def _is_running(pid: int) -> bool:
    """Whether a process of this machine has the number, and is another one."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # Of somebody else.
    return pid != os.getpid()


def _renames(content: bytes) -> list[tuple[str, str]]:
    """The renames of a note, within its folder; none of what is no note."""
    try:
        pairs = [(str(hidden), str(target)) for hidden, target in json.loads(content)]
    except (ValueError, TypeError):
        return []
    is_name = lambda text: text not in ("", "..") and pathlib.Path(text).name == text
    return [pair for pair in pairs if all(map(is_name, pair))]


def _write(path: pathlib.Path, content: bytes | str) -> None:
    with open(path, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def _remove(paths: Iterable[pathlib.Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
