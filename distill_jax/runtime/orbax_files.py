# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What orbax reads and writes: its errors in sentences, and its logs left out."""

import contextlib
import functools
import gc
import logging
import pathlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.runtime import manifest as manifests

__all__ = ["former_metadata", "load", "orbax", "remove_leftovers", "save"]

_FORMAT = {"format_version": 2}  # Checkpoints of version 1 have no manifest.


def orbax() -> Any:
    """Loads the module late: a run that has not been saved yet does not wait for it.

    Example:
      >>> callable(orbax().load)
      True
    """
    from orbax.checkpoint import v1 as ocp

    return ocp


def save(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays into a new folder.

    Args:
      path: the folder.
      arrays: by their names, none of them empty.

    Raises:
      OSError: when the folder cannot be written or the disk is full; nothing is left.
    """
    # Orbax reports a full disk as a ValueError.
    try:
        with _quiet():
            orbax().save(str(path), dict(arrays), custom_metadata=_FORMAT)
    except OSError:
        remove_leftovers(path.parent)
        raise
    except Exception as error:
        match = re.search(r"os_error_code='(\d+)'", str(error))
        if not match:
            raise
        remove_leftovers(path.parent)
        raise OSError(int(match[1]), str(error).splitlines()[0]) from error


def load(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the arrays of a checkpoint.

    Args:
      path: its folder.

    Returns:
      The arrays by their names.

    Raises:
      DamagedError: when they cannot be read.

    Example:
      >>> load(pathlib.Path("/nowhere"))
      Traceback (most recent call last):
      ...
      distill_jax.errors.DamagedError: The checkpoint /nowhere could not be read ...
    """
    with _as_damage(path):
        return dict(orbax().load(str(path)))


def former_metadata(path: pathlib.Path) -> dict[str, Any]:
    """Reads the leaves and the facts of a checkpoint that has no manifest.

    Args:
      path: its folder.

    Returns:
      ``leaves`` and ``facts``.

    Raises:
      DamagedError: when they cannot be read, or a manifest should be there.
    """
    with _as_damage(path):
        metadata = dict(orbax().metadata(str(path)).custom_metadata)
    if not (isinstance(metadata.get("leaves"), list) and "facts" in metadata):
        raise errors.DamagedError(
            f"The checkpoint {path} is damaged: its `{manifests.NAME}` is missing; "
            "take the checkpoint before it, or a copy."
        )
    return metadata


def remove_leftovers(folder: pathlib.Path) -> None:
    """Removes what a save or a removal that was cut short has left.

    Args:
      folder: of the checkpoints.

    Example:
      >>> remove_leftovers(pathlib.Path("/nowhere"))
    """
    for path in folder.glob("unfinished_*"):
        shutil.rmtree(path)


@contextlib.contextmanager
def _as_damage(path: pathlib.Path) -> Iterator[None]:
    """Whatever a reader raises means that what it reads is damaged."""
    try:
        with _quiet():
            yield
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise errors.DamagedError(
            f"The checkpoint {path} could not be read ({lines[0][:200]}), so it is "
            "damaged; take the checkpoint before it, or a copy."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps orbax from logging what it raises, once per thread and per dropped task."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    former = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_leave_out, hook)
    try:
        yield
        sys.unraisablehook = hook
    except Exception:
        gc.collect()  # Its tasks complain when they are collected.
        raise  # The hook stays: what was still to be written fails later.
    finally:
        for logger, was_disabled in zip(loggers, former, strict=True):
            logger.disabled = was_disabled


def _leave_out(
    hook: Callable[["sys.UnraisableHookArgs"], Any], told: "sys.UnraisableHookArgs"
) -> None:
    """Prints an error, but for what writers report to a loop that ended without them.

    Each of the arrays that were being written when the first one failed comes to its
    end in a thread of its own, and finds nobody to tell.
    """
    if str(told.exc_value) != "Event loop is closed":
        hook(told)
