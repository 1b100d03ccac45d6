# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tells what came out of a run or a study: tables, figures, one self-contained page."""

from distill_jax.report import charts, figures, metrics, pictures, tables
from distill_jax.report.contents import Contents
from distill_jax.report.html import (
    render_page,
    render_report,
    write_page,
    write_report,
)
from distill_jax.report.label_page import LabelFindings, to_label_page
from distill_jax.report.page import (
    Bar,
    Claim,
    Figure,
    Listing,
    Page,
    Pictures,
    Row,
    Section,
    Table,
)
from distill_jax.report.run_page import to_page

__all__ = [
    "Bar",
    "Claim",
    "Contents",
    "Figure",
    "LabelFindings",
    "Listing",
    "Page",
    "Pictures",
    "Row",
    "Section",
    "Table",
    "charts",
    "figures",
    "metrics",
    "pictures",
    "render_page",
    "render_report",
    "tables",
    "to_label_page",
    "to_page",
    "write_page",
    "write_report",
]
