# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs the cells of a study; what is finished is kept and not run again.

A cell is a pure function from a key to rows of plain numbers, with a name and a
description of all that decides about its rows. A finished cell is kept in
``cells.jsonl`` under a digest of its description, so that the same command goes on
where it was killed, and a study that grows runs only what is new.
"""

import hashlib
import json
import math
import pathlib
import platform
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from distill_jax import errors
from distill_jax.compute import trace_cache
from distill_jax.runtime import signals
from distill_jax.studies import compile_time, estimates, records
from distill_jax.studies import progress as progress_lib
from distill_jax.types import Key

__all__ = [
    "Cell",
    "Results",
    "digest_of",
    "read_results",
    "run_cells",
]

_DIGITS_OF_CODE = 12


class Cell(NamedTuple):
    """A piece of a study that is done or not done.

    Cells with the same seed get the same key, so that they can be compared in pairs.
    """

    name: str  # for people
    run: Callable[[Key], Sequence[Mapping[str, Any]]]  # pure
    description: Mapping[str, Any]  # all that decides about the rows, but the seed
    seed: int = 0
    needs: Callable[[], estimates.Needs] | None = None


class Results(NamedTuple):
    """What the cells of a study have come to, by name and in their order."""

    finished: dict[str, records.Record]
    failed: dict[str, records.Record]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of all finished cells, each with its description and seed."""
        return [
            {**record.description, "seed": record.seed, **row}
            for record in self.finished.values()
            for row in record.rows or ()
        ]

    @property
    def num_of_other_code(self) -> int:
        """How many of the finished cells the library computed as it was before."""
        return sum(record.code != _code() for record in self.finished.values())


def digest_of(cell: Cell) -> str:
    """Makes the digest under which a cell is kept.

    Args:
      cell: of which only description and seed count.

    Returns:
      64 hexadecimal digits.

    Raises:
      InputError: when the description is not plain.

    Example:
      >>> cell = Cell("one", lambda key: [{"loss": 0.5}], {"sizes": (1, 2)})
      >>> digest_of(cell) == digest_of(cell._replace(description={"sizes": [1, 2]}))
      True
    """
    try:
        text = json.dumps(
            {"description": dict(cell.description), "seed": cell.seed},
            sort_keys=True,
            allow_nan=False,
        )
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f'The description of the cell "{cell.name}" cannot be written as JSON '
            f"({error}); use plain mappings, lists, words and finite numbers."
        ) from error
    return hashlib.sha256(text.encode()).hexdigest()


def run_cells(
    cells: Sequence[Cell], folder: pathlib.Path, *, progress: bool | None = None
) -> Results:
    """Runs the cells that are not finished, in their order, and keeps their rows.

    A cell that fails is recorded and the others go on; the next call tries it again.

    Args:
      cells: whose names, and whose descriptions with seeds, differ.
      folder: where ``cells.jsonl`` is or will be.
      progress: whether the standard error tells what is finished, and how long the
        rest will take; ``None`` does.

    Returns:
      The :class:`Results`, those of earlier calls included.

    Raises:
      InputError: when cells cannot be told apart, the folder cannot be written, its
        file was changed, or another process is at work there.
      Interrupted: after a signal; the finished cells are kept.

    Example:
      >>> import tempfile
      >>> cells = [Cell(f"n = {n}", lambda key, n=n: [{"square": n * n}], {"n": n})
      ...          for n in (2, 3)]
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     run_cells(cells, pathlib.Path(folder), progress=False).rows
      [{'n': 2, 'seed': 0, 'square': 4}, {'n': 3, 'seed': 0, 'square': 9}]
    """
    digests = _digests(cells)
    with records.opened(folder) as log:
        finished = _results(digests, log.records).finished
        left = [cell for cell in cells if cell.name not in finished]
        with progress_lib.Screen(
            len(cells), len(finished), is_shown=progress is not False
        ) as screen:
            while left:
                cell = left.pop(0)
                screen.begin(cell.name)
                record = _run_one(cell, digests[cell.name], len(finished))
                log.add(record)
                if record.rows is not None:
                    finished[cell.name] = record
                time_left = estimates.seconds_left(
                    [cell.description for cell in left], finished.values()
                )
                screen.end(record, len(finished), time_left)
        return _results(digests, log.records)


def read_results(cells: Sequence[Cell], folder: pathlib.Path) -> Results:
    """Reads what is finished, and runs nothing.

    Args:
      cells: as :func:`run_cells` takes them.
      folder: where ``cells.jsonl`` is; it need not be there.

    Returns:
      The :class:`Results`.

    Raises:
      InputError: when cells cannot be told apart, or the file was changed.

    Example:
      >>> read_results([], pathlib.Path("nowhere")).rows
      []
    """
    return _results(_digests(cells), records.read(folder))


def _digests(cells: Sequence[Cell]) -> dict[str, str]:
    """The digest of each cell by name, all of them different."""
    digests: dict[str, str] = {}
    names: dict[str, str] = {}
    for cell in cells:
        digest = digest_of(cell)
        if cell.name in digests:
            raise errors.InputError(
                f'Two cells are called "{cell.name}"; give each a name of its own.'
            )
        if digest in names:
            raise errors.InputError(
                f'The cells "{names[digest]}" and "{cell.name}" have the same '
                "description and seed, so they would be the same; leave one out, or "
                "say what differs."
            )
        digests[cell.name], names[digest] = digest, cell.name
    return digests


def _run_one(cell: Cell, digest: str, num_finished: int) -> records.Record:
    """Runs a cell; what goes wrong in it becomes its record."""
    start = time.perf_counter()
    with compile_time.measured() as compiling:
        rows, failure = _rows_or_failure(cell, num_finished)
    return records.Record(
        digest=digest,
        name=cell.name,
        description=dict(cell.description),
        seed=cell.seed,
        seconds=time.perf_counter() - start,
        compile_seconds=compiling.seconds,
        code=_code(),
        environment=_environment(),
        rows=rows,
        error=failure and f"{type(failure).__name__}: {' '.join(str(failure).split())}",
        traceback=failure and "".join(traceback.format_exception(failure)),
    )


def _rows_or_failure(
    cell: Cell, num_finished: int
) -> tuple[list[dict[str, Any]] | None, Exception | None]:
    """The rows of a cell, or why there are none; a signal ends the study."""
    try:
        rows = cell.run(jax.random.key(cell.seed))
        return [_plain_row(cell, row) for row in rows], None
    except KeyboardInterrupt as stop:
        signum = getattr(stop, "signum", int(signal.SIGINT))
        raise signals.Interrupted(
            signum,
            f"Stopped by {signal.Signals(signum).name} in the cell "
            f'"{cell.name}"; {num_finished} '
            "cells are finished, and the same command goes on from there.",
        ) from stop
    except errors.LostProcessError:
        raise
    except Exception as failure:
        return None, failure


def _plain_row(cell: Cell, row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON keeps it: a number that is not finite is ``None``."""
    plain = {}
    for name, value in row.items():
        if name == "seed" or name in cell.description:
            raise errors.InputError(
                f"A row has `{name}`, which the description of its cell has too; give "
                "it another name."
            )
        if getattr(value, "shape", None) == ():
            value = value.item()
        if not isinstance(value, bool | int | float | str | None):
            raise errors.InputError(
                f"`{name}` of a row is of type {type(value).__name__}; rows hold plain "
                "numbers and words."
            )
        is_number = not isinstance(value, float) or math.isfinite(value)
        plain[name] = value if is_number else None
    return plain


def _results(
    digests: Mapping[str, str], known: Mapping[str, records.Record]
) -> Results:
    """The records that belong to the cells of a study."""
    found = {name: known[digest] for name, digest in digests.items() if digest in known}
    is_finished = {name: record.rows is not None for name, record in found.items()}
    return Results(
        finished={name: found[name] for name in found if is_finished[name]},
        failed={name: found[name] for name in found if not is_finished[name]},
    )


def _code() -> str:
    """The version of the library: a digest of its files."""
    return trace_cache.code_digest()[:_DIGITS_OF_CODE]


def _environment() -> str:
    """What the numbers depend on apart from the description and the code."""
    devices = f"{len(jax.devices())} x {jax.devices()[0].device_kind}"
    return f"{devices}, jax {jax.__version__}, Python {platform.python_version()}"
