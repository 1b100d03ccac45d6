# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes scores as their metric wants it: fractions in percent, others as they are."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from distill_jax import types

__all__ = ["ACCURACY", "MISSING", "format_interval", "format_score", "heading", "words"]

ACCURACY = types.Metric("accuracy", is_fraction=True, worst=0.0)
MISSING = "–"

Metrics = Sequence[types.Metric]


def words(metric: types.Metric) -> str:
    """The name of a metric in a sentence.

    Args:
      metric: what is known of it.

    Example:
      >>> words(types.Metric("squared_error"))
      'squared error'
    """
    return metric.name.replace("_", " ")


def heading(metric: types.Metric, name: str | None = None) -> str:
    """The name of a column of scores.

    Args:
      metric: of the scores.
      name: of the column; by default that of the metric.

    Example:
      >>> heading(ACCURACY), heading(types.Metric("squared_error"), "Random")
      ('Accuracy %', 'Random')
    """
    name = words(metric) if name is None else name
    return name[:1].upper() + name[1:] + " %" * metric.is_fraction


def format_score(
    metric: types.Metric, value: float | None, spread: float | None = None
) -> str:
    """A score, with a spread where there is one.

    Args:
      metric: of the score.
      value: the score; fractions are shown in percent.
      spread: its standard deviation.

    Example:
      >>> format_score(ACCURACY, 0.5, 0.012), format_score(ACCURACY, None)
      ('50.0 ± 1.2', '–')
      >>> format_score(types.Metric("squared_error"), 0.123456, 0.012)
      '0.1235 ± 0.012'
    """
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{100 * value:.1f}" if metric.is_fraction else f"{value:.4g}"
    if spread is not None and math.isfinite(spread):
        text += f" ± {_width(metric, spread)}"
    return text


def format_interval(metric: types.Metric, ci95: Any, mean: float | None = None) -> str:
    """A confidence interval: (low, high), or a half-width around the mean.

    Args:
      metric: of the score.
      ci95: one number or two.
      mean: the score; where an interval around it would leave 0 to 100 %, its ends are
        shown, without what is outside.

    Example:
      >>> format_interval(ACCURACY, 0.012), format_interval(ACCURACY, (0.5, 0.6))
      ('± 1.2', '50.0 – 60.0')
      >>> format_interval(ACCURACY, 0.05, mean=0.98)
      '93.0 – 100.0'
    """
    if ci95 is None or not np.isfinite(ci95).all():
        return MISSING
    if np.ndim(ci95) == 0:
        share = mean if metric.is_fraction and mean is not None else math.nan
        if not ci95 > min(share, 1 - share):
            return f"± {_width(metric, ci95)}"
        ci95 = share - ci95, share + ci95
    low, high = ci95
    if metric.is_fraction:
        low, high = max(low, 0.0), min(high, 1.0)
    return f"{format_score(metric, low)} – {format_score(metric, high)}"


def _width(metric: types.Metric, width: float) -> str:
    """Half an interval, with two digits where it is no percentage."""
    return f"{100 * width:.1f}" if metric.is_fraction else f"{width:.2g}"
