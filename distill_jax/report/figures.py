# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Draws the figures of a run: pure functions from contents to matplotlib figures."""

import math

import matplotlib
import numpy as np
from matplotlib import axes, figure, ticker

from distill_jax.report import contents as contents_lib
from distill_jax.report import metrics as metrics_lib
from distill_jax.report import pictures, style

__all__ = [
    "ACCENT",
    "GREY",
    "INK",
    "accuracy_curve",
    "label_map",
    "loss_curve",
    "overview",
    "shown_labels",
]

MAX_POINTS = 400  # More points of a curve are averaged in groups.
ACCENT, GREY, INK = style.ACCENT, style.GREY, style.INK


def loss_curve(contents: contents_lib.Contents) -> figure.Figure | None:
    """The loss over the seconds, logarithmic where it falls by a factor of 20.

    Args:
      contents: what stands in the report.

    Returns:
      A figure, or ``None`` where no finite loss was recorded.

    Example:
      >>> contents = contents_lib.Contents("Digits", history=[(1, 0.1, 2.0)])
      >>> loss_curve(contents).axes[0].get_ylabel()
      'loss'
    """
    if not len(contents_lib.loss_rows(contents)):
        return None
    with style.canvas() as (fig, ax):
        _draw_loss(ax, contents)
        return fig


def accuracy_curve(contents: contents_lib.Contents) -> figure.Figure | None:
    """The score on held-out data over the seconds, with one standard deviation.

    Dashed lines are the arms that are not distilled, for comparison.

    Args:
      contents: what stands in the report.

    Returns:
      A figure, or ``None`` where nothing was evaluated.

    Example:
      >>> contents = contents_lib.Contents(
      ...     "Digits", evaluations=[(0, 0.0, 0.5, 0.1), (100, 2.0, 0.9, 0.02)])
      >>> accuracy_curve(contents).axes[0].get_ylabel()
      'accuracy %'
    """
    if not len(contents_lib.accuracy_rows(contents)):
        return None
    with style.canvas() as (fig, ax):
        _draw_accuracy(ax, contents)
        return fig


def label_map(contents: contents_lib.Contents) -> figure.Figure | None:
    """The learned labels: a row for each example, a column for each class.

    At most twenty classes with ten rows each are shown.
    Probabilities are shown from white to blue; centred labels and values diverge from
    white at zero.

    Args:
      contents: what stands in the report.

    Returns:
      A figure, or ``None`` where no labels were learned.

    Example:
      >>> contents = contents_lib.Contents("Digits", labels=np.eye(3))
      >>> label_map(contents).axes[0].get_xlabel()
      'entry of the label'
    """
    if contents.labels is None:
        return None
    labels, num_named = shown_labels(contents.labels)
    height = min(1.6 + 0.16 * len(labels), 5.6)
    with style.canvas(height) as (fig, ax):
        largest = float(np.abs(labels).max()) or 1.0
        is_probability = contents.targets == "probabilities"
        is_free = contents.label_mass == "free"
        picture = ax.imshow(
            labels,
            aspect="auto",
            interpolation="nearest",
            cmap="Blues" if is_probability else "RdBu",
            vmin=0.0 if is_probability else -largest,
            vmax=largest if is_free or not is_probability else 1.0,
        )
        _name_axes(ax, contents, labels.shape, num_named)
        bar = fig.colorbar(picture, ax=ax, fraction=0.05, pad=0.03)
        for part in (ax, bar.ax):
            part.spines[:].set_visible(False)
            part.tick_params(length=0, labelcolor=INK)
        return fig


def overview(contents: contents_lib.Contents) -> figure.Figure:
    """One picture for a README: the distilled examples beside the accuracy.

    Save it with ``overview(contents).savefig("demo.png", dpi=160)``.

    Args:
      contents: what stands in the report; the loss stands in for the accuracy where
        nothing was evaluated, and what is not pictures leaves the curve alone.

    Returns:
      A figure on a white ground.

    Example:
      >>> images = np.zeros((2, 3, 8, 8, 1), np.uint8)
      >>> contents = contents_lib.Contents("Digits", distilled_images=images)
      >>> len(overview(contents).axes)
      1
    """
    draws = []
    if contents.distilled_images is not None:
        draws.append(_draw_grid)
    if len(contents_lib.accuracy_rows(contents)):
        draws.append(_draw_accuracy)
    elif len(contents_lib.loss_rows(contents)):
        draws.append(_draw_loss)
    with matplotlib.rc_context(style.SETTINGS):
        size = (4.6 * max(len(draws), 1), 4.6)
        fig = figure.Figure(size, layout="constrained", facecolor="white")
        fig.suptitle(contents.title, fontsize=12, fontweight="bold")
        for position, draw in enumerate(draws, start=1):
            draw(style.new_axes(fig, 1, len(draws), position), contents)
        return fig


def shown_labels(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """The rows of the labels that are shown, and of how many classes they are.

    Args:
      labels: [M, C], class-major.

    Returns:
      The first rows of the first classes, and the number of these classes; the first
      rows at all, and 0, where the rows do not divide among the classes.

    Example:
      >>> shown, num_classes = shown_labels(np.zeros((500, 10)))
      >>> shown.shape, num_classes
      ((100, 10), 10)
    """
    labels = np.asarray(labels, np.float64)
    num_rows, num_classes = labels.shape
    if num_rows % num_classes:
        return labels[: pictures.MAX_CLASSES * pictures.MAX_PER_CLASS], 0
    kept = labels.reshape(num_classes, -1, num_classes)
    kept = kept[: pictures.MAX_CLASSES, : pictures.MAX_PER_CLASS]
    return kept.reshape(-1, num_classes), len(kept)


def _plot(ax: axes.Axes, x: np.ndarray, y: np.ndarray) -> None:
    """A line, with dots where it has few points."""
    marker = "o" if len(x) <= 25 else ""
    ax.plot(x, y, color=ACCENT, linewidth=1.6, marker=marker, markersize=4)
    ax.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)
    ax.margins(x=0.02)
    ax.xaxis.set_major_locator(ticker.MaxNLocator(5))


def _draw_loss(ax: axes.Axes, contents: contents_lib.Contents) -> None:
    """Loss over seconds."""
    rows = contents_lib.loss_rows(contents)
    group = math.ceil(len(rows) / MAX_POINTS)
    seconds, losses = (_thin(column, group) for column in rows.T)
    _plot(ax, seconds, losses)
    if losses.min() > 0 and losses.max() > 20 * losses.min():
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    ax.set_xlabel("seconds of distillation")
    ax.set_ylabel("loss" if group == 1 else f"loss (means of {group} records)")


def _draw_accuracy(ax: axes.Axes, contents: contents_lib.Contents) -> None:
    """The score with a band, and the other arms as dashed lines."""
    scale = 100 if contents.metric.is_fraction else 1
    seconds, means, spreads = contents_lib.accuracy_rows(contents).T
    means, spreads = scale * means, scale * spreads
    _plot(ax, seconds, means)
    ax.fill_between(
        seconds,
        means - spreads,
        means + spreads,
        color=ACCENT,
        alpha=0.18,
        linewidth=0,
    )
    arms = [arm for arm in contents.arms if not arm.get("is_distilled")]
    levels = {
        str(arm["name"]): scale * score
        for arm in arms
        if contents_lib.is_known(score := contents_lib.score_of(contents, arm))
    }
    span = np.ptp([*means, *levels.values()])
    for name, level in _spaced(levels, 0.09 * span).items():
        ax.axhline(level, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        ax.annotate(
            name,
            (1.0, level),
            xycoords=ax.get_yaxis_transform(),
            xytext=(4, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=9.5,
            color=GREY,
        )
    ax.set_xlabel("seconds of distillation")
    unit = " %" if contents.metric.is_fraction else ""
    ax.set_ylabel(metrics_lib.words(contents.metric) + unit)


def _spaced(levels: dict[str, float], distance: float) -> dict[str, float]:
    """Leaves out the lines whose names would lie on that of a higher one."""
    kept: dict[str, float] = {}
    for name, level in sorted(levels.items(), key=lambda pair: -pair[1]):
        if not kept or min(kept.values()) - level > distance:
            kept[name] = level
    return kept


def _draw_grid(ax: axes.Axes, contents: contents_lib.Contents) -> None:
    """The distilled examples of the first ten classes."""
    assert contents.distilled_images is not None
    images = contents.distilled_images[:10, : pictures.MAX_PER_CLASS]
    picture, centres = pictures.stack(images)
    ax.imshow(picture, interpolation="nearest")
    ax.spines[:].set_visible(False)
    ax.set(xticks=[], yticks=[])
    if centres is not None:
        names = [contents.class_name(i) for i in range(len(centres))]
        ax.set_yticks(centres, names)
        ax.tick_params(length=0)


def _name_axes(
    ax: axes.Axes,
    contents: contents_lib.Contents,
    shape: tuple[int, ...],
    num_named: int,
) -> None:
    """Names the columns of the label map, and the block of rows of each class."""
    num_rows, num_columns = shape
    ax.set_xlabel("entry of the label")
    if len(contents.class_names) in (0, num_columns) and num_columns <= 20:
        names = [contents.class_name(i) for i in range(num_columns)]
        is_long = max(map(len, names)) > 3
        ax.set_xticks(range(num_columns), names, rotation=90 if is_long else 0)
    ax.set_ylabel("distilled example")
    if num_named:
        per_class = num_rows // num_named
        centres = [(i + 0.5) * per_class - 0.5 for i in range(num_named)]
        ax.set_yticks(centres, [contents.class_name(i) for i in range(num_named)])
        ax.set_ylabel("distilled examples of")
        for i in range(1, num_named if per_class > 1 else 0):
            ax.axhline(i * per_class - 0.5, color=GREY, linewidth=0.5, alpha=0.5)


def _thin(values: np.ndarray, group: int) -> np.ndarray:
    """Means of groups of neighbours; the last group may be short."""
    starts = np.arange(0, len(values), group)
    sums = np.add.reduceat(values, starts)
    return sums / np.diff(np.append(starts, len(values)))
