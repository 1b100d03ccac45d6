# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The one reader of MATLAB files: numeric arrays of level 5, by the published format.

    file = head of 128 bytes, element, element, ...
    element = type, length, content; packed by zlib or not
    array = flags, axes, name, real part, imaginary part if any

Every length is held against what is there before anything is read, and sizes are known
before an array is unpacked. Cells, structures, objects, texts and sparse arrays are
passed over.

Reference:
  The MathWorks, "MAT-File Format" (2023), "Level 5 MAT-File Format".
"""

import os
import pathlib
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distill_jax import errors
from distill_jax.storage import bounds

__all__ = ["read_arrays"]

_HEAD = 128
_MATRIX, _PACKED = 14, 15
_INT8, _INT32, _UINT32 = 1, 5, 6
# The types of stored numbers, and the classes of arrays.
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4"}
_STORED |= {7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4"}
_CLASSES |= {14: "i8", 15: "u8"}
_COMPLEX = 0x800
_MOST_AXES = 32
_LONGEST_NAME = 1024
_PIECE = 2**16  # Packed bytes that are taken at a time.


_Bytes = bytes | bytearray | memoryview


def read_arrays(
    path: str | os.PathLike,
    names: Sequence[str],
    *,
    check_fn: Callable[[Mapping[str, bounds.Header]], None] | None = None,
) -> dict[str, np.ndarray]:
    """Reads numeric arrays of a MATLAB file.

    Args:
      path: a file of level 5, as MATLAB writes it with "-v6" or "-v7".
      names: of the arrays that are wanted.
      check_fn: called with shapes and types of those that are there, before any is
        unpacked; raises where they cannot be what is wanted.

    Returns:
      Those that are there, in the types of their classes; not to be written to.

    Raises:
      InputError: when the file is damaged, of another version, or does not fit into
        the memory.

    Example:
      >>> import scipy.io, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "mine.mat")
      ...     scipy.io.savemat(path, {"x": np.arange(6.0).reshape(2, 3), "name": "a"})
      ...     read_arrays(path, ["x", "name"])["x"].tolist()
      [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """
    path = pathlib.Path(path)
    with bounds.reading(
        f'The file "{path}" is not a sound MATLAB file ({{error}}); fetch it again.'
    ):
        size = path.stat().st_size
        bounds.check_size(size, packed=size, what=f'The file "{path}"')
        content = path.read_bytes()
        order = _order(content, path)
        arrays: dict[str, _Array] = {}
        for source in _elements(memoryview(content), order):
            array = _begin(source)
            if array is not None and array.name in names:
                if array.name in arrays:
                    raise ValueError(f'it holds "{array.name}" twice')
                arrays[array.name] = array
        headers = {name: array.header for name, array in arrays.items()}
        if check_fn is not None:
            check_fn(headers)
        for name, array in arrays.items():
            what = f'The array "{name}" of the file "{path}"'
            packed = array.source.size
            bounds.check_size(array.header.num_bytes, packed=8 * packed, what=what)
            bounds.check_size(array.num_stored, packed=packed, what=what)
        return {name: _load(array) for name, array in arrays.items()}


def _order(content: bytes, path: pathlib.Path) -> str:
    """The order of bytes of a file of level 5."""
    if content[:10] == b"MATLAB 7.3" or content[:4] == b"\x89HDF":
        raise errors.InputError(
            f'The file "{path}" is of MATLAB 7.3, which is another format (HDF5); '
            'save it again with "-v7".'
        )
    if len(content) < _HEAD or 0 in content[:4]:
        raise ValueError("it does not begin as level 5 does")
    orders = {b"IM": "<", b"MI": ">"}
    mark = content[126:128]
    if mark not in orders or int.from_bytes(content[124:126], _WORDS[mark]) != 0x0100:
        raise ValueError("it is of an unknown version")
    return orders[mark]


_WORDS: dict[bytes, Any] = {b"IM": "little", b"MI": "big"}


class _Plain:
    """The content of an element, read from its beginning."""

    def __init__(self, content: memoryview, order: str):
        self._rest, self.order, self.size = content, order, len(content)

    def read(self, size: int) -> _Bytes:
        """The next bytes."""
        if size > len(self._rest):
            raise ValueError("it ends too early")
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def finish(self) -> None:
        """Raises unless all was read, but what fills up eight bytes."""
        if len(self._rest) >= 8:
            raise ValueError("an array is followed by something else")


class _Inflated(_Plain):
    """The same of an element that is packed; no more is unpacked than is asked for."""

    def __init__(self, content: memoryview, order: str):
        super().__init__(content, order)
        self._inflate, self._piece = zlib.decompressobj(), b""

    def read(self, size: int) -> bytearray:
        """The next bytes."""
        out, at = bytearray(size), 0
        while at < size:
            part = self._next(size - at)
            if not part:
                raise ValueError("it ends too early")
            out[at : at + len(part)] = part
            at += len(part)
        return out

    def finish(self) -> None:
        """Raises unless all was read, and the sum over it is right."""
        if len(self._next(8)) >= 8:
            raise ValueError("an array is followed by something else")
        while not self._inflate.eof:
            if self._next(1) or not self._rest:
                raise ValueError("it ends too early")

    def _next(self, size: int) -> bytes:
        """Some bytes, at most so many; none at the end alone."""
        part = b""
        while not part and not self._inflate.eof and (self._piece or self._rest):
            piece = self._piece or bytes(super().read(min(_PIECE, len(self._rest))))
            part = self._inflate.decompress(piece, size)
            self._piece = self._inflate.unconsumed_tail
        return part


class _Array(NamedTuple):
    """An array whose head was read; its source stands before the numbers."""

    name: str
    header: bounds.Header
    stored: np.dtype  # The type of the numbers in the file.
    first: _Bytes | None  # The numbers, where they stand in their tag.
    is_complex: bool
    source: _Plain

    @property
    def num_stored(self) -> int:
        """The bytes of all numbers."""
        header = self.header
        return header.num_bytes // header.dtype.itemsize * self.stored.itemsize


def _elements(content: memoryview, order: str) -> Iterator[_Plain]:
    """The elements of the file that are arrays."""
    at = _HEAD
    while at < len(content):
        kind, size = np.frombuffer(content[at : at + 8], f"{order}u4").tolist()
        at += 8
        if size > len(content) - at:
            raise ValueError("it ends too early")
        source = (_Inflated if kind == _PACKED else _Plain)(
            content[at : at + size], order
        )
        at += size
        if kind == _PACKED:
            kind, _ = np.frombuffer(source.read(8), f"{order}u4").tolist()
        if kind != _MATRIX:
            raise ValueError(f"it holds an element of the unknown type {kind}")
        yield source


def _begin(source: _Plain) -> _Array | None:
    """The head of an array; None where it is none of numbers."""
    flags = np.frombuffer(_part(source, _UINT32, 8), f"{source.order}u4")
    kind, is_complex = int(flags[0]) & 0xFF, bool(flags[0] & _COMPLEX)
    if kind not in _CLASSES:
        return None
    axes = np.frombuffer(_part(source, _INT32, 4 * _MOST_AXES), f"{source.order}i4")
    shape = tuple(axes.tolist())
    if len(shape) < 2 or min(shape) < 0:
        raise ValueError(f"an array has the shape {shape}")
    name = bytes(_part(source, _INT8, _LONGEST_NAME)).decode("latin1")
    dtype = np.dtype(_CLASSES[kind])
    if is_complex:
        dtype = np.result_type(dtype, np.complex64)
    header = bounds.Header(shape, dtype)
    stored, size, first = _tag(source)
    if stored not in _STORED:
        raise ValueError(f"the numbers of an array have the unknown type {stored}")
    stored = np.dtype(f"{source.order}{_STORED[stored]}")
    if size != header.num_bytes // dtype.itemsize * stored.itemsize:
        raise ValueError(f"an array of shape {shape} has {size} bytes")
    return _Array(name, header, stored, first, is_complex, source)


def _load(array: _Array) -> np.ndarray:
    """The numbers."""
    size, source = array.num_stored, array.source
    first = array.first if array.first is not None else _padded(source, size)
    parts = [np.frombuffer(first, array.stored)]
    if array.is_complex:
        kind, length, first = _tag(source)
        if _STORED.get(kind) != array.stored.str[1:] or length != size:
            raise ValueError("the imaginary part of an array is another array")
        first = first if first is not None else _padded(source, size)
        parts.append(np.frombuffer(first, array.stored))
    source.finish()
    shape, dtype = array.header
    if array.is_complex:
        # By parts: i times infinity has a real part that is no number.
        both = np.empty(parts[0].shape, dtype)
        both.real, both.imag = parts
        parts = [both]
    return parts[0].astype(dtype, copy=False).reshape(shape, order="F")


def _part(source: _Plain, kind: int, most: int) -> _Bytes:
    """A part of the head, which must have this type and be short."""
    found, size, content = _tag(source)
    if found != kind or size > most:
        raise ValueError(f"a part of a head has the type {found} and {size} bytes")
    return content if content is not None else _padded(source, size)


def _tag(source: _Plain) -> tuple[int, int, _Bytes | None]:
    """Type, length, and the content where it is so short that it stands beside."""
    first = source.read(4)
    (word,) = np.frombuffer(first, f"{source.order}u4").tolist()
    second = source.read(4)
    if word >> 16:
        size = word >> 16
        if size > 4:
            raise ValueError("a short part is too long")
        return word & 0xFFFF, size, second[:size]
    (size,) = np.frombuffer(second, f"{source.order}u4").tolist()
    return word, size, None


def _padded(source: _Plain, size: int) -> _Bytes:
    """Content, and what fills it up to a multiple of eight bytes."""
    content = source.read(size)
    source.read(-size % 8)
    return content
