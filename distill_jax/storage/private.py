# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders that none but their owner can enter, and contents that none else can forge.

What is kept from one process to the next is run by the next one. It lies in a folder of
mode 0700, and each file is sealed: it begins with

    HMAC-SHA256(key of the folder, name of the file, content)

so that a file that was changed, renamed, or put there by somebody else is not parsed.
"""

import contextlib
import hashlib
import hmac
import os
import pathlib
import secrets
import stat

from distill_jax.storage import atomic

__all__ = ["ForeignError", "make_folder", "read", "write"]

_KEY = pathlib.Path(".seal", "key")  # In a folder of its own.
_KEY_SIZE = 32
_SEAL_SIZE = 64
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class ForeignError(PermissionError):
    """A folder belongs to somebody else, or others can write there."""


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder that its owner alone can enter, or makes it such a folder.

    Missing folders above it become the same. Where others could write into a folder of
    one's own, what they may have written or changed is removed.

    Args:
      folder: its path.

    Raises:
      ForeignError: when it belongs to somebody else.
      OSError: when it cannot be made.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as above:
      ...     folder = pathlib.Path(above, "kept")
      ...     make_folder(folder)
      ...     oct(folder.stat().st_mode & 0o777)
      '0o700'
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
    found = folder.stat()
    if not hasattr(os, "geteuid"):  # Windows: folders of a user are private.
        return
    if found.st_uid != os.geteuid():
        raise ForeignError(f"{folder} belongs to another user")
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)
    if found.st_mode & _OTHERS_WRITE:
        _remove_foreign(folder)


def write(path: pathlib.Path, content: bytes) -> None:
    """Writes a sealed file, whole or not at all.

    Args:
      path: the file, in a folder that becomes private.
      content: what is kept.

    Raises:
      OSError: when it cannot be written, or the folder is foreign.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "kept")
      ...     write(path, b"content")
      ...     read(path)
      b'content'
    """
    make_folder(path.parent)
    seal = _seal(_key(path.parent), path, content)
    atomic.replace_file(path, seal + content)


def read(path: pathlib.Path) -> bytes | None:
    """Reads what :func:`write` has written there.

    Args:
      path: the file.

    Returns:
      The content; None where there is none, and of anything else.

    Example:
      >>> print(read(pathlib.Path("/nowhere/kept")))
      None
    """
    try:
        if not path.is_file():
            return None
        make_folder(path.parent)
        stored, key = path.read_bytes(), _key(path.parent)
    except OSError:
        return None
    seal, content = stored[:_SEAL_SIZE], stored[_SEAL_SIZE:]
    return content if hmac.compare_digest(seal, _seal(key, path, content)) else None


def _seal(key: bytes, path: pathlib.Path, content: bytes) -> bytes:
    """What a content of this key and name begins with."""
    message = path.name.encode() + b"\0" + content
    return hmac.new(key, message, hashlib.sha256).hexdigest().encode()


def _key(folder: pathlib.Path) -> bytes:
    """The key of a private folder, drawn where there is none."""
    path = folder / _KEY
    for _ in range(2):
        with contextlib.suppress(FileNotFoundError):
            key = path.read_bytes()
            if len(key) == _KEY_SIZE:
                return key
            path.unlink(missing_ok=True)  # Not one of ours.
        make_folder(path.parent)
        drawn = path.with_name(f"drawn.{os.getpid()}")
        atomic.replace_file(drawn, secrets.token_bytes(_KEY_SIZE))
        with contextlib.suppress(FileExistsError):  # Another process was first.
            os.link(drawn, path)
        drawn.unlink(missing_ok=True)
    return path.read_bytes()


def _remove_foreign(folder: pathlib.Path) -> None:
    """Removes the files that others own or could change."""
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            found = path.lstat()
            is_foreign = found.st_uid != os.geteuid() or found.st_mode & _OTHERS_WRITE
            if is_foreign and not stat.S_ISDIR(found.st_mode):
                path.unlink()
