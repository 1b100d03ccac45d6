# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Says what stands on a page, as plain data: sections of text, tables, figures, claims.

A page knows nothing of what it reports. A finished run makes one with
:func:`distill_jax.report.to_page`, a study makes one from the rows of its cells, and
:func:`distill_jax.report.write_page` writes either as one HTML file.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from matplotlib import figure

from distill_jax import errors

__all__ = [
    "Bar",
    "Claim",
    "Figure",
    "Listing",
    "Page",
    "Pictures",
    "Row",
    "Section",
    "Table",
    "Verdict",
]

Verdict = Literal["holds", "does not hold", "undecided"]


class Bar(NamedTuple):
    """A cell of a table with a bar below its text."""

    text: str
    share: float  # of the bar that is filled, from 0 to 1


class Row(NamedTuple):
    """A row of a table that has more than cells."""

    cells: Sequence[str | Bar]
    note: str = ""  # in small letters below the first cell
    is_highlighted: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
      label: what it is, in words, for those who cannot see it.
      headings: one for each column; none for a list of names and values.
      rows: :class:`Row`, or the cells alone.

    Raises:
      InputError: when a row has more or fewer cells than there are headings.

    Example:
      >>> Table("Accuracies", ["Method", "1"], [["DM", "89.7"], ["FRePo"]])
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: Row 2 of the table "Accuracies" has 1 cells for 2 \
columns; pass one for each.
    """

    label: str
    headings: Sequence[str] = ()
    rows: Sequence[Row | Sequence[str | Bar]] = ()

    def __post_init__(self):
        rows = [r if isinstance(r, Row) else Row(tuple(r)) for r in self.rows]
        object.__setattr__(self, "rows", rows)
        num_columns = len(self.headings) or 2
        for number, row in enumerate(rows, start=1):
            if len(row.cells) != num_columns:
                raise errors.InputError(
                    f'Row {number} of the table "{self.label}" has {len(row.cells)} '
                    f"cells for {num_columns} columns; pass one for each."
                )


class Figure(NamedTuple):
    """A figure with its caption."""

    name: str  # one word; ids inside the picture are made from it
    drawing: figure.Figure
    caption: str = ""
    alt: str = ""  # what is seen, for those who cannot


class Pictures(NamedTuple):
    """Examples in rows, such as one row of distilled pictures for each class."""

    heading: str
    rows: Mapping[str, np.ndarray]  # name -> [K, H, W, channels] uint8


class Listing(NamedTuple):
    """A block of code or data."""

    text: str
    summary: str = ""  # where given, the block is folded away below it


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence that measurements can uphold or refute.

    Attributes:
      statement: the sentence.
      value: what was measured; NaN where nothing could be.
      interval: between which values it lies with 95 % confidence; ``None`` where that
        is not known, and then the claim is undecided.
      unit: of the value, such as "points".
      paper: what the paper says, with its place.
      verdict: "holds", "does not hold" or "undecided". ``studies.claim_of`` takes it
        from the interval.

    Raises:
      InputError: for an unknown verdict, an interval that does not hold the value, or
        a verdict without an interval.

    Example:
      >>> claim = Claim("FRePo beats DM.", 3.2, (1.0, 5.4), "points", verdict="holds")
      >>> claim.measured
      '3.2 points (95 % interval 1 to 5.4)'
    """

    statement: str
    value: float
    interval: tuple[float, float] | None = None
    unit: str = ""
    paper: str = ""
    verdict: Verdict = "undecided"

    def __post_init__(self):
        if self.verdict not in get_args(Verdict):
            raise errors.InputError(
                f'The claim "{self.statement}" has the verdict {self.verdict!r}. '
                f"{errors.nearest(str(self.verdict), get_args(Verdict))}"
            )
        if self.interval is None:
            if self.verdict != "undecided":
                raise errors.InputError(
                    f'The claim "{self.statement}" has no interval, so nobody can say '
                    f'that it {self.verdict}; pass one, or leave it "undecided".'
                )
            return
        low, high = self.interval
        if not low <= self.value <= high:
            raise errors.InputError(
                f'The value {self.value:.4g} of the claim "{self.statement}" is not '
                f"in its interval from {low:.4g} to {high:.4g}; pass one around it."
            )

    @property
    def measured(self) -> str:
        """What was measured, in words."""
        if not math.isfinite(self.value):
            return "not measured"
        text = f"{self.value:.3g}{f' {self.unit}' if self.unit else ''}"
        if self.interval is None:
            return text
        low, high = self.interval
        return f"{text} (95 % interval {low:.3g} to {high:.3g})"


@dataclasses.dataclass(frozen=True, eq=False)
class Section:
    """A part of a page under a heading; what is left out is not shown.

    Attributes:
      heading: of the section.
      text: a paragraph; an empty line begins another.
      claims: with what was measured, and whether they hold.
      tables: one below the other.
      pictures: panels of examples, side by side where there is room.
      figures: side by side where there is room.
      listings: code and data.
    """

    heading: str
    text: str = ""
    claims: Sequence[Claim] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Pictures] = ()
    figures: Sequence[Figure] = ()
    listings: Sequence[Listing] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Page:
    """All that stands on a page.

    Attributes:
      title: the heading of all.
      headline: the result in a few numbers, each with what it means.
      facts: what was done and with what, in the order of reading.
      sections: in the order of reading.

    Example:
      >>> page = Page("Digits", sections=[Section("Result", "All is well.")])
      >>> page.claims
      []
    """

    title: str
    headline: Sequence[tuple[str, str]] = ()
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sections: Sequence[Section] = ()

    @property
    def claims(self) -> list[Claim]:
        """The claims of all sections."""
        return [claim for section in self.sections for claim in section.claims]
