# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The comparison of arms as a table: in a terminal, as Markdown, and as cells.

Columns that no arm has are left out, so that a short comparison is a short table.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from distill_jax import types
from distill_jax.report import metrics as metrics_lib

__all__ = [
    "arm_cells",
    "format_bytes",
    "format_count",
    "format_seconds",
    "markdown_table",
    "rich_table",
    "text_table",
    "transfer_cells",
    "transfer_table",
]

MISSING = metrics_lib.MISSING
Arms = Sequence[Mapping[str, Any]]
Metrics = Sequence[types.Metric]
_ACCURACY = (metrics_lib.ACCURACY,)


def format_bytes(num: float | None) -> str:
    """Bytes in the decimal unit that keeps the number short.

    Example:
      >>> format_bytes(640), format_bytes(313_600), format_bytes(None)
      ('640 B', '314 kB', '–')
    """
    if num is None:
        return MISSING
    for unit in ("B", "kB", "MB"):
        if abs(num) < 999.5:
            return f"{num:.3g} {unit}"
        num = num / 1000
    return f"{num:,.3g} GB"


def format_seconds(seconds: float | None) -> str:
    """Seconds, minutes or hours.

    Example:
      >>> format_seconds(0.1234), format_seconds(75), format_seconds(7500)
      ('0.12 s', '1 min 15 s', '2 h 5 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 9.995:
        return f"{seconds:.2g} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours} h {rest} min"


def format_count(num: int | None) -> str:
    """A whole number with thousands apart.

    Example:
      >>> format_count(50000), format_count(None)
      ('50,000', '–')
    """
    return MISSING if num is None else f"{num:,}"


def arm_cells(
    arms: Arms, metrics: Metrics = _ACCURACY
) -> tuple[list[str], list[list[str]]]:
    """The comparison as text, cell by cell.

    Args:
      arms: mappings with the keys of :data:`~distill_jax.report.contents.ARM_FIELDS`.
      metrics: what networks are judged by, the first one above all.

    Returns:
      The headings, and a row of as many cells for each arm. The note comes last.

    Example:
      >>> arms = [{"name": "random", "num_examples": 10, "accuracy_mean": 0.5}]
      >>> arm_cells(arms)
      (['Arm', 'Examples', 'Accuracy %'], [['random', '10', '50.0']])
    """
    return _cells(arms, _arm_columns(metrics))


def transfer_cells(
    rows: Arms, metrics: Metrics = _ACCURACY
) -> tuple[list[str], list[list[str]]]:
    """The accuracies of several networks on one set as text, cell by cell.

    Args:
      rows: mappings with the keys of
        :data:`~distill_jax.report.contents.TRANSFER_FIELDS`.
      metrics: what networks are judged by, the first one above all.

    Returns:
      The headings, and a row of as many cells for each network. The note comes last.

    Example:
      >>> transfer_cells([{"name": "mlp", "accuracy_mean": 0.5, "random_mean": 0.4}])
      (['Network', 'Accuracy %', 'Random %'], [['mlp', '50.0', '40.0']])
    """
    return _cells(rows, _transfer_columns(metrics))


def markdown_table(arms: Arms, metrics: Metrics = _ACCURACY) -> str:
    """The comparison as a Markdown table; the distilled arm is bold.

    Args:
      arms: mappings with the keys of :data:`~distill_jax.report.contents.ARM_FIELDS`.
      metrics: what networks are judged by, the first one above all.

    Returns:
      Lines of Markdown.

    Example:
      >>> print(markdown_table([{"name": "ours", "num_examples": 1,
      ...                        "is_distilled": True}]))
      | Arm | Examples |
      | :-- | --: |
      | **ours** | **1** |
    """
    headings, rows = arm_cells(arms, metrics)
    rule = [":--" if head in _LEFT else "--:" for head in headings]
    lines = [headings, rule]
    for arm, row in zip(arms, rows, strict=True):
        cells = [cell.replace("|", "\\|").replace("\n", " ") for cell in row]
        if arm.get("is_distilled"):
            cells = [
                f"**{c}**" if c and h != "Note" else c
                for c, h in zip(cells, headings, strict=True)
            ]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rich_table(
    arms: Arms, metrics: Metrics = _ACCURACY, *, title: str | None = None
) -> rich.table.Table:
    """The comparison as a rich table; the distilled arm is bold.

    Args:
      arms: mappings with the keys of :data:`~distill_jax.report.contents.ARM_FIELDS`.
      metrics: what networks are judged by, the first one above all.
      title: what stands above.

    Returns:
      A table that ``rich.print`` shows.

    Example:
      >>> rich_table([{"name": "ours"}]).row_count
      1
    """
    return _rich(arms, *arm_cells(arms, metrics), title=title)


def transfer_table(
    rows: Arms, metrics: Metrics = _ACCURACY, *, title: str | None = None
) -> rich.table.Table:
    """The accuracies of several networks on one set as a rich table.

    Args:
      rows: mappings with the keys of
        :data:`~distill_jax.report.contents.TRANSFER_FIELDS`.
      metrics: what networks are judged by, the first one above all.
      title: what stands above.

    Returns:
      A table that ``rich.print`` shows.

    Example:
      >>> transfer_table([{"name": "mlp"}, {"name": "resnet18"}]).row_count
      2
    """
    return _rich(rows, *transfer_cells(rows, metrics), title=title)


def text_table(arms: Arms, metrics: Metrics = _ACCURACY, *, width: int = 100) -> str:
    """The comparison as plain text, for logs.

    Args:
      arms: mappings with the keys of :data:`~distill_jax.report.contents.ARM_FIELDS`.
      metrics: what networks are judged by, the first one above all.
      width: characters in a line.

    Returns:
      Lines of text without colours.

    Example:
      >>> "50.0" in text_table([{"name": "random", "accuracy_mean": 0.5}])
      True
    """
    console = rich.console.Console(file=io.StringIO(), width=width, no_color=True)
    with console.capture() as capture:
        console.print(rich_table(arms, metrics))
    lines = (line.rstrip() for line in capture.get().splitlines())
    return "\n".join(line for line in lines if line)


def _cells(rows: Arms, columns) -> tuple[list[str], list[list[str]]]:
    """The columns in which any row has something to say."""
    used = [column for column in columns if _is_used(rows, column[1])]
    return (
        [heading for heading, _, _ in used],
        [[cell(row) for _, _, cell in used] for row in rows],
    )


def _rich(
    arms: Arms, headings: list[str], rows: list[list[str]], *, title: str | None
) -> rich.table.Table:
    """Cells as a rich table; the distilled arm is bold."""
    table = rich.table.Table(
        title=title, box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False
    )
    for heading in headings:
        # Notes, networks in words and headings may wrap; a number in pieces misleads.
        words = heading.split() + [row[len(table.columns)] for row in rows]
        table.add_column(
            heading,
            justify="left" if heading in _LEFT else "right",
            width=None if heading in ("Network", "Note") else max(map(len, words)),
        )
    for arm, row in zip(arms, rows, strict=True):
        cells = [rich.text.Text(cell) for cell in row]  # Text: no markup in names.
        table.add_row(*cells, style="bold" if arm.get("is_distilled") else None)
    return table


def _is_used(arms: Arms, field: str) -> bool:
    """Whether any arm has something to say in a column."""
    nothing = (None, "", 0) if field == "num_diverged" else (None, "")
    return field == "name" or any(arm.get(field) not in nothing for arm in arms)


def _arm_columns(metrics: Metrics) -> list[tuple]:
    """Heading, field of an arm, and how it is written."""
    primary = metrics[0]
    best = lambda arm: metrics_lib.format_score(primary, arm.get("best_on_test"))
    return [
        ("Arm", "name", lambda arm: str(arm["name"])),
        ("Examples", "num_examples", lambda arm: format_count(arm.get("num_examples"))),
        *_score_columns(metrics),
        (metrics_lib.heading(primary, "Best on test"), "best_on_test", best),
        _DIVERGED,
        ("Stored", "bytes_stored", lambda arm: format_bytes(arm.get("bytes_stored"))),
        *_LAST,
    ]


def _transfer_columns(metrics: Metrics) -> list[tuple]:
    """Heading, field of a network, and how it is written."""
    random = _score("random", metrics[0], metrics_lib.heading(metrics[0], "Random"))
    count = lambda row: format_count(row.get("num_parameters"))
    return [
        ("Network", "name", lambda row: str(row["name"])),
        ("Parameters", "num_parameters", count),
        *_score_columns(metrics),
        random,
        _DIVERGED,
        *_LAST,
    ]


def _score_columns(metrics: Metrics) -> list[tuple]:
    """The score that decides with its interval, then the others."""
    primary, *others = (
        _score(metric.name, metric, metrics_lib.heading(metric)) for metric in metrics
    )
    mean = f"{metrics[0].name}_mean"
    cell = lambda row: metrics_lib.format_interval(
        metrics[0], row.get("ci95"), row.get(mean)
    )
    return [primary, ("95 % interval", "ci95", cell), *others]


def _score(name: str, metric: types.Metric, heading: str) -> tuple:
    """A column of means with standard deviations."""
    mean, sd = f"{name}_mean", f"{name}_sd"
    cell = lambda row: metrics_lib.format_score(metric, row.get(mean), row.get(sd))
    return heading, mean, cell


_DIVERGED = (
    "Diverged",
    "num_diverged",
    lambda row: format_count(row.get("num_diverged")),
)
_LAST = (
    ("Time", "seconds", lambda row: format_seconds(row.get("seconds"))),
    ("Note", "note", lambda row: str(row.get("note") or "")),
)
_LEFT = ("Arm", "Network", "Note")
