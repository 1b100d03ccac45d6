# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The functions that pickles of plain content may name, written anew.

Numpy and Python name about ten functions in a pickle of numbers. Each of them is a
function here that looks at its arguments first, so that no array is put together of
anything but numbers, and none is larger than the bytes that the pickle holds for it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["ForeignCodeError", "Unfinished", "call", "checked_key", "finished", "known"]

_KINDS = "biufc"  # Truth values, whole numbers, real and complex ones.
_CORES = ("numpy.core", "numpy._core")


class ForeignCodeError(ValueError):
    """A pickle names code that is not in the table; it is not looked up."""


class Unfinished:
    """A type or an array of numpy, which a pickle gives its state after it is named.

    Attributes:
      value: the type, or the array once it has its state.
    """

    def __init__(self, value: np.dtype | None):
        self.value: Any = value

    def build(self, state: Any, charge: Callable[[int], None]) -> None:
        """Gives it its state, as numpy writes it.

        Args:
          state: what the pickle holds.
          charge: called with the bytes that are taken.

        Raises:
          ValueError: when it is not the state of numbers.
        """
        if isinstance(self.value, np.dtype):
            self.value = _ordered(self.value, state)
        else:
            self.value = _array_of_state(state, charge)


def finished(value: Any) -> Any:
    """Returns a value, or the array or type that it stands for.

    Example:
      >>> finished(3)
      3
    """
    if not isinstance(value, Unfinished):
        return value
    if value.value is None:
        raise ValueError("an array has no content")
    return value.value


def known(module: str, name: str) -> Callable[..., Any]:
    """Finds our own function for the name of code.

    Args:
      module: as a pickle names it.
      name: likewise.

    Returns:
      A function of the arguments and of what is called with the bytes that are taken.

    Raises:
      ForeignCodeError: when there is none.

    Example:
      >>> known("builtins", "set") is known("__builtin__", "set")
      True
      >>> known("os", "system")
      Traceback (most recent call last):
      ...
      distill_jax.data.pickled_arrays.ForeignCodeError: os.system
    """
    if (module, name) not in _KNOWN:
        raise ForeignCodeError(f"{module}.{name}")
    return _KNOWN[module, name]


def call(function: Any, arguments: Any, charge: Callable[[int], None]) -> Any:
    """Calls one of our own functions.

    Args:
      function: from :func:`known`.
      arguments: a tuple, as a pickle holds it.
      charge: called with the bytes that are taken.

    Returns:
      The value.

    Raises:
      ValueError: when the function is none of ours, or the arguments do not fit it.

    Example:
      >>> call(known("builtins", "complex"), (1.0, 2.0), lambda size: None)
      (1+2j)
    """
    if type(arguments) is not tuple or function not in _KNOWN.values():
        raise ValueError("it calls what is no function")
    return function(arguments, charge)


def checked_key(key: Any) -> Any:
    """Returns a key of a dict or a member of a set, which hashes in no time.

    Example:
      >>> checked_key("labels")
      'labels'
    """
    is_small = type(key) is int and -(2**63) <= key < 2**63
    if not is_small and type(key) not in (str, bytes, bool, float, complex, type(None)):
        raise ValueError(f"a key has the type {type(key).__name__}")
    return key


def _foreign(name: str) -> Callable[..., Any]:
    """The function of a name that stands in arguments, and is never called."""

    def refuse(arguments, charge):
        del arguments, charge  # Whatever they are.
        raise ForeignCodeError(name)

    return refuse


def _encode(arguments: tuple, charge) -> bytes:
    """`codecs.encode`, as Python 3 writes bytes for Python 2."""
    text, *encoding = arguments
    if type(text) is not str or encoding not in ([], ["latin1"], ["latin-1"]):
        raise ValueError("bytes are not encoded as latin1")
    charge(len(text))
    return text.encode("latin1")


def _bytes(arguments: tuple, charge) -> bytes:
    """No bytes, or those of a text."""
    return _encode(arguments, charge) if arguments else b""


def _bytearray(arguments: tuple, charge) -> bytearray:
    if len(arguments) == 1 and type(arguments[0]) is bytes:
        charge(len(arguments[0]))
        return bytearray(arguments[0])
    return bytearray(_bytes(arguments, charge))


def _complex(arguments: tuple, charge) -> complex:
    del charge  # Small.
    real, imaginary = arguments
    if not {type(real), type(imaginary)} <= {int, float}:
        raise ValueError("a complex number has other parts than numbers")
    return complex(real, imaginary)


def _ordered_dict(arguments: tuple, charge) -> dict:
    """A dict, whose entries follow."""
    del charge  # Empty.
    if arguments:
        raise ValueError("a dict is made of other things than entries")
    return {}


def _collection(kind: type) -> Callable[..., Any]:
    """A set, made of a list."""

    def make(arguments, charge):
        items = arguments[0] if arguments else []
        if len(arguments) > 1 or type(items) is not list:
            raise ValueError("a set is not made of a list")
        charge(100 * len(items))
        return kind(map(checked_key, items))

    return make


def _dtype(arguments: tuple, charge) -> Unfinished:
    """A type of numbers, such as ("u1", False, True)."""
    del charge  # Small.
    name, *options = (_text(part) for part in arguments)
    if type(name) is not str or len(name) > 8 or set(map(type, options)) - {bool, int}:
        raise ValueError("the type of an array is no name")
    return Unfinished(_numeric(np.dtype(name)))


def _numeric(dtype: Any) -> np.dtype:
    """The type, if it is one of numbers."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in _KINDS or dtype.shape:
        raise ValueError("the type of an array is not one of numbers")
    return dtype


def _ordered(dtype: np.dtype, state: Any) -> np.dtype:
    """The type with the order of bytes of its state; no parts, no names."""
    if (
        type(state) is not tuple
        or len(state) < 5
        or any(p is not None for p in state[2:5])
    ):
        raise ValueError("the type of an array has parts")
    order = _text(state[1])
    if order not in ("|", "<", ">", "="):
        raise ValueError("the type of an array has no order of bytes")
    return dtype.newbyteorder(order)


def _text(value: Any) -> Any:
    """Texts of Python 2 come as bytes."""
    return value.decode("ascii") if type(value) is bytes else value


def _reconstruct(arguments: tuple, charge) -> Unfinished:
    """An array that gets its state later: (numpy.ndarray, (0,), b"b")."""
    del charge  # Nothing yet.
    if len(arguments) != 3 or arguments[0] is not _KNOWN["numpy", "ndarray"]:
        raise ValueError("an array is of no known kind")
    return Unfinished(None)


def _array_of_state(state: Any, charge) -> np.ndarray:
    """The array of (version, shape, type, is_fortran, bytes)."""
    if type(state) is not tuple or len(state) not in (4, 5):
        raise ValueError("an array has no state")
    shape, dtype, is_fortran, content = state[-4:]
    return _array(content, dtype, shape, "F" if is_fortran else "C", charge)


def _from_buffer(arguments: tuple, charge) -> np.ndarray:
    """An array as protocol 5 writes it: (bytes, type, shape, order)."""
    content, dtype, shape, order = arguments
    return _array(content, dtype, shape, _text(order), charge)


def _array(content: Any, dtype: Any, shape: Any, order: Any, charge) -> np.ndarray:
    """An array of numbers whose bytes are all there."""
    dtype = _numeric(dtype)
    is_shape = type(shape) is tuple and all(type(n) is int and n >= 0 for n in shape)
    if type(content) not in (bytes, bytearray) or not is_shape or len(shape) > 32:
        raise ValueError("an array has no bytes or no shape")
    if math.prod(shape) * dtype.itemsize != len(content) or order not in ("C", "F"):
        raise ValueError(
            f"an array of shape {shape} and type {dtype} holds {len(content)} bytes"
        )
    charge(len(content))
    return np.frombuffer(content, dtype).reshape(shape, order=order).copy(order)


def _scalar(arguments: tuple, charge) -> Any:
    """A number of numpy: (type, bytes)."""
    dtype, content = arguments
    return _array(content, dtype, (), "C", charge)[()]


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _ordered_dict,
    ("numpy", "ndarray"): _foreign("numpy.ndarray"),
    ("numpy", "dtype"): _dtype,
}
for _core in _CORES:
    _KNOWN[f"{_core}.multiarray", "_reconstruct"] = _reconstruct
    _KNOWN[f"{_core}.multiarray", "scalar"] = _scalar
    _KNOWN[f"{_core}.numeric", "_frombuffer"] = _from_buffer
for _name, _function in {
    "bytearray": _bytearray,
    "bytes": _bytes,
    "complex": _complex,
    "frozenset": _collection(frozenset),
    "set": _collection(set),
}.items():
    _KNOWN["builtins", _name] = _KNOWN["__builtin__", _name] = _function
