# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes the page of labelled images: how the labels were chosen, and what they say."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from distill_jax.report import charts, label_figures, run_page
from distill_jax.report import contents as contents_lib
from distill_jax.report import page as pages

__all__ = ["LabelFindings", "to_label_page"]

_PERCENT = "\N{NO-BREAK SPACE}%"
_MOST_LINES = 6
_OF_RUNS = ("Comparison", "Other networks", "Cost", "Use and reproduce")


@dataclasses.dataclass(frozen=True, eq=False)
class LabelFindings:
    """What is known of labels that were chosen.

    Attributes:
      labels: [M, C] of some images, the chosen ones.
      images: [M, H, W, channels] uint8 of these, or None where they are no pictures.
      classes: [M] of these, or None where they are not known.
      epochs: K completed epochs of the experts; none where there were no experts.
      temperatures: T of them.
      accuracies: [K, T, S] of the students, on the split that decided; K is 1 without
        experts.
      entropies: [K, T] nats, of the labels.
      epoch: the chosen one, or None.
      temperature: the chosen one.
      split: that decided.
      expert_accuracy: [E, n + 1] of the experts after every epoch, or None.
      expert_entropy: [E, n + 1] nats, or None.
      density: [C, C] how much mass the labels of a class have on each other one, or
        None where classes are not known.
    """

    labels: np.ndarray
    temperatures: Sequence[float]
    accuracies: np.ndarray
    entropies: np.ndarray
    temperature: float
    epochs: Sequence[int] = ()
    epoch: int | None = None
    split: str = "validation"
    images: np.ndarray | None = None
    classes: np.ndarray | None = None
    expert_accuracy: np.ndarray | None = None
    expert_entropy: np.ndarray | None = None
    density: np.ndarray | None = None


def to_label_page(contents: contents_lib.Contents, found: LabelFindings) -> pages.Page:
    """Lays out what is known of labelled images as a page.

    Args:
      contents: the title, the facts, the arms and what else every run has.
      found: about the labels.

    Returns:
      A :class:`~distill_jax.report.Page`.

    Example:
      >>> found = LabelFindings(
      ...     np.eye(2), [1.0, 4.0], np.array([[[0.5], [0.7]]]), np.ones((1, 2)), 4.0)
      >>> page = to_label_page(contents_lib.Contents("Digits"), found)
      >>> [section.heading for section in page.sections]
      ['The choice', 'Images and their labels']
    """
    of_run = {s.heading: s for s in run_page.to_page(contents).sections}
    first, *rest = _OF_RUNS
    sections = [
        of_run.get(first),
        _choice(found),
        _experts(found),
        _shown(contents, found),
        _structure(contents, found),
        *(of_run.get(heading) for heading in rest),
    ]
    return pages.Page(
        title=contents.title,
        headline=_headline(contents, found),
        facts=contents.facts,
        sections=[section for section in sections if section is not None],
    )


def _headline(
    contents: contents_lib.Contents, found: LabelFindings
) -> list[tuple[str, str]]:
    """The result in a few numbers, each with what it means."""
    arms = {arm["name"]: arm for arm in contents.arms}
    lines = []
    for name, words in (
        ("chosen-labels", "test accuracy with the chosen labels"),
        ("hard-labels", "with hard labels on the same images"),
        ("real-hard", "with the whole training set"),
    ):
        mean = contents_lib.score_of(contents, arms.get(name, {}))
        if contents_lib.is_known(mean):
            lines.append((f"{100 * mean:.1f}{_PERCENT}", words))
    number = arms.get("chosen-labels", {}).get("num_examples")
    if number is not None:
        lines.append((f"{number:,}", "labelled images"))
    epoch = "" if found.epoch is None else f"epoch {found.epoch}, "
    lines.append((f"{epoch}T {found.temperature:g}", f"chosen on {found.split}"))
    return lines


def _choice(found: LabelFindings) -> pages.Section:
    """The grid of epochs and temperatures."""
    means = 100 * found.accuracies.mean(axis=-1)
    num_seeds = found.accuracies.shape[-1]
    headings = ["Epoch" if found.epochs else "Teacher"]
    headings += [f"T = {temperature:g}" for temperature in found.temperatures]
    names = [str(epoch) for epoch in found.epochs] or ["its logits"]
    rows = []
    for name, row, entropy in zip(names, means, found.entropies, strict=True):
        is_chosen = found.epoch is None or name == str(found.epoch)
        cells = [
            pages.Bar(_cell(value, is_chosen and t == found.temperature), value / 100)
            for t, value in zip(found.temperatures, row, strict=True)
        ]
        shown = " / ".join(f"{value:.2f}" for value in entropy)
        rows.append(pages.Row([name, *cells], f"{shown} nats", is_chosen))
    students = f"{num_seeds} student{'s' * (num_seeds > 1)}"
    text = (
        f"Mean accuracy on the {found.split} split of {students} trained on the images "
        "with the labels of each pair, in percent; below each epoch the mean entropy "
        f"of its labels. The best pair is {_pair(found)}."
    )
    if found.split == "test":
        text += (
            " It was chosen by looking at the test data, so its test accuracy is not "
            "a fair estimate."
        )
    if _is_at_edge(found):
        text += (
            " It lies at the edge of what was tried; others beyond it may be better."
        )
    figures = []
    if len(found.epochs) > 1 and len(found.temperatures) <= _MOST_LINES:
        lines = {
            f"T = {temperature:g}": charts.Series(found.epochs, column.tolist())
            for temperature, column in zip(found.temperatures, means.T, strict=True)
        }
        chart = charts.line_chart(
            lines,
            x_label="epochs of the experts",
            y_label="accuracy %",
            is_log_x=min(found.epochs) > 0,
        )
        caption = f"Accuracy of students on the {found.split} split."
        figures = [pages.Figure("choice", chart, caption, "Accuracy over epochs")]
    table = pages.Table("Accuracy of students for each choice", headings, rows)
    return pages.Section("The choice", text, tables=[table], figures=figures)


def _cell(value: float, is_chosen: bool) -> str:
    return f"{'chosen: ' * is_chosen}{value:.1f}"


def _is_at_edge(found: LabelFindings) -> bool:
    """Whether what was not tried may be better."""
    pairs = ((found.epochs, found.epoch), (found.temperatures, found.temperature))
    return any(
        len(tried) > 1 and chosen in (min(tried), max(tried)) for tried, chosen in pairs
    )


def _pair(found: LabelFindings) -> str:
    epoch = "" if found.epoch is None else f"epoch {found.epoch} at "
    return f"{epoch}temperature {found.temperature:g}"


def _experts(found: LabelFindings) -> pages.Section | None:
    """How good and how sure the experts are over their epochs."""
    if found.expert_accuracy is None or found.expert_entropy is None:
        return None
    figures = []
    for name, values, label in (
        ("accuracy", 100 * found.expert_accuracy, "accuracy %"),
        ("entropy", found.expert_entropy, "entropy, nats"),
    ):
        spread = values.std(axis=0) if len(values) > 1 else None
        line = charts.Series(
            range(values.shape[1]),
            values.mean(axis=0).tolist(),
            None if spread is None else spread.tolist(),
        )
        chart = charts.line_chart({name: line}, x_label="epochs", y_label=label)
        caption = f"{name.capitalize()} on the validation split, after every epoch."
        figures.append(pages.Figure(f"expert_{name}", chart, caption, caption))
    number = len(found.expert_accuracy)
    text = (
        "An epoch says nothing without the learning rate; accuracy and the entropy of "
        "the labels do."
    )
    if number > 1:
        text += f" Means of {number} experts, with one standard deviation."
    return pages.Section("The experts", text, figures=figures)


def _shown(contents: contents_lib.Contents, found: LabelFindings) -> pages.Section:
    """Some images with the top of their labels."""
    drawing = label_figures.top_labels(
        found.images, found.labels, found.classes, contents.class_names
    )
    blue = "" if found.classes is None else " Blue is the class of the image."
    shown = pages.Figure(
        "top_labels",
        drawing,
        caption=f"The five largest entries of the labels of some images.{blue}",
        alt=f"Images and the largest entries of their labels, {len(found.labels)} rows",
    )
    return pages.Section("Images and their labels", figures=[shown])


def _structure(
    contents: contents_lib.Contents, found: LabelFindings
) -> pages.Section | None:
    """Which classes the labels mix."""
    if found.density is None:
        return None
    drawing = label_figures.density_map(found.density, contents.class_names)
    shown = pages.Figure(
        "density",
        drawing,
        caption="Mean label of the images of each class, without the mass on the class "
        "itself: what looks alike to the teacher.",
        alt="Heat map of the mass that labels of each class have on each other class",
    )
    return pages.Section("Which classes mix", figures=[shown])
