# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The journal of a run, held against the checkpoints that say how much it had.

A checkpoint keeps the *extent* of ``metrics.jsonl``, see
:mod:`distill_jax.runtime.logging`. Rows behind the last extent are told by no digest;
they are dropped when the run is resumed.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

from distill_jax import errors
from distill_jax.runtime import checkpoint, logging
from distill_jax.runtime import manifest as manifests
from distill_jax.storage import digests

__all__ = ["checked_rows", "extent_of", "newest_whole"]

_NAME = "metrics.jsonl"


def newest_whole(folder: pathlib.Path, checkpoints: checkpoint.Checkpoints) -> Any:
    """The step to go on from: its checkpoint and the rows before it are whole.

    Args:
      folder: of the run.
      checkpoints: in it.

    Returns:
      The step; ``None`` where there is no checkpoint. Where an older one than the
      newest is taken, or the journal is gone, a warning says so.

    Raises:
      DamagedError: when all checkpoints are damaged, or rows before each of them.

    Example:
      >>> nowhere = pathlib.Path("/nowhere")
      >>> print(newest_whole(nowhere, checkpoint.Checkpoints(nowhere / "checkpoints")))
      None
    """
    newest = checkpoints.newest_whole()
    if newest is None:
        return None
    problem = _problem(folder, checkpoints.facts(newest))
    if problem is None:
        return newest
    if not _num_bytes(folder / _NAME):
        errors.warn(
            f"`{folder / _NAME}` is missing or empty, so the history of the run has a "
            f"hole: it goes on from step {newest} without the rows before."
        )
        return newest
    for step in reversed([step for step in checkpoints.steps() if step < newest]):
        try:
            checkpoints.check(step)
            facts = checkpoints.facts(step)
        except errors.DamagedError:
            continue
        if _problem(folder, facts) is None:
            errors.warn(
                f"{problem} Up to step {step} it is whole, so the run goes on from "
                "there and writes the rest anew."
            )
            return step
    raise problem


def extent_of(folder: pathlib.Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns how much of the journal a checkpoint vouches for.

    Args:
      folder: of the run.
      facts: of the checkpoint.

    Returns:
      The extent; ``None`` for checkpoints of earlier versions, and where the journal is
      gone.

    Example:
      >>> print(extent_of(pathlib.Path("/nowhere"), {}))
      None
    """
    return facts.get("journal") if _num_bytes(folder / _NAME) else None


def checked_rows(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Reads the rows of a run, and checks them against its newest checkpoint.

    Args:
      folder: of the run, which may still be at work.

    Returns:
      One dictionary for each row. Where the file is missing, a warning says so.

    Raises:
      DamagedError: when rows were changed or lost since they were written.
      InputError: when a line is no row.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     checked_rows(pathlib.Path(folder))
      []
    """
    path = folder / _NAME
    facts, step = _newest_facts(folder / "checkpoints")
    extent = facts.get("journal")
    if extent is None:
        if path.exists():
            digests.say_unchecked(path)
        return logging.read_rows(path)
    if extent["num_bytes"] and not _num_bytes(path):
        errors.warn(f"`{path}` is missing or empty, so there is no history to show.")
        return []
    num_known = logging.check_extent(path, extent).count(b"\n")
    rows = logging.read_rows(path)
    last = facts["identity"]["num_steps"]
    for row in rows[num_known:]:
        is_later = row["step"] > step or "evaluation" in row
        if not (is_later and step <= row["step"] <= last):
            raise errors.DamagedError(
                f"`{path}` has a row of step {row['step']} behind those up to step "
                f"{step} of {last}, so it was changed; put a copy back."
            )
    return rows


def _newest_facts(folder: pathlib.Path) -> tuple[dict[str, Any], int]:
    """The facts of the newest checkpoint that has a manifest, and its step."""
    checkpoints = checkpoint.Checkpoints(folder)
    for step in reversed(checkpoints.steps()):
        try:
            manifest = manifests.read(folder / f"step_{step}")
        except errors.DamagedError:
            continue
        if manifest is not None:
            return manifest.facts, step
    return {}, 0


def _problem(
    folder: pathlib.Path, facts: Mapping[str, Any]
) -> errors.DamagedError | None:
    """What is wrong with the journal, by the facts of a checkpoint."""
    try:
        logging.check_extent(folder / _NAME, facts.get("journal"))
    except errors.DamagedError as error:
        return error
    return None


def _num_bytes(path: pathlib.Path) -> int:
    return path.stat().st_size if path.is_file() else 0
