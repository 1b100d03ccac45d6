# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built: Sphinx, Markdown pages, docstrings."""

import os

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
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "distill_jax"
html_static_path = ["_static"]
exclude_patterns = ["_build"]
