# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One process at a time in a folder: a lock that ends with the process that holds it.

The lock is ``flock`` on a file, so a crash or a kill releases it. It keeps out other
processes, other threads and other machines that share the disk, as far as the disk
knows locks; where it does not, a warning says so.
"""

import contextlib
import contextvars
import logging
import os
import pathlib
import socket
from collections.abc import Iterator
from typing import IO

from distill_jax import errors

__all__ = ["locked", "take"]

_NAME = ".lock"
# What the code that runs now holds: a run within a command is the same work.
_HELD: contextvars.ContextVar[frozenset[pathlib.Path]] = contextvars.ContextVar(
    "held", default=frozenset()
)


@contextlib.contextmanager
def locked(folder: pathlib.Path, *, does_wait: bool = False) -> Iterator[None]:
    """Keeps others out of a folder.

    Who holds the folder already may take it again, further in.

    Args:
      folder: which is there.
      does_wait: whether to wait for another process; else it is refused.

    Raises:
      InputError: when another process is at work there.
      OSError: when the folder cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with locked(pathlib.Path(folder)), locked(pathlib.Path(folder)):
      ...         print("alone")
      alone
    """
    real = folder.resolve()
    if real in _HELD.get():
        yield
        return
    with open(folder / _NAME, "a+b", buffering=0) as file:
        take(file, folder, does_wait=does_wait)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        token = _HELD.set(_HELD.get() | {real})
        try:
            yield
        finally:
            _HELD.reset(token)


def take(file: IO[bytes], folder: pathlib.Path, *, does_wait: bool = False) -> None:
    """Takes the lock of an open file, until the file is closed or the process ends.

    Args:
      file: open for writing.
      folder: that it stands for, for the sentence.
      does_wait: whether to wait for another process, as the log says then; else this
        one is refused.

    Raises:
      InputError: when another process has it.

    Example:
      >>> import tempfile
      >>> with tempfile.NamedTemporaryFile() as one, open(one.name, "ab") as other:
      ...     take(one, pathlib.Path("runs/mine"))
      ...     take(other, pathlib.Path("runs/mine"))
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: Another process is at work in runs/mine; wait \
for it, or use another folder.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        return _warn(folder, "this system knows no such locks")
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            said = f"Another process is at work in {folder}{_holder(file)}; "
            if not does_wait:
                said += "wait for it, or use another folder."
                raise errors.InputError(said) from error
            logging.getLogger("distill_jax").warning("%sthis one waits for it.", said)
            fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        _warn(folder, error.strerror or str(error))


def _holder(file: IO[bytes]) -> str:
    """Who has written their name into the file."""
    try:
        with open(file.name, "rb") as other:
            name = other.read(200).decode()
    except (OSError, ValueError, TypeError):
        return ""
    return f" ({name})" if name.startswith("process ") else ""


def _warn(folder: pathlib.Path, why: str) -> None:
    errors.warn(
        f"The folder {folder} cannot be locked ({why}), so see to it that no other "
        "process works there."
    )
