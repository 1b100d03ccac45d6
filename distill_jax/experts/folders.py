# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where experts are kept, and that one process at a time trains there."""

import contextlib
import contextvars
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from distill_jax import errors
from distill_jax.compute import processes
from distill_jax.storage import atomic, digests, locks

__all__ = ["alone_in", "folder_of", "kept_in"]

# Where a run keeps the experts that have no folder of their own.
_KEPT_IN: contextvars.ContextVar[pathlib.Path | None] = contextvars.ContextVar(
    "kept_in", default=None
)


@contextlib.contextmanager
def kept_in(folder: pathlib.Path | None) -> Iterator[None]:
    """Keeps experts that have no folder of their own in this one.

    A run puts this around its work, so that its experts are not trained again when it
    is resumed.

    Args:
      folder: made when the first expert is trained; each plan has a folder of its own
        in it. None keeps them in memory.

    Example:
      >>> import tempfile
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> plan = dj.experts.ExpertPlan(num_experts=1, num_epochs=1)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     with kept_in(pathlib.Path(folder)):
      ...         buffer = dj.experts.make_buffer(plan, task, digits)
      ...     len(list(pathlib.Path(folder).glob("*/expert_0000.npy")))
      1
    """
    token = _KEPT_IN.set(folder)
    try:
        yield
    finally:
        _KEPT_IN.reset(token)


def folder_of(
    folder: str | os.PathLike[str] | None, facts: Mapping[str, Any]
) -> pathlib.Path | None:
    """Returns where experts are or will be; None in memory only.

    Args:
      folder: that was asked for.
      facts: of the experts, which name a folder where none was asked for.

    Example:
      >>> with kept_in(pathlib.Path("run")):
      ...     print(folder_of("mine", {}), folder_of(None, {"plan": 1}))
      mine run/4c8d160f557b
    """
    if folder is not None:
        return pathlib.Path(folder)
    kept = _KEPT_IN.get()
    return None if kept is None else kept / digests.of_json(facts)[:12]


@contextlib.contextmanager
def alone_in(path: pathlib.Path | None) -> Iterator[None]:
    """Keeps other processes from training in a folder; waits for one that does.

    Args:
      path: made where missing; None is nobody's.

    Raises:
      InputError: when the folder cannot be written.

    Example:
      >>> with alone_in(None):
      ...     print("training")
      training
    """
    with contextlib.ExitStack() as stack:

        def take(folder: pathlib.Path) -> None:
            try:
                atomic.make_folder(folder)
                stack.enter_context(locks.locked(folder, does_wait=True))
            except OSError as error:
                raise errors.InputError(
                    f"The folder `{folder}` of the experts cannot be written "
                    f"({error.strerror or error}); choose one where files can be made."
                ) from error

        if path is not None:
            processes.by_first(lambda: take(path))
        yield
        processes.barrier("the experts are there")
