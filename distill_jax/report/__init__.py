# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tells what came out of a run: tables, figures, and one self-contained page."""

from distill_jax.report import figures, pictures, tables
from distill_jax.report.contents import Contents
from distill_jax.report.html import render_report, write_report

__all__ = [
    "Contents",
    "figures",
    "pictures",
    "render_report",
    "tables",
    "write_report",
]
