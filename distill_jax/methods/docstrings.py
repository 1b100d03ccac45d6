# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Docstrings of named methods, taken to pieces and put together again."""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["Docstring", "read", "write"]

_SECTION = re.compile(r"^(Args|Returns|Raises|Example|Reference):\n", re.MULTILINE)
_ENTRY = re.compile(r"^  (\w+): (.*(?:\n    .*)*)", re.MULTILINE)
_LINE = re.compile(r"\S{80,}|\S.{0,79}(?=\s|$)")  # quicker than `textwrap`


class Docstring(NamedTuple):
    """A docstring in parts."""

    head: str = ""
    meanings: Mapping[str, str] = {}  # of the options, in one line each
    sections: Mapping[str, str] = {}  # the others, as they stand


def read(docstring: str) -> Docstring:
    """Takes a docstring to pieces."""
    head, *parts = _SECTION.split(inspect.cleandoc(docstring))
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    entries = _ENTRY.findall(sections.pop("Args", ""))
    meanings = {name: " ".join(meaning.split()) for name, meaning in entries}
    return Docstring(head, meanings, sections)


def write(
    docstring: Docstring, method: str, parameters: Iterable[inspect.Parameter]
) -> str:
    """Puts it together again, with an entry for every option."""
    meanings = docstring.meanings
    entries = []
    for parameter in parameters:
        name, default = parameter.name, parameter.default
        if name not in meanings:
            raise TypeError(
                f"`{method}` has an option `{name}` that neither its docstring nor "
                "`OPTIONS` explains."
            )
        value = f'``"{default}"``' if isinstance(default, str) else repr(default)
        is_said = default is not None and default is not parameter.empty
        entry = f"{name}: {meanings[name]}" + (f" Default: {value}." if is_said else "")
        entries.append("  " + "\n    ".join(_LINE.findall(entry)))
    sections = {"Args": "\n".join(entries), **docstring.sections}
    blocks = [f"{title}:\n{text.rstrip()}" for title, text in sections.items()]
    return "\n\n".join([docstring.head.rstrip(), *blocks]) + "\n"
