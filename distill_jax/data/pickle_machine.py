# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The state of a pickle that is read: what its operations take from and put to.

Each value on the stack, each entry of the memo and each copy of bytes is charged to a
room of bytes, so that a small pickle cannot become large.
"""

import struct
import sys
from typing import Any

from distill_jax.data import pickled_arrays

__all__ = ["ENTRY", "Machine"]

ENTRY = 100  # About the bytes that an entry of a dict takes.
_ROOM = 2**27  # Bytes that any pickle may take, beside `_FACTOR` times its length.
_FACTOR = 4


class Machine:
    """A place in the content, a stack with marks, a memo, and the room that is left.

    Args:
      content: the bytes of a pickle.
    """

    def __init__(self, content: bytes):
        self.content, self.at = content, 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.room = _ROOM + _FACTOR * len(content)

    def take(self, size: int) -> bytes:
        """The next bytes of the content."""
        start, end = self.at, self.at + size
        if size < 0 or end > len(self.content):
            raise ValueError("it ends too early")
        self.at = end
        return self.content[start:end]

    def number(self, form: str) -> Any:
        """The next number, as `struct` writes it."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        """The rest of the line, without its end."""
        start, end = self.at, self.content.find(b"\n", self.at)
        if end < 0:
            raise ValueError("it ends within a line")
        self.at = end + 1
        return self.content[start:end]

    def charge(self, size: int) -> None:
        """Raises when there is no room for so many bytes more."""
        self.room -= size
        if self.room < 0:
            raise ValueError(
                f"it takes more than {_FACTOR} times its length and {_ROOM >> 20} MB"
            )

    def push(self, value: Any) -> None:
        """Puts a value that was made for it onto the stack."""
        self.charge(sys.getsizeof(value) + 8)
        self.stack.append(value)

    def pop(self) -> Any:
        """The last value, taken off the stack."""
        if not self.stack:
            raise ValueError("a value is missing")
        return pickled_arrays.finished(self.stack.pop())

    def to_mark(self) -> list[Any]:
        """What was put onto the stack since the last mark, which is taken off."""
        if not self.marks:
            raise ValueError("a mark is missing")
        items, self.stack = self.stack, self.marks.pop()
        return [pickled_arrays.finished(item) for item in items]

    def last(self, kind: type) -> Any:
        """The value on the stack, which has to be of this type."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise ValueError(f"there is no {kind.__name__} to add to")
        return self.stack[-1]
