# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads pickles of plain content without Python's pickle machine.

A pickle is a program: Python's own reader runs whatever it names, and even numpy's
types crash a process that puts them together wrongly. The reader here knows the
operations that build numbers, texts, containers and arrays of numbers, and calls the
functions of :mod:`~distill_jax.data.pickled_arrays` alone. What it builds takes no more
memory than a fixed room and a few times the length of the pickle.

Reference:
  "PEP 3154: Pickle protocol version 4" and "PEP 574: Pickle protocol 5", 2011 and 2018;
  the operations are those of Python's module ``pickletools``.
"""

import codecs
import os
from collections.abc import Callable
from typing import Any

from distill_jax import errors
from distill_jax.data import pickle_machine, pickled_arrays

__all__ = ["restricted_loads"]


def restricted_loads(content: bytes, path: str | os.PathLike = "the pickle") -> Any:
    """Unpickles numbers, texts, containers and numeric arrays, and nothing else.

    Args:
      content: the bytes of a pickle of any protocol, also as Python 2 wrote it.
      path: what to call it in an error.

    Returns:
      The object; texts of Python 2 come as bytes.

    Raises:
      InputError: when it names any other code, which is then not run, is damaged, or
        takes much more memory than its length.

    Example:
      >>> import pickle
      >>> restricted_loads(pickle.dumps({"labels": [1, 2]}))
      {'labels': [1, 2]}
      >>> restricted_loads(pickle.dumps(print), "evil")
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The pickle "evil" names the code builtins.print, \
which was refused and not run; only numbers, texts, lists and numpy arrays of numbers \
are read, so take the file from its official source.
    """
    try:
        return _run(pickle_machine.Machine(content))
    except pickled_arrays.ForeignCodeError as error:
        raise errors.InputError(
            f'The pickle "{path}" names the code {error}, which was refused and not '
            "run; only numbers, texts, lists and numpy arrays of numbers are read, so "
            "take the file from its official source."
        ) from error
    except Exception as error:  # A damaged pickle can raise almost anything.
        what = str(error) or type(error).__name__
        raise errors.InputError(
            f'The pickle "{path}" is cut off or damaged ({what}); fetch it again.'
        ) from error


def _run(machine: pickle_machine.Machine) -> Any:
    """Reads to the operation that ends the pickle; the value on the stack."""
    while (code := machine.take(1)) != b".":
        operation = _OPERATIONS.get(code)
        if operation is None:
            raise ValueError(f"the operation 0x{code.hex()} builds no plain value")
        operation(machine)
    value = machine.pop()
    if callable(value):
        raise ValueError("it is the name of a function")
    return value


_Operation = Callable[[pickle_machine.Machine], Any]


def _mark(machine: pickle_machine.Machine) -> None:
    machine.charge(64)
    machine.marks.append(machine.stack)
    machine.stack = []


def _discard(machine: pickle_machine.Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.to_mark()


def _make(value_fn: Callable[[], Any]) -> _Operation:
    return lambda machine: machine.push(value_fn())


def _number(form: str) -> _Operation:
    return lambda machine: machine.push(machine.number(form))


def _text(form: str, decode: Callable[[bytes], Any]) -> _Operation:
    """A length and so many bytes."""
    return lambda machine: machine.push(decode(machine.take(machine.number(form))))


def _line(decode: Callable[[bytes], Any]) -> _Operation:
    return lambda machine: machine.push(decode(machine.line()))


def _signed(content: bytes) -> int:
    return int.from_bytes(content, "little", signed=True)


def _unicode(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _int_of_line(line: bytes) -> int | bool:
    """A number in digits; Python writes truth values as 00 and 01."""
    if line in (b"00", b"01"):
        return line == b"01"
    return int(line.removesuffix(b"L"))


def _string_of_line(line: bytes) -> bytes:
    """A text of Python 2 between quotes, with its escapes."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("a text has no quotes")
    return codecs.escape_decode(line[1:-1])[0]  # pyright: ignore


def _tuple(size: int) -> _Operation:
    """The last values as a tuple."""
    return lambda machine: machine.push(
        tuple(reversed([machine.pop() for _ in range(size)]))
    )


def _extend(machine: pickle_machine.Machine, items: list[Any]) -> None:
    """Puts items to the end of the list on the stack."""
    machine.charge(16 * len(items))
    machine.last(list).extend(items)


def _set_items(machine: pickle_machine.Machine, items: list[Any]) -> None:
    """Puts keys and values in turn into the dict on the stack."""
    machine.charge(pickle_machine.ENTRY * len(items))
    target = machine.last(dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
        target[pickled_arrays.checked_key(key)] = value


def _set_item(machine: pickle_machine.Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


def _filled(
    kind: type, fill: Callable[[pickle_machine.Machine, list[Any]], None]
) -> _Operation:
    """A new list or dict of what stands behind the mark."""

    def operation(machine):
        items = machine.to_mark()
        machine.push(kind())
        fill(machine, items)

    return operation


def _members(machine: pickle_machine.Machine) -> list[Any]:
    """What stands behind the mark, as members of a set."""
    items = machine.to_mark()
    machine.charge(pickle_machine.ENTRY * len(items))
    return [pickled_arrays.checked_key(item) for item in items]


def _add_members(machine: pickle_machine.Machine) -> None:
    members = _members(machine)
    machine.last(set).update(members)


def _get(read: Callable[[pickle_machine.Machine], int]) -> _Operation:
    def operation(machine):
        machine.charge(8)
        machine.stack.append(machine.memo[read(machine)])

    return operation


def _put(read: Callable[[pickle_machine.Machine], int]) -> _Operation:
    def operation(machine):
        machine.charge(pickle_machine.ENTRY)
        machine.memo[read(machine)] = machine.stack[-1]

    return operation


def _named(machine: pickle_machine.Machine, module: Any, name: Any) -> None:
    """Puts our own function of that name onto the stack."""
    if type(module) is not str or type(name) is not str:
        raise ValueError("the name of code is no text")
    machine.push(pickled_arrays.known(module, name))


def _stack_named(machine: pickle_machine.Machine) -> None:
    name, module = machine.pop(), machine.pop()
    _named(machine, module, name)


def _call(machine: pickle_machine.Machine) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.push(pickled_arrays.call(function, arguments, machine.charge))


def _build(machine: pickle_machine.Machine) -> None:
    state = machine.pop()
    machine.last(pickled_arrays.Unfinished).build(state, machine.charge)


def _begin(machine: pickle_machine.Machine) -> None:
    """The version of the protocol."""
    if machine.number("<B") > 5:
        raise ValueError("it is of a later protocol than 5")


# fmt: off
_OPERATIONS: dict[bytes, _Operation] = {
    b"\x80": _begin,
    b"\x95": lambda machine: machine.take(8),  # The length of a frame.
    b"(": _mark,
    b"0": _discard,
    b"1": pickle_machine.Machine.to_mark,
    b"2": lambda machine: machine.push(machine.stack[-1]),
    # Numbers.
    b"N": _make(lambda: None), b"\x88": _make(lambda: True),
    b"\x89": _make(lambda: False),
    b"I": _line(_int_of_line), b"L": _line(_int_of_line), b"F": _line(float),
    b"K": _number("<B"), b"M": _number("<H"), b"J": _number("<i"), b"G": _number(">d"),
    b"\x8a": _text("<B", _signed), b"\x8b": _text("<i", _signed),
    # Texts and bytes.
    b"S": _line(_string_of_line), b"U": _text("<B", bytes), b"T": _text("<i", bytes),
    b"C": _text("<B", bytes), b"B": _text("<I", bytes), b"\x8e": _text("<Q", bytes),
    b"\x96": _text("<Q", bytearray),
    b"V": _line(lambda line: line.decode("raw-unicode-escape")),
    b"\x8c": _text("<B", _unicode), b"X": _text("<I", _unicode),
    b"\x8d": _text("<Q", _unicode),
    # Containers.
    b")": _tuple(0), b"\x85": _tuple(1), b"\x86": _tuple(2), b"\x87": _tuple(3),
    b"t": lambda machine: machine.push(tuple(machine.to_mark())),
    b"]": _make(list), b"l": _filled(list, _extend),
    b"a": lambda machine: _extend(machine, [machine.pop()]),
    b"e": lambda machine: _extend(machine, machine.to_mark()),
    b"}": _make(dict), b"d": _filled(dict, _set_items), b"s": _set_item,
    b"u": lambda machine: _set_items(machine, machine.to_mark()),
    b"\x8f": _make(set),
    b"\x90": _add_members,
    b"\x91": lambda machine: machine.push(frozenset(_members(machine))),
    # The memo.
    b"g": _get(lambda machine: int(machine.line())),
    b"h": _get(lambda machine: machine.number("<B")),
    b"j": _get(lambda machine: machine.number("<I")),
    b"p": _put(lambda machine: int(machine.line())),
    b"q": _put(lambda machine: machine.number("<B")),
    b"r": _put(lambda machine: machine.number("<I")),
    b"\x94": _put(lambda machine: len(machine.memo)),
    # Code.
    b"c": lambda machine: _named(
        machine, _unicode(machine.line()), _unicode(machine.line())),
    b"\x93": _stack_named,
    b"R": _call,
    b"b": _build,
}
# fmt: on
