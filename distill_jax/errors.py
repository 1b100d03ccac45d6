# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The errors that speak to the person who runs the library.

A message is one full sentence: what was passed, why it cannot work, what to use.
"""

import difflib
import numbers
import os
import sys
import warnings
from collections.abc import Iterable
from typing import Any

__all__ = [
    "DamagedError",
    "DivergedError",
    "FailedCellsError",
    "InputError",
    "Interrupted",
    "LostProcessError",
    "NewerError",
    "NonFiniteError",
    "check_counts",
    "nearest",
    "warn",
]

_FOLDER = os.path.dirname(__file__)


class InputError(ValueError):
    """What was passed in cannot work; the command line prints it and exits with 2."""


class DamagedError(InputError):
    """What was kept is not what was written; the sentence says what to do about it."""


class NewerError(InputError):
    """What was kept is of a later version of the library, and is left as it is."""


class NonFiniteError(ArithmeticError):
    """A loss is not finite, or a run no longer moves; the last good state is kept."""


class DivergedError(InputError, NonFiniteError):
    """All networks that were trained diverged; the sentence says what to change."""


class LostProcessError(RuntimeError):
    """Another process of the run is gone; the last checkpoint is kept."""


class FailedCellsError(RuntimeError):
    """Some cells of a study failed; those that did not are kept."""


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and has stopped after saving what it could.

    Attributes:
      signum: the number of the signal; a program ends with ``128 + signum``.
    """

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.signum = signum


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


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line of the user's code from which the package was called.

    Args:
      message: what to say, in full sentences.
      category: of the warning.

    Example:
      >>> with warnings.catch_warnings(record=True) as caught:
      ...     warnings.simplefilter("always")
      ...     warn("Some loops are interpolated.")
      >>> print(caught[0].message)
      Some loops are interpolated.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_inside(frame.f_code.co_filename):
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _is_inside(filename: str) -> bool:
    """Whether a frame belongs to this package or to Python's import."""
    return filename.startswith(_FOLDER) or "importlib" in filename
