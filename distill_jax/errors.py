# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The errors that speak to the person who runs the library.

A message is one full sentence: what was passed, why it cannot work, what to use.
"""

import difflib
import numbers
from collections.abc import Iterable
from typing import Any

__all__ = [
    "InputError",
    "LostProcessError",
    "NonFiniteError",
    "check_counts",
    "nearest",
]


class InputError(ValueError):
    """What was passed in cannot work; the command line prints it and exits with 2."""


class NonFiniteError(ArithmeticError):
    """A loss became infinite or not a number; the last good state is kept."""


class LostProcessError(RuntimeError):
    """Another process of the run is gone; the last checkpoint is kept."""


def check_counts(*, of: str = "", least: int = 1, **counts: Any) -> None:
    """Raises unless numbers are whole and not too small.

    Args:
      of: what they belong to, such as ``"the experts"``.
      least: the smallest that can be.
      **counts: the numbers by their names.

    Raises:
      InputError: for the first number that is neither.

    Example:
      >>> check_counts(num_runs=5, num_checkpoints=1)
    """
    owner = f" of {of}" if of else ""
    for name, value in counts.items():
        if not isinstance(value, numbers.Integral) or value < least:
            raise InputError(
                f"`{name}`{owner} must be a whole number, at least {least}, got "
                f"{value!r}."
            )


def nearest(name: str, known: Iterable[str], *, num: int = 3) -> str:
    """Names the known words that look like a mistyped one.

    Args:
      name: what was passed.
      known: the words that would have worked.
      num: how many to name at most.

    Returns:
      ``'Did you mean "a" or "b"?'``, or ``'Known are "a", "b", ....'`` where nothing
      is close.

    Example:
      >>> nearest("digit", ["digits", "mnist"])
      'Did you mean "digits"?'
      >>> nearest("xyz", ["digits", "mnist"])
      'Known are "digits", "mnist".'
    """
    known = list(known)
    close = difflib.get_close_matches(name, known, n=num, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(f'"{word}"' for word in close) + "?"
    return "Known are " + ", ".join(f'"{word}"' for word in known) + "."
