# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Estimates what cells will take: from forecasts, and from cells that are finished."""

import collections
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from distill_jax.studies import records

__all__ = ["RELOADING", "Needs", "kind_of", "seconds_left"]

# Reading again what was compiled and traced, as a share of compiling and tracing it.
RELOADING = 0.2


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

    Cells of the same description and other seeds are of a kind. The first cell of a
    kind compiles; a later one reads again what was compiled. A kind of which none is
    finished is as the others are on average.

    Args:
      left: the descriptions of the cells that are not finished.
      finished: the records of the others.

    Returns:
      Seconds; ``None`` where nothing is finished.

    Example:
      >>> finished = [records.Record("d", "1", {"n": 1}, 0, 5.0, 3.0, "c", rows=[]),
      ...             records.Record("e", "1", {"n": 1}, 1, 2.5, 0.5, "c", rows=[])]
      >>> seconds_left([{"n": 1}, {"n": 1}, {"n": 3}], finished)
      10.0
    """
    kinds: dict[str, list[records.Record]] = {}
    for record in finished:
        kinds.setdefault(kind_of(record.description), []).append(record)
    if not kinds:
        return None
    times = {kind: _times(group) for kind, group in kinds.items()}
    average = tuple(map(statistics.fmean, zip(*times.values(), strict=True)))
    seconds = 0.0
    for kind, num in collections.Counter(map(kind_of, left)).items():
        each, once = times.get(kind, average)
        seconds += num * each + (0.0 if kind in times else once)
    return seconds


def _times(group: Sequence[records.Record]) -> tuple[float, float]:
    """What each later cell of a kind takes, and what the first takes more."""
    running = [max(r.seconds - r.compile_seconds, 0.0) for r in group]
    first, *later = sorted((r.compile_seconds for r in group), reverse=True)
    reading = statistics.fmean(later) if later else RELOADING * first
    return statistics.fmean(running) + reading, first - reading


def kind_of(description: Mapping[str, Any]) -> str:
    """Returns what cells share that differ in the seed alone.

    Args:
      description: of a cell.

    Example:
      >>> kind_of({"b": (1, 2), "a": 0}) == kind_of({"a": 0, "b": [1, 2]})
      True
    """
    return json.dumps(dict(description), sort_keys=True)
