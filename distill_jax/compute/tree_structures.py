# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The structure of a tree as JSON, and back, without pickles.

    leaf = 0, nothing = null, list = {"list": [...]}, tuple = {"tuple": [...]},
    dict = {"dict": [[key, ...], ...]},
    named tuple = {"named": [module, name, [field, ...], [...]]}

A named tuple is looked up among the modules that are loaded already. Nothing is
imported, and what is found must be a named tuple with the same fields.
"""

import sys
from typing import Any

import jax

__all__ = ["from_json", "to_json"]


class _Leaf:
    """Stands for a leaf."""


def to_json(structure: Any) -> Any:
    """Describes the structure of a tree.

    Args:
      structure: as from ``jax.tree.structure``.

    Returns:
      What JSON can hold.

    Raises:
      TypeError: when a node is none of the kinds above, or a class that cannot be
        found by its name.

    Example:
      >>> to_json(jax.tree.structure({"x": (1.0, None)}))
      {'dict': [['x', {'tuple': [0, None]}]]}
    """
    leaves = [_Leaf()] * structure.num_leaves
    return _described(jax.tree.unflatten(structure, leaves))


def from_json(described: Any) -> Any:
    """Makes the structure of a tree of its description.

    Args:
      described: from :func:`to_json`.

    Returns:
      The structure.

    Raises:
      ValueError: when it is no description, or a class is not there.

    Example:
      >>> structure = jax.tree.structure({"x": (1.0, None), "y": [2.0]})
      >>> from_json(to_json(structure)) == structure
      True
    """
    return jax.tree.structure(_made(described))


def _described(node: Any) -> Any:
    if isinstance(node, _Leaf):
        return 0
    if node is None:
        return None
    if type(node) is dict and all(type(key) is str for key in node):
        return {"dict": [[key, _described(child)] for key, child in node.items()]}
    if type(node) in (list, tuple):
        return {type(node).__name__: [_described(child) for child in node]}
    kind = type(node)
    fields = [*getattr(kind, "_fields", ())]
    if _named_tuple(kind.__module__, kind.__qualname__, fields) is not kind:
        raise TypeError(f"a tree has a node of the type {kind.__qualname__}")
    children = [_described(child) for child in node]
    return {"named": [kind.__module__, kind.__qualname__, fields, children]}


def _made(described: Any) -> Any:
    if described is None or (type(described) is int and described == 0):
        return described
    if type(described) is not dict or len(described) != 1:
        raise ValueError("this describes no node of a tree")
    ((kind, content),) = described.items()
    if kind == "dict":
        return {str(key): _made(child) for key, child in content}
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(_made(child) for child in content)
    module, name, fields, children = content
    found = _named_tuple(module, name, fields)
    if kind != "named" or found is None or len(children) != len(fields):
        raise ValueError(f"there is no named tuple {name} in {module}")
    return found(*(_made(child) for child in children))


def _named_tuple(module: str, name: str, fields: list[str]) -> Any:
    """The class of that name in a module that is loaded; None where there is none."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    is_named = isinstance(found, type) and issubclass(found, tuple)
    is_same = is_named and [*getattr(found, "_fields", (None,))] == fields
    return found if is_same else None
