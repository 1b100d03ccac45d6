# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws figures of any numbers, for pages that are not of one run."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import figure

from distill_jax import errors
from distill_jax.report import style

__all__ = ["Series", "line_chart"]

# Readable on light and on dark; each with a mark of its own, for those who see no red.
_LOOKS = (
    (style.ACCENT, "o"),
    ("#c05a1a", "s"),
    ("#2c8f63", "^"),
    ("#8f5bb0", "D"),
    ("#a8881a", "v"),
    (style.GREY, "P"),
)


class Series(NamedTuple):
    """One line of a chart, perhaps with the interval around each point."""

    x: Sequence[float]
    y: Sequence[float]
    # NaN where an interval is not known; two rows, below and above, where they differ
    half_widths: Sequence[float] | Sequence[Sequence[float]] | None = None


def line_chart(
    series: Mapping[str, Series], *, x_label: str, y_label: str, is_log_x: bool = False
) -> figure.Figure:
    """Draws lines with intervals over a common axis.

    Args:
      series: the lines by name, six at most.
      x_label: of the axis.
      y_label: of the axis.
      is_log_x: whether the axis is logarithmic; then it has a tick at each value.

    Returns:
      A figure.

    Raises:
      InputError: for no line, or more than can be told apart.

    Example:
      >>> chart = line_chart({"DM": Series([1, 10], [89.7, 97.5], [0.5, 0.2])},
      ...     x_label="images per class", y_label="accuracy %", is_log_x=True)
      >>> chart.axes[0].get_xscale()
      'log'
    """
    if not 1 <= len(series) <= len(_LOOKS):
        raise errors.InputError(
            f"`series` has {len(series)} lines; a chart can show 1 to {len(_LOOKS)}, "
            "so draw several."
        )
    with style.canvas() as (fig, ax):
        for (name, line), (colour, mark) in zip(series.items(), _LOOKS, strict=False):
            look = {"color": colour, "marker": mark, "markersize": 5, "linewidth": 1.6}
            if line.half_widths is None:
                ax.plot(line.x, line.y, label=name, **look)
            else:
                widths = np.nan_to_num(np.asarray(line.half_widths, np.float64))
                ax.errorbar(line.x, line.y, yerr=widths, label=name, capsize=3, **look)
        ax.grid(axis="y", color=style.GREY, alpha=0.25, linewidth=0.6)
        if is_log_x:
            values = sorted({value for line in series.values() for value in line.x})
            ax.set_xscale("log")
            ax.set_xticks(values, [f"{value:g}" for value in values])
            ax.set_xticks([], minor=True)
        ax.set_xlabel(x_label)
        ax.set_ylabel(y_label)
        if len(series) > 1:
            ax.legend(frameon=False, labelcolor=style.INK, fontsize=9.5)
        return fig
