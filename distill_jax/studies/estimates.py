# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Estimates what cells will take: from forecasts, and from cells that are finished."""

import collections
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from distill_jax.studies import records

__all__ = ["Needs", "kind_of", "seconds_left"]


class Needs(NamedTuple):
    """What a cell needs, told before it is run."""

    compile_seconds: float  # once for all cells of the same description
    run_seconds: float | None  # None where it does not fit
    peak_bytes: int
    memory_bytes: int  # that the device has
    disk_bytes: int = 0  # of what it leaves behind beside its rows, such as experts


def seconds_left(
    left: Sequence[Mapping[str, Any]], finished: Iterable[records.Record]
) -> float | None:
    """Estimates the time of cells from those that are finished.

    Cells of the same description and other seeds are of a kind. A cell runs as long as
    those of its kind did on average, and its kind is compiled once, unless a cell of it
    is finished. A kind of which none is finished is as the others are on average.

    Args:
      left: the descriptions of the cells that are not finished.
      finished: the records of the others.

    Returns:
      Seconds; ``None`` where nothing is finished.

    Example:
      >>> finished = [records.Record("d", "1", {"n": 1}, 0, 5.0, 3.0, "c", rows=[]),
      ...             records.Record("e", "2", {"n": 2}, 0, 7.0, 3.0, "c", rows=[])]
      >>> seconds_left([{"n": 1}, {"n": 1}, {"n": 3}], finished)
      10.0
    """
    running: dict[str, list[float]] = {}
    compiling: dict[str, float] = {}
    for record in finished:
        kind = kind_of(record.description)
        compiled = min(record.compile_seconds, record.seconds)
        running.setdefault(kind, []).append(record.seconds - compiled)
        compiling[kind] = compiling.get(kind, 0.0) + compiled
    if not running:
        return None
    mean_running = statistics.fmean(map(statistics.fmean, running.values()))
    mean_compiling = statistics.fmean(compiling.values())
    seconds = 0.0
    for kind, num in collections.Counter(map(kind_of, left)).items():
        if kind in running:
            seconds += num * statistics.fmean(running[kind])
        else:
            seconds += num * mean_running + mean_compiling
    return seconds


def kind_of(description: Mapping[str, Any]) -> str:
    """Returns what cells share that differ in the seed alone.

    Args:
      description: of a cell.

    Example:
      >>> kind_of({"b": (1, 2), "a": 0}) == kind_of({"a": 0, "b": [1, 2]})
      True
    """
    return json.dumps(dict(description), sort_keys=True)
