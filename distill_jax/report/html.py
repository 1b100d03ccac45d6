# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML file that needs nothing else.

Figures are embedded as SVG, examples as PNG; there is no script, no font and no
address to load from, which the page also forbids by its content security policy.
"""

import base64
import dataclasses
import importlib.resources
import io
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jinja2
import matplotlib
import numpy as np
from matplotlib import figure

from distill_jax.report import contents as contents_lib
from distill_jax.report import figures, pictures, tables
from distill_jax.storage import npz_json

__all__ = ["render_report", "write_report"]

_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
_PERCENT = "\N{NO-BREAK SPACE}%"
# The figures follow the colours of the page, light or dark.
_SVG_STYLE = """<style>
:root { --ink: #1d242c; --grey: #5c6670; --accent: #0b62a8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --grey: #9aa5b1; --accent: #74b6f2; }
}
</style>"""
_SVG_COLOURS = {
    figures.INK: "var(--ink)",
    figures.GREY: "var(--grey)",
    figures.ACCENT: "var(--accent)",
}


@dataclasses.dataclass(frozen=True)
class _Strip:
    """Examples of one class as an embedded picture."""

    name: str
    source: str
    alt: str
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class _Panel:
    """All shown examples of one kind, distilled or real."""

    heading: str
    strips: list[_Strip]
    num_per_class: int

    @property
    def has_long_names(self) -> bool:
        """Whether names need a line of their own on a phone."""
        return max(len(strip.name) for strip in self.strips) > 3


def write_report(
    contents: contents_lib.Contents, path: str | os.PathLike[str]
) -> pathlib.Path:
    """Writes a report as one HTML file.

    Args:
      contents: what stands in the report.
      path: the file, or a folder that exists, where it is called ``report.html``.

    Returns:
      The path of the file.

    Raises:
      InputError: when the file cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_report(contents_lib.Contents("Digits"), folder).name
      'report.html'
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "report.html"
    npz_json.write_files({path: render_report(contents).encode()})
    return path


def render_report(contents: contents_lib.Contents) -> str:
    """Renders a report as the text of one HTML page.

    Args:
      contents: what stands in the report.

    Returns:
      The page.

    Example:
      >>> "<h1>Digits</h1>" in render_report(contents_lib.Contents("Digits"))
      True
    """
    template = importlib.resources.files("distill_jax.report") / "template.html"
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    headings, rows = tables.arm_cells(contents.arms)
    transfer_headings, transfer_rows = tables.transfer_cells(contents.transfer)
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        contents=contents,
        is_known=contents_lib.is_known,
        headline=_headline(contents),
        headings=[heading for heading in headings if heading != "Note"],
        rows=list(zip(contents.arms, rows, strict=True)),
        transfer_headings=[name for name in transfer_headings if name != "Note"],
        transfer_rows=list(zip(contents.transfer, transfer_rows, strict=True)),
        panels=_panels(contents),
        shown=_shown_sentence(contents),
        labels=_labels(contents),
        curves=_curves(contents),
        costs={name: _cost(value) for name, value in contents.costs.items()},
        config=json.dumps(contents.config, indent=2, default=str, ensure_ascii=False),
    )


def _headline(contents: contents_lib.Contents) -> list[tuple[str, str]]:
    """The result in a few numbers, each with what it means."""
    ours = contents_lib.distilled_arm(contents) or {}
    reference = contents_lib.reference_arm(contents)
    is_known = contents_lib.is_known
    mean, spread = ours.get("accuracy_mean"), ours.get("accuracy_sd")
    num = ours.get("num_examples")
    lines = []
    if is_known(mean):
        around = f", ± {100 * spread:.1f} between runs" if is_known(spread) else ""
        lines.append((f"{100 * mean:.1f}{_PERCENT}", f"test accuracy{around}"))
    if num is not None:
        of = ""
        if reference:
            total = reference["num_examples"]
            of = f" instead of {total:,} ({100 * num / total:.2g}{_PERCENT})"
        lines.append((f"{num:,}", f"distilled examples{of}"))
    if is_known(mean) and reference and reference["accuracy_mean"]:
        share = 100 * mean / reference["accuracy_mean"]
        lines.append(
            (f"{share:.0f}{_PERCENT}", f"of the accuracy of “{reference['name']}”")
        )
    if ours.get("bytes_stored") is not None:
        lines.append((tables.format_bytes(ours["bytes_stored"]), "stored"))
    return lines


def _panels(contents: contents_lib.Contents) -> list[_Panel]:
    """The shown examples, distilled and real."""
    panels = []
    for heading, images in (
        ("Distilled", contents.distilled_images),
        ("Real", contents.real_images),
    ):
        if images is None:
            continue
        images = images[: pictures.MAX_CLASSES, : pictures.MAX_PER_CLASS]
        strips = []
        for index, row in enumerate(images):
            name, picture = contents.class_name(index), pictures.strip(row)
            strips.append(
                _Strip(
                    name=name,
                    source=_data_url(pictures.png(picture), "image/png"),
                    alt=f"{heading} examples of class {name}",
                    width=picture.shape[1],
                    height=picture.shape[0],
                )
            )
        panels.append(_Panel(heading, strips, images.shape[1]))
    return panels


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


def _labels(contents: contents_lib.Contents) -> dict[str, str] | None:
    """The label map and its caption."""
    fig = figures.label_map(contents)
    if fig is None or contents.labels is None:
        return None
    shown, _ = figures.shown_labels(contents.labels)
    part = f"{len(shown)} of {len(contents.labels)} rows are shown. "
    meaning = {
        "probabilities": "Each row is a distribution over the classes; dark is one.",
        "centred": "Blue entries are above the mean of a label, red ones below.",
        "values": "Blue entries are positive, red ones negative.",
    }[contents.targets]
    is_part = len(shown) < len(contents.labels)
    return {
        "source": _svg(fig, "labels"),
        "caption": (part if is_part else "") + meaning,
        "alt": f"Heat map of the learned labels of {len(shown)} distilled examples",
    }


def _curves(contents: contents_lib.Contents) -> list[dict[str, str]]:
    """The curves there are, with captions."""
    curves = []
    fig = figures.accuracy_curve(contents)
    if fig is not None:
        last = contents.evaluations[-1]
        has_band = any(
            contents_lib.is_known(sd) and sd > 0 for *_, sd in contents.evaluations
        )
        band = "the band is one standard deviation, " if has_band else ""
        curves.append(
            {
                "source": _svg(fig, "accuracy"),
                "caption": "Accuracy on held-out data of networks trained on the set "
                f"as it was at each moment; {band}dashed lines are the test accuracies "
                "of the other arms.",
                "alt": f"Accuracy over seconds, up to step {last[0]}",
            }
        )
    fig = figures.loss_curve(contents)
    if fig is not None:
        step, seconds, _ = contents.history[-1]
        curves.append(
            {
                "source": _svg(fig, "loss"),
                "caption": f"Loss of the distillation over {step:,} steps, which took "
                f"{tables.format_seconds(seconds)}.",
                "alt": f"Loss over seconds, up to step {step}",
            }
        )
    return curves


def _svg(fig: figure.Figure, salt: str) -> str:
    """A figure as a data URL: text stays text, colours follow light and dark."""
    buffer = io.BytesIO()
    options: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": salt}
    with matplotlib.rc_context(options):
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    text = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", _FONTS, text)
    for colour, variable in _SVG_COLOURS.items():
        text = text.replace(colour, variable)
    text = re.sub(r"(<svg [^>]*>)", rf"\1{_SVG_STYLE}", text, count=1)
    return _data_url(text.encode(), "image/svg+xml")


def _data_url(content: bytes, kind: str) -> str:
    """Bytes as an address that carries them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _cost(value: Any) -> str:
    """A cost as it was given; a bare number with three digits."""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=str)
    if isinstance(value, float | np.floating):
        return f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
