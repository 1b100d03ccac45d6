# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Renders a page as one HTML file that needs nothing else.

Figures are embedded as SVG, examples as PNG; there is no script, no font and no
address to load from, which the page also forbids by its content security policy.
"""

import base64
import dataclasses
import importlib.resources
import io
import os
import pathlib
import re
from typing import Any

import jinja2
import matplotlib
from matplotlib import figure

from distill_jax.report import contents as contents_lib
from distill_jax.report import figures, pictures, run_page
from distill_jax.report import page as pages
from distill_jax.storage import npz_json

__all__ = ["render_page", "render_report", "write_page", "write_report"]

_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"
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
    """Examples of one row as an embedded picture."""

    name: str
    source: str
    alt: str
    width: int
    height: int


@dataclasses.dataclass(frozen=True)
class _Panel:
    """Rows of examples of one kind, such as all distilled ones."""

    heading: str
    strips: list[_Strip]
    num_per_row: int

    @property
    def has_long_names(self) -> bool:
        """Whether names need a line of their own on a phone."""
        return max(len(strip.name) for strip in self.strips) > 3


def write_report(
    contents: contents_lib.Contents, path: str | os.PathLike[str]
) -> pathlib.Path:
    """Writes the report of a run as one HTML file.

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
    return write_page(run_page.to_page(contents), path)


def render_report(contents: contents_lib.Contents) -> str:
    """Renders the report of a run as the text of one HTML page.

    Args:
      contents: what stands in the report.

    Returns:
      The page.

    Example:
      >>> "<h1>Digits</h1>" in render_report(contents_lib.Contents("Digits"))
      True
    """
    return render_page(run_page.to_page(contents))


def write_page(page: pages.Page, path: str | os.PathLike[str]) -> pathlib.Path:
    """Writes a page as one HTML file.

    Args:
      page: what stands on it.
      path: the file, or a folder that exists, where it is called ``report.html``.

    Returns:
      The path of the file.

    Raises:
      InputError: when the file cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_page(pages.Page("Digits"), f"{folder}/digits.html").name
      'digits.html'
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / "report.html"
    npz_json.write_files({path: render_page(page).encode()})
    return path


def render_page(page: pages.Page) -> str:
    """Renders a page as HTML.

    Args:
      page: what stands on it.

    Returns:
      The text of the HTML file.

    Example:
      >>> "<h2>Result</h2>" in render_page(
      ...     pages.Page("Digits", sections=[pages.Section("Result", "All is well.")]))
      True
    """
    template = importlib.resources.files("distill_jax.report") / "template.html"
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"panel": _panel, "svg": _svg}
    return environment.from_string(template.read_text(encoding="utf-8")).render(
        page=page
    )


def _panel(shown: pages.Pictures) -> _Panel:
    """Rows of examples as embedded pictures."""
    strips = []
    for name, row in shown.rows.items():
        picture = pictures.strip(row)
        strips.append(
            _Strip(
                name=name,
                source=_data_url(pictures.png(picture), "image/png"),
                alt=f"{shown.heading} examples of class {name}",
                width=picture.shape[1],
                height=picture.shape[0],
            )
        )
    return _Panel(shown.heading, strips, max(map(len, shown.rows.values())))


def _svg(fig: pages.Figure) -> str:
    """A figure as a data URL: text stays text, colours follow light and dark."""
    text = _drawn(fig.drawing, fig.name)
    text = re.sub(r"'DejaVu Sans'(, [^;\"]*)?", _FONTS, text)
    for colour, variable in _SVG_COLOURS.items():
        text = text.replace(colour, variable)
    text = re.sub(r"(<svg [^>]*>)", rf"\1{_SVG_STYLE}", text, count=1)
    return _data_url(text.encode(), "image/svg+xml")


def _drawn(drawing: figure.Figure, salt: str) -> str:
    """The same SVG for the same figure: ids are made from the salt, not at random."""
    buffer = io.BytesIO()
    options: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": salt}
    with matplotlib.rc_context(options):
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode()


def _data_url(content: bytes, kind: str) -> str:
    """Bytes as an address that carries them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
