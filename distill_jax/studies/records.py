# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keeps what cells came to in ``cells.jsonl``, a line for each, safe against a kill.

A line is added whole and reaches the disk before the next cell begins. A kill can tear
the last line only; it is dropped, and its cell runs again. Of two lines with the same
digest the later one counts, so that a cell which failed can be tried again. Each line
carries the SHA-256 of all it says; those of earlier versions do not.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from distill_jax import errors
from distill_jax.runtime import workdir as workdirs
from distill_jax.storage import bounds, digests, locks

__all__ = ["FILE_NAME", "Log", "Record", "opened", "read"]

FILE_NAME = "cells.jsonl"
_ADVICE = "remove the line, and its cell runs again, or use another folder"


class Record(NamedTuple):
    """What a cell came to: rows, or an error."""

    digest: str
    name: str
    description: dict[str, Any]
    seed: int
    seconds: float
    compile_seconds: float  # of them, tracing and compiling
    code: str  # digest of the library that computed it
    environment: str = ""  # devices and versions, in words
    rows: list[dict[str, Any]] | None = None
    error: str | None = None
    traceback: str | None = None


class Log:
    """The records of a folder that this process has opened, by digest."""

    def __init__(self, folder: pathlib.Path, file: IO[bytes]):
        self.records: dict[str, Record] = {}
        self._folder, self._file = folder, file

    def add(self, record: Record) -> None:
        """Adds a record; it is on the disk when this returns."""
        document = digests.sealed(record._asdict())
        line = json.dumps(document, allow_nan=False).encode() + b"\n"
        with workdirs.writing(self._folder):
            size = self._file.seek(0, os.SEEK_END)
            try:
                while line:
                    line = line[self._file.write(line) :]
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(size)
                raise
        self.records[record.digest] = record


def read(folder: pathlib.Path) -> dict[str, Record]:
    """Reads the records in a folder; a torn last line is left out.

    Args:
      folder: of a study; neither it nor its file need be there.

    Returns:
      The last record of each digest.

    Raises:
      DamagedError: when a line before the last is not what was written.
      InputError: when the file cannot be read.

    Example:
      >>> read(pathlib.Path("nowhere"))
      {}
    """
    path = folder / FILE_NAME
    if not path.exists():
        return {}
    with bounds.reading(f"{path} could not be read ({{error}}); use another folder."):
        *lines, _ = path.read_bytes().split(b"\n")  # What has no newline is torn.
    records, num_unchecked = {}, 0
    for number, line in enumerate(lines, start=1):
        message = (
            f"Line {number} of {path} is no record of a cell ({{error}}), so the file "
            f"was changed; {_ADVICE}."
        )
        with bounds.reading(message, errors.DamagedError):
            document = json.loads(line)
            if digests.is_sealed(document):
                source = f"Line {number} of {path}"
                document = digests.unsealed(document, source, advice=_ADVICE)
            else:
                num_unchecked += 1
            record = Record(**document)
            _check(record)
        records[record.digest] = record
    if num_unchecked:
        digests.say_unchecked(f"{num_unchecked} of {len(lines)} lines of {path}")
    return records


def _check(record: Record) -> None:
    """Raises unless the fields of a record have their types."""
    for types, values in (
        (str, (record.digest, record.name, record.code, record.environment)),
        (str | None, (record.error, record.traceback)),
        (int | float, (record.seed, record.seconds, record.compile_seconds)),
        (dict, (record.description, *(record.rows or []))),
        (list | None, (record.rows,)),
    ):
        if not all(isinstance(value, types) for value in values):
            raise ValueError("a field is of another type")


@contextlib.contextmanager
def opened(folder: pathlib.Path) -> Iterator[Log]:
    """Opens the records of a folder for one process alone.

    Args:
      folder: of a study; made where missing.

    Yields:
      The :class:`Log`.

    Raises:
      InputError: when the folder cannot be written, its file was changed, or another
        process is at work there.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with opened(pathlib.Path(folder)) as log:
      ...         log.add(Record("d1", "one", {}, 0, 2.5, 1.0, "c1", rows=[{"n": 1}]))
      ...     read(pathlib.Path(folder))["d1"].rows
      [{'n': 1}]
    """
    path = folder / FILE_NAME
    with workdirs.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab", buffering=0)  # noqa: SIM115
    with file:
        locks.take(file, folder)
        log = Log(folder, file)
        log.records = read(folder)
        with workdirs.writing(folder):
            file.truncate(path.read_bytes().rfind(b"\n") + 1)
        yield log
