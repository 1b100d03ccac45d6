# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much memory the content of a file may take, decided from what its head says.

A packed file of a few bytes can become as large as it likes. Whoever reads one finds
the size in its head, and asks here before anything is unpacked.
"""

import contextlib
import math
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from distill_jax import errors

__all__ = ["Header", "available_memory", "check_size", "reading"]

_FREE = 2**28  # Bytes that any file may become.
_RATIO = 200  # Pictures and numbers are packed 2 to 20 times as small.
_MOST = 1040  # The most that deflate packs, and a little.
_SLACK = 2**24  # Small pictures of one colour are packed better.
_MEMORY = pathlib.Path("/proc/meminfo")
_LIMITS = (
    pathlib.Path("/sys/fs/cgroup/memory.max"),
    pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


class Header(NamedTuple):
    """What the head of an array says."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def num_bytes(self) -> int:
        """The bytes that the array takes."""
        return math.prod(self.shape) * self.dtype.itemsize


def check_size(num_bytes: int, *, packed: int, what: str) -> None:
    """Raises when content is too large to be unpacked.

    Args:
      num_bytes: that the head announces.
      packed: the bytes that hold it in the file; as many where it is not packed.
      what: the words that name it in an error, such as ``'The file "a.gz"'``.

    Raises:
      InputError: when so few bytes cannot hold it, no real content is packed so well,
        or there is not so much memory.

    Example:
      >>> check_size(10**6, packed=10**5, what="The file")
      >>> check_size(10**9, packed=10**6, what="The file")
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The file announces 1000 MB, but holds 1.0 MB; \
that is no plausible content, so fetch it again, or store it without compression.
    """
    sizes = f"announces {_megabytes(num_bytes)}, but holds {_megabytes(packed)}"
    if num_bytes > _MOST * packed + _SLACK:
        raise errors.InputError(
            f"{what} {sizes}, which cannot be unpacked to so much; fetch it again."
        )
    if num_bytes > max(_FREE, _RATIO * packed):
        raise errors.InputError(
            f"{what} {sizes}; that is no plausible content, so fetch it again, or "
            "store it without compression."
        )
    free = available_memory()
    if num_bytes > free:
        raise errors.InputError(
            f"{what} takes {_megabytes(num_bytes)} of memory, but only "
            f"{_megabytes(free)} are free; use a smaller part, or a larger machine."
        )


def available_memory() -> int:
    """Tells how many bytes can be taken.

    Returns:
      What the system calls available, at most the limit of the container; a large
      number where nothing is told.

    Example:
      >>> available_memory() > 2**20
      True
    """
    known = [2**62]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = _MEMORY.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        known.append(int(line.split()[1]) * 1024)
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError):  # No file, or the word "max".
            known.append(int(path.read_text()))
    return min(known)


@contextlib.contextmanager
def reading(
    message: str, kind: type[errors.InputError] = errors.InputError
) -> Iterator[None]:
    """Turns whatever a parser raises into an error in a sentence.

    Args:
      message: the sentence, with ``{error}`` where the words of the cause belong.
      kind: of the error, such as :class:`~distill_jax.errors.DamagedError`.

    Raises:
      InputError: in place of any other exception, which it keeps as its cause.

    Example:
      >>> with reading('The file "a" cannot be read ({error}); fetch it again.'):
      ...     {}["x"]
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The file "a" cannot be read (KeyError: 'x'); \
fetch it again.
    """
    try:
        yield
    except errors.InputError:
        raise
    except Exception as error:  # A parser of damaged content can raise anything.
        is_plain = isinstance(error, OSError | ValueError) and str(error)
        words = str(error) if is_plain else f"{type(error).__name__}: {error}"
        words = " ".join(words.split())[:300].strip(": ")
        raise kind(message.replace("{error}", words)) from error


def _megabytes(num_bytes: float) -> str:
    """A size in words."""
    megabytes = num_bytes / 1e6
    return f"{megabytes:.1f} MB" if megabytes < 100 else f"{megabytes:.0f} MB"
