# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Holds the look that all figures share: colours, fonts, one canvas.

Only the object-oriented interface of matplotlib is used, so that nothing is left in the
state of ``pyplot``. Figures are small in inches with text of ten points: on a phone, a
width of 4.4 inches becomes 360 pixels, and the text stays readable.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import matplotlib
from matplotlib import axes, figure

__all__ = ["ACCENT", "GREY", "INK", "SETTINGS", "canvas", "new_axes"]

# A page replaces these three by colours of its own, light or dark.
INK, GREY, ACCENT = "#1d242c", "#66707b", "#0b62a8"

SETTINGS: dict[Any, Any] = {
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # A dollar sign in a name is a dollar sign.
}


@contextlib.contextmanager
def canvas(height: float = 3.1) -> Iterator[tuple[figure.Figure, axes.Axes]]:
    """Makes a figure of the width of a phone with one pair of axes.

    Args:
      height: in inches.

    Yields:
      The figure and its axes; what is drawn in the block has the shared look.

    Example:
      >>> with canvas() as (fig, ax):
      ...     _ = ax.plot([1, 2], [3, 4])
      >>> len(fig.axes)
      1
    """
    with matplotlib.rc_context(SETTINGS):
        fig = figure.Figure((4.4, height), layout="constrained")
        yield fig, new_axes(fig)


def new_axes(fig: figure.Figure, *place: int) -> axes.Axes:
    """Adds axes whose ticks keep their look when the figure is drawn, later.

    Args:
      fig: is changed.
      *place: as ``Figure.add_subplot`` takes it.

    Returns:
      The axes.

    Example:
      >>> new_axes(figure.Figure(), 1, 2, 1).get_title()
      ''
    """
    ax = fig.add_subplot(*place)
    ax.tick_params(color=GREY, labelcolor=INK)
    return ax
