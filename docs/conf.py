# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built: Sphinx, Markdown pages, docstrings."""

import os
import re

os.environ.setdefault("JAX_PLATFORMS", "cpu")

project = "distill_jax"
author = "The distill_jax Authors"
copyright = "The distill_jax Authors"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
]
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_use_ivar = True  # Records have their fields as members already.
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "distill_jax"
html_static_path = ["_static"]
exclude_patterns = ["_build"]


def mark_formulas(app, what, name, obj, options, lines):
    """Makes a literal block of every indented formula of a docstring.

    Docstrings set formulas off by a blank line and four spaces, which reads well in the
    source; Sphinx would take their signs for markup.
    """
    del app, what, name, obj, options
    marked, outer, is_inside = [], "", False
    for number, line in enumerate(lines):
        follows_blank = number > 0 and not lines[number - 1].strip()
        is_deep = line.startswith("    ")
        if is_deep and follows_blank and not is_inside and _is_prose(outer):
            marked += ["::", ""]
            is_inside = True
        if line.strip() and not is_deep:
            outer, is_inside = line, False
        elif line.strip() and not is_inside:
            outer = line
        marked.append(line)
    lines[:] = marked


def _is_prose(line: str) -> bool:
    is_section = re.fullmatch(r"[A-Z][a-z]+:", line)
    return not line.startswith(" ") and not line.endswith("::") and not is_section


def setup(app):
    # Before napoleon, which is connected with the priority 500.
    app.connect("autodoc-process-docstring", mark_formulas, priority=400)
