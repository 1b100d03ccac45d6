# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws what soft labels say: the top entries of images, and which classes mix."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import figure

from distill_jax.report import style

__all__ = ["density_map", "top_labels"]

_NAMED_CLASSES = 20  # More names than these do not fit beside a map.
_LONGEST_NAME = 14


def top_labels(
    images: np.ndarray | None,
    labels: np.ndarray,
    classes: np.ndarray | None,
    class_names: Sequence[str],
    *,
    num_top: int = 5,
) -> figure.Figure:
    """Shows images with the largest entries of their labels, a row for each.

    Args:
      images: [M, H, W, channels] uint8, or None where they are no pictures.
      labels: [M, C].
      classes: [M]; the bar of the own class has another colour. None if not known.
      class_names: C names, or none.
      num_top: how many entries of each.

    Returns:
      A figure.

    Example:
      >>> pictures = np.zeros((2, 8, 8, 1), np.uint8)
      >>> fig = top_labels(pictures, np.eye(2), None, ["a", "b"])
      >>> len(fig.axes)
      4
    """
    num_rows, longest = len(labels), 100 * float(np.max(labels))
    with matplotlib.rc_context(style.SETTINGS):
        fig = figure.Figure((4.4, 0.95 * num_rows), layout="constrained")
        grid = fig.add_gridspec(num_rows, 2, width_ratios=(1, 3))
        for row, label in enumerate(labels):
            if images is not None:
                ax = fig.add_subplot(grid[row, 0])
                picture = images[row]
                is_grey = picture.shape[-1] == 1
                ax.imshow(
                    picture[..., 0] if is_grey else picture,
                    cmap="gray" if is_grey else None,
                    vmin=0,
                    vmax=255,
                    interpolation="nearest",
                )
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
            own = None if classes is None else int(classes[row])
            ax = fig.add_subplot(grid[row, 1])
            _draw_bars(ax, label, own, class_names, num_top)
            ax.set_xlim(0, 1.18 * longest)
        return fig


def density_map(density: np.ndarray, class_names: Sequence[str]) -> figure.Figure:
    """Shows how much mass the labels of each class have on each other one.

    Args:
      density: [C, C], row a the mean label of the images of class a, without that on a.
      class_names: C names, or none.

    Returns:
      A figure.

    Example:
      >>> density_map(np.eye(3), ["a", "b", "c"]).axes[0].get_ylabel()
      'images of class'
    """
    with style.canvas(height=3.8) as (fig, ax):
        picture = ax.imshow(density, cmap="Blues", vmin=0.0, interpolation="nearest")
        bar = fig.colorbar(picture, ax=ax, fraction=0.05, pad=0.03)
        if len(class_names) == len(density) <= _NAMED_CLASSES:
            places = range(len(density))
            names = [_short(name) for name in class_names]
            ax.set_xticks(places, names, rotation=90)
            ax.set_yticks(places, names)
        ax.set_xlabel("mass on class")
        ax.set_ylabel("images of class")
        for part in (ax, bar.ax):
            part.spines[:].set_visible(False)
            part.tick_params(length=0, labelcolor=style.INK)
        return fig


def _draw_bars(ax, label, own, class_names, num_top) -> None:
    """The largest entries of one label, the largest on top."""
    order = np.argsort(-label, kind="stable")[:num_top]
    values = 100 * label[order]
    colours = [style.ACCENT if c == own else style.GREY for c in order]
    ax.barh(range(len(order)), values, color=colours, height=0.7)
    is_named = len(class_names) == len(label)
    names = [_short(class_names[c]) if is_named else str(c) for c in order]
    ax.set_yticks(range(len(order)), names, fontsize=7.5)
    ax.invert_yaxis()
    for place, value in enumerate(values):
        ax.text(value, place, f" {value:.0f} %", fontsize=7.5, va="center")
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelcolor=style.INK)


def _short(name: str) -> str:
    name = str(name)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
