# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Turns rows of cells into claims, tables and lines, each with a 95 % interval.

Rows are first averaged within a unit, such as a seed; the interval is that of Student's
t over units, because rows of one unit are not independent of each other.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

import distill_jax as dj
from distill_jax import errors
from distill_jax.report import charts

__all__ = [
    "claim_of",
    "lines_of",
    "means_of_units",
    "paired_differences",
    "table_of",
]

Rows = Iterable[Mapping[str, Any]]


def means_of_units(
    rows: Rows, value: str, *, unit: str = "seed"
) -> dict[Hashable, float]:
    """Averages a number over the rows of each unit.

    Args:
      rows: of cells.
      value: the name of the number; rows in which it is missing do not count.
      unit: the name of what is independent.

    Returns:
      The mean of each unit.

    Example:
      >>> rows = [{"seed": 0, "loss": 1.0}, {"seed": 0, "loss": 2.0},
      ...         {"seed": 1, "loss": 4.0}, {"seed": 2, "loss": None}]
      >>> means_of_units(rows, "loss")
      {0: 1.5, 1: 4.0}
    """
    values: dict[Hashable, list[float]] = {}
    for row in rows:
        number = row.get(value)
        if number is not None and np.isfinite(number):
            values.setdefault(row[unit], []).append(number)
    return {name: float(np.mean(group)) for name, group in values.items()}


def paired_differences(
    rows: Rows, value: str, *, by: str, first: Any, second: Any, unit: str = "seed"
) -> dict[Hashable, float]:
    """Subtracts a number of one group from that of another, unit by unit.

    Args:
      rows: of cells.
      value: the name of the number.
      by: the name of what the groups differ in.
      first: the group that is subtracted from.
      second: the group that is subtracted.
      unit: what pairs the two; a unit that one of them lacks does not count.

    Returns:
      The difference of each unit.

    Example:
      >>> rows = [{"seed": 0, "method": "dm", "accuracy": 0.75},
      ...         {"seed": 0, "method": "frepo", "accuracy": 0.875},
      ...         {"seed": 1, "method": "dm", "accuracy": 0.5}]
      >>> paired_differences(rows, "accuracy", by="method", first="frepo", second="dm")
      {0: 0.125}
    """
    rows = list(rows)
    means = [
        means_of_units([row for row in rows if row[by] == group], value, unit=unit)
        for group in (first, second)
    ]
    return {
        name: means[0][name] - means[1][name] for name in means[0] if name in means[1]
    }


def claim_of(
    statement: str,
    values: Mapping[Hashable, float] | Sequence[float],
    *,
    above: float | None = None,
    below: float | None = None,
    unit: str = "",
    paper: str = "",
) -> dj.report.Claim:
    """Holds a sentence against measurements.

    It holds where the whole 95 % interval of their mean lies inside the bounds, does
    not hold where the whole interval lies outside, and is undecided else: also where
    there are fewer than three measurements.

    Args:
      statement: the sentence.
      values: independent measurements.
      above: what the mean must be above.
      below: what it must be below.
      unit: of the measurements.
      paper: what the paper says.

    Returns:
      The :class:`~distill_jax.report.Claim`.

    Raises:
      InputError: without a bound.

    Example:
      >>> claim = claim_of("FRePo beats DM.", [3.0, 4.0, 5.0], above=0, unit="points")
      >>> claim.verdict, claim.measured
      ('holds', '4 points (95 % interval 1.52 to 6.48)')
    """
    if above is None and below is None:
        raise errors.InputError(
            f'The claim "{statement}" has no bound, so it cannot be held against '
            "anything; pass `above` or `below`."
        )
    values = list(values.values() if isinstance(values, Mapping) else values)
    if not values:
        return dj.report.Claim(statement, float("nan"), None, unit, paper)
    mean, half_width = dj.evaluation.interval(values)
    if not np.isfinite(half_width):
        return dj.report.Claim(statement, mean, None, unit, paper)
    low, high = mean - half_width, mean + half_width
    least = -np.inf if above is None else above
    most = np.inf if below is None else below
    if least < low and high < most:
        verdict = "holds"
    elif high <= least or low >= most:
        verdict = "does not hold"
    else:
        verdict = "undecided"
    return dj.report.Claim(statement, mean, (low, high), unit, paper, verdict)


def table_of(
    rows: Rows,
    value: str,
    *,
    label: str,
    down: str,
    across: str,
    scale: float = 1.0,
    num_decimals: int = 1,
    unit: str = "seed",
    names: Mapping[Any, str] | None = None,
    is_fraction: bool = False,
) -> dj.report.Table:
    """Makes a table of means with their intervals.

    Args:
      rows: of cells.
      value: the name of the number.
      label: what the table is, in words.
      down: the name of what the rows of the table differ in.
      across: the name of what its columns differ in.
      scale: that numbers are shown times, such as 100 for percent.
      num_decimals: that are shown.
      unit: what is independent.
      names: of groups, where they should be called otherwise.
      is_fraction: whether numbers lie between 0 and 1, which intervals do not leave.

    Returns:
      The :class:`~distill_jax.report.Table`, in the order in which groups come.

    Example:
      >>> rows = [{"seed": s, "method": "dm", "size": 1, "loss": s} for s in (1, 2, 3)]
      >>> table = table_of(rows, "loss", label="Loss", down="method", across="size")
      >>> table.headings, table.rows[0].cells
      (['method', '1'], ('dm', '2.0 ± 2.5'))
    """
    rows, names = list(rows), names or {}
    columns = list(dict.fromkeys(row[across] for row in rows))
    lines = []
    for group in dict.fromkeys(row[down] for row in rows):
        cells = [names.get(group, str(group))]
        for column in columns:
            some = [r for r in rows if r[down] == group and r[across] == column]
            means = means_of_units(some, value, unit=unit)
            cells.append(_cell(means, scale, num_decimals, is_fraction))
        lines.append(cells)
    headings = [names.get(down, down), *(names.get(c, str(c)) for c in columns)]
    return dj.report.Table(label, headings, lines)


def lines_of(
    rows: Rows,
    value: str,
    *,
    by: str,
    x: str,
    scale: float = 1.0,
    unit: str = "seed",
    names: Mapping[Any, str] | None = None,
    is_fraction: bool = False,
) -> dict[str, charts.Series]:
    """Makes the lines of a chart, with intervals.

    Args:
      rows: of cells.
      value: the name of the number.
      by: the name of what the lines differ in.
      x: the name of what stands on the axis.
      scale: that numbers are shown times, such as 100 for percent.
      unit: what is independent.
      names: of lines, where they should be called otherwise.
      is_fraction: whether numbers lie between 0 and 1, which intervals do not leave.

    Returns:
      Lines for :func:`distill_jax.report.charts.line_chart`.

    Example:
      >>> rows = [{"seed": s, "method": "dm", "size": n, "loss": s * n}
      ...         for s in (1, 2, 3) for n in (1, 10)]
      >>> lines_of(rows, "loss", by="method", x="size")["dm"].y
      [2.0, 20.0]
    """
    rows, names = list(rows), names or {}
    lines = {}
    for group in dict.fromkeys(row[by] for row in rows):
        points = []
        for place in sorted({row[x] for row in rows if row[by] == group}):
            some = [row for row in rows if row[by] == group and row[x] == place]
            means = means_of_units(some, value, unit=unit)
            if means:
                points.append((place, *dj.evaluation.interval(list(means.values()))))
        places, means, widths = zip(*points, strict=True) if points else ((), (), ())
        half_widths: Any = [scale * width for width in widths]
        if is_fraction:
            ends = [
                dj.evaluation.interval_of_fraction(*each)
                for each in zip(means, widths, strict=True)
            ]
            half_widths = [
                [scale * (m - low) for m, (low, _) in zip(means, ends, strict=True)],
                [scale * (high - m) for m, (_, high) in zip(means, ends, strict=True)],
            ]
        lines[names.get(group, str(group))] = charts.Series(
            list(places), [scale * m for m in means], half_widths
        )
    return lines


def _cell(
    means: Mapping[Hashable, float], scale: float, num_decimals: int, is_fraction: bool
) -> str:
    """A mean and its interval as text."""
    if not means:
        return dj.report.tables.MISSING
    mean, half_width = dj.evaluation.interval(list(means.values()))
    show = lambda number: f"{scale * number:.{num_decimals}f}"
    text = show(mean)
    if is_fraction and half_width > min(mean, 1 - mean):
        low, high = dj.evaluation.interval_of_fraction(mean, half_width)
        return f"{text} ({show(low)} to {show(high)})"
    if np.isfinite(half_width):
        text += f" ± {scale * half_width:.{num_decimals}f}"
    return text
