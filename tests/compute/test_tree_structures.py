# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Structures of trees go through JSON and back, and name nothing but named tuples."""

import collections
import json
import sys
from typing import NamedTuple

import jax
import optax
import pytest

from distill_jax import base
from distill_jax.compute import tree_structures


class Pair(NamedTuple):
    one: object
    other: object

    class Inner(NamedTuple):
        x: object


TREES = [
    None,
    1.0,
    [],
    {},
    (),
    {"b": [1, (2, None)], "a": {}},
    Pair(Pair.Inner(1), [None, {"x": 3}]),
    optax.adam(0.1).init({"w": 1.0}),
    base.Variables({"w": 1.0}, {}),
    optax.EmptyState(),
]


@pytest.mark.parametrize("tree", TREES, ids=str)
def test_a_structure_goes_there_and_back(tree):
    structure = jax.tree.structure(tree)
    described = json.loads(json.dumps(tree_structures.to_json(structure)))
    assert tree_structures.from_json(described) == structure


def local():
    class Local(NamedTuple):
        x: object

    return Local(1)


@pytest.mark.parametrize(
    "tree",
    [
        local(),
        {1: 2},
        collections.OrderedDict(a=1),
        collections.defaultdict(list, a=1),
        jax.tree_util.Partial(max, 1),
    ],
    ids=str,
)
def test_what_cannot_be_found_again_is_not_described(tree):
    with pytest.raises(TypeError, match="a tree has a node of the type"):
        tree_structures.to_json(jax.tree.structure(tree))


@pytest.mark.parametrize(
    "described",
    [
        1,
        "x",
        [],
        {},
        {"set": []},
        {"list": [], "tuple": []},
        {"named": ["os", "system", [], []]},
        {"named": ["builtins", "tuple", [], []]},
        {"named": ["builtins", "print", ["x"], [0]]},
        {"named": ["subprocess", "Popen", ["args"], [0]]},
        {"named": ["this", "s", [], []]},
        {"named": [__name__, "Pair", ["one"], [0]]},
        {"named": [__name__, "Pair", ["one", "other"], [0]]},
        {"other": [__name__, "Pair", ["one", "other"], [0, 0]]},
    ],
    ids=str,
)
def test_other_descriptions_name_nothing(described):
    loaded = set(sys.modules)
    with pytest.raises((ValueError, TypeError)):
        tree_structures.from_json(described)
    assert set(sys.modules) == loaded
