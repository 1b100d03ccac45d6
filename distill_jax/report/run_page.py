# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes the page of a run from its contents: which section says what."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import types
from distill_jax.report import contents as contents_lib
from distill_jax.report import figures, pictures, tables
from distill_jax.report import metrics as metrics_lib
from distill_jax.report import page as pages

__all__ = ["to_page"]

_PERCENT = "\N{NO-BREAK SPACE}%"


def to_page(contents: contents_lib.Contents) -> pages.Page:
    """Lays out what is known of a run as a page.

    Args:
      contents: what stands in the report.

    Returns:
      A :class:`~distill_jax.report.Page`.

    Example:
      >>> page = to_page(contents_lib.Contents("Digits"))
      >>> [section.heading for section in page.sections]
      ['Examples', 'Labels']
    """
    sections = (
        _comparison(contents),
        _examples(contents),
        _transfer(contents),
        _labels(contents),
        _course(contents),
        _costs(contents),
        _usage(contents),
    )
    return pages.Page(
        title=contents.title,
        headline=_headline(contents),
        facts=contents.facts,
        sections=[section for section in sections if section is not None],
    )


def _headline(contents: contents_lib.Contents) -> list[tuple[str, str]]:
    """The result in a few numbers, each with what it means."""
    ours = contents_lib.distilled_arm(contents) or {}
    reference = contents_lib.reference_arm(contents)
    is_known = contents_lib.is_known
    metric, mean = contents.metric, contents_lib.score_of(contents, ours)
    spread = ours.get(f"{metric.name}_sd")
    num = ours.get("num_examples")
    lines = []
    if is_known(mean):
        shown, _, around = metrics_lib.format_score(metric, mean, spread).partition(" ")
        around = f", {around} between runs" if around else ""
        unit = _PERCENT if metric.is_fraction else ""
        lines.append((f"{shown}{unit}", f"test {metrics_lib.words(metric)}{around}"))
    if num is not None:
        of = ""
        if reference:
            total = reference["num_examples"]
            of = f" instead of {total:,} ({100 * num / total:.2g}{_PERCENT})"
        lines.append((f"{num:,}", f"distilled examples{of}"))
    other = contents_lib.score_of(contents, reference) if reference else None
    if is_known(mean) and reference and other:
        of = f"the {metrics_lib.words(metric)} of “{reference['name']}”"
        if metric.is_fraction:
            lines.append((f"{100 * mean / other:.0f}{_PERCENT}", f"of {of}"))
        elif not metric.is_higher_better:
            lines.append((f"{mean / other:.2g}", f"times {of}"))
    if ours.get("bytes_stored") is not None:
        lines.append((tables.format_bytes(ours["bytes_stored"]), "stored"))
    return lines


def _comparison(contents: contents_lib.Contents) -> pages.Section | None:
    """The arms, and how they were trained."""
    if not contents.arms:
        return None
    headings, cells = tables.arm_cells(contents.arms, contents.metrics)
    has_own_steps = any(arm["name"] == "real-hard" for arm in contents.arms)
    has_spread = any("±" in cell for row in cells for cell in row)
    text = [
        "Every arm trains new networks with the same optimiser and augmentation, for "
        "as long as the protocol says"
        + (
            "; real-hard takes a number of steps of its own, which its note gives."
            if has_own_steps
            else "."
        )
    ]
    if metrics_lib.heading(contents.metric) in headings:
        text.append(
            _scores_sentence(contents.metric)
            + (", ± one standard deviation between runs." if has_spread else ".")
        )
    if "Diverged" in headings:
        text.append(_diverged_sentence(contents.metric))
    if metrics_lib.heading(contents.metric, "Best on test") in headings:
        text.append(
            "“Best on test” is the best moment of training, chosen by looking at the "
            "test data: it is there to compare with papers that report it, and is not "
            "a fair estimate."
        )
    table = _table("Comparison of arms", contents, contents.arms, headings, cells)
    return pages.Section("Comparison", " ".join(text), tables=[table])


def _scores_sentence(metric: types.Metric) -> str:
    """What the scores are and where they were taken, without a full stop."""
    if metric.name == "accuracy":
        return "Accuracies are in percent on test data"
    best = "higher" if metric.is_higher_better else "lower"
    percent = "in percent " * metric.is_fraction
    name = metrics_lib.heading(metric).removesuffix(" %")
    return f"{name} is {percent}on test data, {best} is better"


def _diverged_sentence(metric: types.Metric) -> str:
    """What becomes of networks that diverged."""
    fate = (
        "it has no score and is left out of the mean"
        if metric.worst is None
        else "what it says counts as wrong"
    )
    return (
        "A network has diverged if not all of its outputs are finite, or if it fits "
        f"what it was trained on far worse than outputs of zero; {fate}."
    )


def _examples(contents: contents_lib.Contents) -> pages.Section:
    """Distilled and real examples, or a word about there being none."""
    panels = [
        pages.Pictures(
            heading,
            {
                contents.class_name(index): row[: pictures.MAX_PER_CLASS]
                for index, row in enumerate(images[: pictures.MAX_CLASSES])
            },
        )
        for heading, images in (
            ("Distilled", contents.distilled_images),
            ("Real", contents.real_images),
        )
        if images is not None
    ]
    if not panels:
        return pages.Section(
            "Examples", "The examples are not pictures, so none are shown."
        )
    text = (
        "In true colours: what the networks see, taken back through the inverse of the "
        f"normalisation. {_shown_sentence(contents)}"
    )
    return pages.Section("Examples", text, pictures=panels)


def _shown_sentence(contents: contents_lib.Contents) -> str:
    """Which part of the examples is shown, where it is not all of them."""
    images = contents.distilled_images
    if images is None:
        return ""
    parts = []
    if len(images) > pictures.MAX_CLASSES:
        parts.append(f"the first {pictures.MAX_CLASSES} of {len(images)} classes")
    if images.shape[1] > pictures.MAX_PER_CLASS:
        parts.append(
            f"the first {pictures.MAX_PER_CLASS} of {images.shape[1]} distilled "
            "examples of each class"
        )
    return f"Shown are {' and '.join(parts)}." if parts else ""


def _transfer(contents: contents_lib.Contents) -> pages.Section | None:
    """Networks of other architectures."""
    if not contents.transfer:
        return None
    headings, cells = tables.transfer_cells(contents.transfer, contents.metrics)
    has_random = metrics_lib.heading(contents.metric, "Random") in headings
    also = ", and on as many random real examples" if has_random else ""
    text = (
        "Fresh networks of several architectures, trained on the distilled set as the "
        f"protocol says{also}. {_scores_sentence(contents.metric)}."
    )
    if "Diverged" in headings:
        text += f" {_diverged_sentence(contents.metric)}"
    label = "Networks of other architectures"
    table = _table(label, contents, contents.transfer, headings, cells)
    return pages.Section("Other networks", text, tables=[table])


def _labels(contents: contents_lib.Contents) -> pages.Section:
    """The label map and its caption, or a word about there being none."""
    fig = figures.label_map(contents)
    if fig is None or contents.labels is None:
        return pages.Section(
            "Labels",
            "Labels were not learned: every distilled example keeps the label it "
            "started with.",
        )
    shown, _ = figures.shown_labels(contents.labels)
    part = f"{len(shown)} of {len(contents.labels)} rows are shown. "
    probabilities = "Each row is a distribution over the classes; dark is one."
    if contents.label_mass == "free":
        mass = np.sum(contents.labels, axis=1)
        probabilities = (
            "Each row weighs the classes; dark is much. The rows have sums from "
            f"{mass.min():.3g} to {mass.max():.3g}, by which they weigh their examples."
        )
    meaning = {
        "probabilities": probabilities,
        "centred": "Blue entries are above the mean of a label, red ones below.",
        "values": "Blue entries are positive, red ones negative.",
    }[contents.targets]
    is_part = len(shown) < len(contents.labels)
    label_map = pages.Figure(
        "labels",
        fig,
        caption=(part if is_part else "") + meaning,
        alt=f"Heat map of the learned labels of {len(shown)} distilled examples",
    )
    return pages.Section("Labels", figures=[label_map])


def _course(contents: contents_lib.Contents) -> pages.Section | None:
    """The curves there are."""
    curves = [_accuracy_curve(contents), _loss_curve(contents)]
    curves = [curve for curve in curves if curve is not None]
    return pages.Section("Course of the run", figures=curves) if curves else None


def _accuracy_curve(contents: contents_lib.Contents) -> pages.Figure | None:
    fig = figures.accuracy_curve(contents)
    if fig is None:
        return None
    has_band = any(
        contents_lib.is_known(sd) and sd > 0 for *_, sd in contents.evaluations
    )
    band = "the band is one standard deviation, " if has_band else ""
    name, plural = metrics_lib.words(contents.metric), "scores"
    if name == "accuracy":
        plural = "accuracies"
    shown = name[:1].upper() + name[1:]
    return pages.Figure(
        "accuracy",
        fig,
        caption=f"{shown} on held-out data of networks trained on the set as it was at "
        f"each moment; {band}dashed lines are the test {plural} of the other arms.",
        alt=f"{shown} over seconds, up to step {contents.evaluations[-1][0]}",
    )


def _loss_curve(contents: contents_lib.Contents) -> pages.Figure | None:
    fig = figures.loss_curve(contents)
    if fig is None:
        return None
    step, seconds, _ = contents.history[-1]
    return pages.Figure(
        "loss",
        fig,
        caption=f"Loss of the distillation over {step:,} steps, which took "
        f"{tables.format_seconds(seconds)}.",
        alt=f"Loss over seconds, up to step {step}",
    )


def _costs(contents: contents_lib.Contents) -> pages.Section | None:
    """What was spent."""
    if not contents.costs:
        return None
    rows = [(name, _cost(value)) for name, value in contents.costs.items()]
    return pages.Section("Cost", tables=[pages.Table("Cost", rows=rows)])


def _usage(contents: contents_lib.Contents) -> pages.Section | None:
    """The commands, and the config folded away."""
    listings = []
    if contents.usage:
        listings.append(pages.Listing(contents.usage))
    if contents.config:
        config = json.dumps(contents.config, indent=2, default=str, ensure_ascii=False)
        listings.append(pages.Listing(config, summary="Config of the run"))
    return pages.Section("Use and reproduce", listings=listings) if listings else None


def _table(
    label: str,
    contents: contents_lib.Contents,
    rows: tables.Arms,
    headings: list[str],
    cells: list[list[str]],
) -> pages.Table:
    """Cells as a table of a page, accuracies with a bar, notes below the names."""
    shown = [index for index, heading in enumerate(headings) if heading != "Note"]
    lines = []
    for row, texts in zip(rows, cells, strict=True):
        line: list[str | pages.Bar] = [texts[index] for index in shown]
        share = contents_lib.score_of(contents, row)
        if contents.metric.is_fraction and contents_lib.is_known(share):
            place = headings.index(metrics_lib.heading(contents.metric))
            line[place] = pages.Bar(texts[place], share)
        note, is_ours = str(row.get("note") or ""), bool(row.get("is_distilled"))
        lines.append(pages.Row(line, note, is_highlighted=is_ours))
    return pages.Table(label, [headings[index] for index in shown], lines)


def _cost(value: Any) -> str:
    """A cost as it was given; a bare number with three digits."""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=str)
    if isinstance(value, float | np.floating):
        return f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
