# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shows on the standard error how far a study is, and how long the rest will take."""

from rich import console as rich_console
from rich import progress as rich_progress

from distill_jax.report import tables
from distill_jax.studies import records

__all__ = ["Screen"]


class Screen:
    """A line for each cell that has ended and, in a terminal, a bar below them.

    Args:
      num_cells: of the study.
      num_finished: before anything is run.
      is_shown: whether anything is.

    Example:
      >>> with Screen(2, 0, is_shown=False) as screen:
      ...     screen.begin("one")
      ...     screen.end(records.Record("d", "one", {}, 0, 2.0, 1.5, "c"), 1, 2.0)
    """

    def __init__(self, num_cells: int, num_finished: int, *, is_shown: bool):
        self._num_cells, self._is_shown = num_cells, is_shown
        self._bar = rich_progress.Progress(
            rich_progress.MofNCompleteColumn(),
            rich_progress.BarColumn(),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TextColumn("{task.fields[cell]}", markup=False),
            console=rich_console.Console(stderr=True, soft_wrap=True),
            disable=not is_shown,
            transient=True,
        )
        self._task = self._bar.add_task(
            "cells", total=num_cells, completed=num_finished, cell=""
        )

    def __enter__(self) -> "Screen":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def begin(self, name: str) -> None:
        """Shows which cell runs."""
        self._bar.update(self._task, cell=name, refresh=True)

    def end(
        self, record: records.Record, num_finished: int, seconds_left: float | None
    ) -> None:
        """Says how long a cell took, or why it failed, and how long the rest takes."""
        self._bar.update(self._task, completed=num_finished, refresh=True)
        if not self._is_shown:
            return
        parts = [f"{num_finished} of {self._num_cells} cells"]
        if record.error is None:
            duration = tables.format_seconds(record.seconds)
            parts.append(f"{record.name} took {duration}")
        else:
            parts.append(f"{record.name} failed with {record.error}")
        if seconds_left:
            parts.append(f"about {tables.format_seconds(seconds_left)} left")
        self._bar.console.print("; ".join(parts), markup=False, highlight=False)
