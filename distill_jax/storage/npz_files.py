# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The one reader of npz files: heads first, nothing unpickled, nothing too large.

An npz file is a zip archive of npy files, each with a head that says type and shape.
All heads are read and held against the archive before one array is unpacked.
"""

import contextlib
import io
import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from distill_jax.storage import bounds

__all__ = ["headers", "read", "read_header"]

_MAGIC = b"\x93NUMPY"
_LONGEST_HEAD = 10_000
# Signs of a head: numpy evaluates it as a literal, which deep nesting would exhaust.
_HEAD = re.compile(r"[\w\s'\"{}(),:<>|=]*")
_MOST_AXES = 32
_KINDS = "biufcSU"  # No objects, which are pickled; no records and no dates.
_PIECE = 2**20
_UNTOLD = 0xFFFF  # The number of files where it has its place elsewhere.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

Source = str | os.PathLike | bytes


def headers(source: Source, *, what: str) -> dict[str, bounds.Header]:
    """Reads the heads of all arrays, after checking that they can be what they say.

    Args:
      source: the file, or its content.
      what: the words that name it in an error, such as ``'The file "a.npz"'``.

    Returns:
      Shape and type of each array by its name.

    Raises:
      InputError: when an array is too large, see :func:`bounds.check_size`.
      Exception: whatever damaged content leads to; see :func:`bounds.reading`.

    Example:
      >>> stream = io.BytesIO()
      >>> np.savez(stream, x=np.zeros((3, 2)), y=np.arange(3))
      >>> headers(stream.getvalue(), what="It")["x"].shape
      (3, 2)
    """
    with _opened(source) as (archive, size):
        members = _members(archive, size)
        found = {name: _header(archive, info) for name, info in members.items()}
        total = sum(info.file_size for info in members.values())
        packed = sum(info.compress_size for info in members.values())
        bounds.check_size(total, packed=packed, what=what)
        for name, info in members.items():
            bounds.check_size(
                info.file_size,
                packed=info.compress_size,
                what=f'The array "{name}" of {what[:1].lower()}{what[1:]}',
            )
        return found


def read(
    source: Source,
    names: Sequence[str] | None = None,
    *,
    what: str,
    check_fn: Callable[[Mapping[str, bounds.Header]], None] | None = None,
) -> dict[str, np.ndarray]:
    """Reads arrays of an npz file.

    Args:
      source: the file, or its content.
      names: of the arrays that are wanted; all by default.
      what: the words that name it in an error.
      check_fn: called with all heads before any array is unpacked; raises where they
        cannot be what is wanted.

    Returns:
      The arrays by their names.

    Raises:
      InputError: when an array is too large.
      Exception: whatever damaged content leads to; see :func:`bounds.reading`.

    Example:
      >>> stream = io.BytesIO()
      >>> np.savez(stream, x=np.zeros((3, 2)), y=np.arange(3))
      >>> read(stream.getvalue(), ["y"], what="It")
      {'y': array([0, 1, 2])}
    """
    found = headers(source, what=what)
    if check_fn is not None:
        check_fn(found)
    with _opened(source) as (archive, _):
        wanted = found if names is None else names
        return {name: _array(archive, _member_name(archive, name)) for name in wanted}


def read_header(file: IO[bytes]) -> tuple[bounds.Header, bool]:
    """Reads the head of an npy file, without evaluating anything but short literals.

    Args:
      file: opened at its beginning; it stands before the numbers afterwards.

    Returns:
      Shape and type, and whether the numbers stand column by column.

    Raises:
      ValueError: when it is no head of an array of numbers or texts.

    Example:
      >>> stream = io.BytesIO()
      >>> np.save(stream, np.zeros((3, 2), np.float32))
      >>> _ = stream.seek(0)
      >>> read_header(stream)
      (Header(shape=(3, 2), dtype=dtype('float32')), False)
    """
    begin = file.read(8)
    if begin[:6] != _MAGIC or begin[6:] not in (b"\1\0", b"\2\0"):
        raise ValueError("it holds something else than arrays of numbers")
    is_first = begin[6:] == b"\1\0"
    length = file.read(2 if is_first else 4)
    num = int.from_bytes(length, "little")
    text = file.read(min(num, _LONGEST_HEAD))
    if num > _LONGEST_HEAD or len(text) < num or not _HEAD.fullmatch(text.decode()):
        raise ValueError("the head of an array is damaged, or names other types")
    formats = np.lib.format
    parse = formats.read_array_header_1_0 if is_first else formats.read_array_header_2_0
    shape, is_columns, dtype = parse(io.BytesIO(length + text))
    if dtype.hasobject or dtype.kind not in _KINDS or not dtype.itemsize:
        raise ValueError(
            f"an array has the type {dtype}, which may need pickled objects"
        )
    if (
        len(shape) > _MOST_AXES
        or min(shape, default=0) < 0
        or max((0, *shape)) >= 2**62
    ):
        raise ValueError("an array has a shape that cannot be")
    return bounds.Header(tuple(shape), dtype), is_columns


@contextlib.contextmanager
def _opened(source: Source) -> Iterator[tuple[zipfile.ZipFile, int]]:
    """The archive, and the bytes that it has."""
    if isinstance(source, bytes):
        with zipfile.ZipFile(io.BytesIO(source)) as archive:
            yield archive, len(source)
        return
    with pathlib.Path(source).open("rb") as file:
        if file.read(6) == _MAGIC:
            raise ValueError("it is a single array, as numpy.save writes it")
        with zipfile.ZipFile(file) as archive:
            yield archive, os.fstat(file.fileno()).st_size


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by the names of their arrays."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name in members:
            raise ValueError(f'it holds "{name}" twice')
        if info.compress_type not in _METHODS or info.flag_bits & 1:
            raise ValueError(f'"{name}" is packed in a way that numpy never uses')
        members[name] = info
    if sum(info.compress_size for info in members.values()) > size:
        raise ValueError("its parts overlap")
    if _num_announced(archive) not in (len(members), _UNTOLD):
        raise ValueError("its list of arrays is damaged")
    return members


def _num_announced(archive: zipfile.ZipFile) -> int:
    """How many files the end of an archive announces, which zipfile never asks."""
    file: Any = archive.fp
    file.seek(-22 - len(archive.comment), os.SEEK_END)
    return int.from_bytes(file.read(12)[10:], "little")


def _member_name(archive: zipfile.ZipFile, name: str) -> str:
    """The name of the file of an array."""
    names = archive.NameToInfo
    return f"{name}.npy" if f"{name}.npy" in names else name


def _header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bounds.Header:
    """The head of one array, which must tell the length of its file."""
    with archive.open(info) as file:
        header, _ = read_header(file)
        expected = file.tell() + header.num_bytes
    if expected != info.file_size:
        raise ValueError(
            f"an array of shape {header.shape} takes {expected} bytes, but "
            f"{info.file_size} are there"
        )
    return header


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """One array; its sum is checked by the archive where it ends."""
    with archive.open(name) as file:
        header, is_columns = read_header(file)
        out: Any = np.empty(header.num_bytes, np.uint8)
        for at in range(0, header.num_bytes, _PIECE):
            piece = file.read(min(_PIECE, header.num_bytes - at))
            out[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            if len(piece) < min(_PIECE, header.num_bytes - at):
                raise ValueError("it ends too early")
        if file.read(1):
            raise ValueError("an array is followed by something else")
    order = "F" if is_columns else "C"
    return out.view(header.dtype).reshape(header.shape, order=order)
