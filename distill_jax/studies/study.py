# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Defines a study: its cells, and the page that is made of their rows."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from distill_jax import report
from distill_jax.studies import cells as cells_lib

__all__ = ["Study", "to_page"]

_VERDICTS = {
    "holds": "claims hold",
    "does not hold": "claims do not hold",
    "undecided": "claims are undecided",
}


class Study(NamedTuple):
    """What is run, and what is said of it."""

    title: str
    cells: Sequence[cells_lib.Cell]
    # From the rows of all finished cells, each with its description and seed.
    sections_of: Callable[[Sequence[Mapping[str, Any]]], Sequence[report.Section]]
    facts: Mapping[str, Any] = {}  # what was done and with what


def to_page(
    study: Study, results: cells_lib.Results, *, usage: str = ""
) -> report.Page:
    """Makes the page of a study from what is finished.

    Args:
      study: whose cells they are.
      results: of :func:`distill_jax.studies.run_cells` or ``read_results``.
      usage: how the study is run again, as a block of code.

    Returns:
      The page: the sections of the study, and one about its cells.

    Example:
      >>> page = to_page(Study("Squares", [], list), cells_lib.Results({}, {}))
      >>> page.headline
      [('0 of 0', 'cells are finished')]
    """
    rows = results.rows
    sections = list(study.sections_of(rows)) if rows else []
    return report.Page(
        title=study.title,
        headline=_headline(study, sections, results),
        facts={**study.facts, **_facts(results)},
        sections=[*sections, _cells(results, usage)],
    )


def _headline(
    study: Study, sections: Sequence[report.Section], results: cells_lib.Results
) -> list[tuple[str, str]]:
    """How many claims hold, and how much of the study is there."""
    claims = [claim for section in sections for claim in section.claims]
    lines = []
    for verdict, words in _VERDICTS.items():
        num = sum(claim.verdict == verdict for claim in claims)
        if num:
            lines.append((f"{num} of {len(claims)}", words))
    num_finished = f"{len(results.finished)} of {len(study.cells)}"
    return [*lines, (num_finished, "cells are finished")]


def _facts(results: cells_lib.Results) -> dict[str, Any]:
    """What the numbers were computed with, and what they took."""
    facts = {}
    if results.finished:
        environments = {record.environment for record in results.finished.values()}
        facts["Computed with"] = "; ".join(sorted(environments))
        seconds = sum(record.seconds for record in results.finished.values())
        facts["Time of all cells"] = report.tables.format_seconds(seconds)
    if results.num_of_other_code:
        facts["Other code"] = (
            f"{results.num_of_other_code} cells were computed by another version of "
            "the library than the one that wrote this page"
        )
    return facts


def _cells(results: cells_lib.Results, usage: str) -> report.Section:
    """What failed, what each cell took, and how to go on."""
    listings = [report.Listing(usage)] if usage else []
    lines = [
        f"{report.tables.format_seconds(record.seconds):>12}  {name}"
        for name, record in results.finished.items()
    ]
    if lines:
        listings.append(report.Listing("\n".join(lines), "What each cell took"))
    failed = [(name, str(record.error)) for name, record in results.failed.items()]
    text = (
        f"{len(failed)} cells failed; the numbers above are without them. The same "
        "command tries them again."
        if failed
        else ""
    )
    tables = [report.Table("Cells that failed", rows=failed)] if failed else []
    return report.Section("Cells", text, tables=tables, listings=listings)
