# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Old names work and say what the new ones are."""

import importlib
import subprocess
import sys

import pytest

import distill_jax as dj
from distill_jax import deprecations


def find(dotted: str):
    """What a user gets who writes ``dj.`` and these names."""
    owner, _, name = f"distill_jax.{dotted}".rpartition(".")
    return getattr(importlib.import_module(owner), name)


@pytest.mark.parametrize("old", deprecations.MODULES)
def test_a_module_is_found_under_its_old_name(old):
    new = importlib.import_module(f"distill_jax.{deprecations.MODULES[old]}")
    sys.modules.pop(f"distill_jax.{old}", None)
    with pytest.warns(DeprecationWarning, match=new.__name__):
        assert importlib.import_module(f"distill_jax.{old}") is new
    assert new.__spec__.name == new.__name__


@pytest.mark.parametrize("old", deprecations.NAMES)
def test_a_name_is_found_under_its_old_name(old):
    with pytest.warns(DeprecationWarning, match=deprecations.NAMES[old]):
        value = find(old)
    assert value is find(deprecations.NAMES[old])


def test_the_warning_points_at_the_line_of_the_user(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import distill_jax as dj\n"
        "from distill_jax import settings\n"
        "dj.inner.augment\n"
        "dj.inner.augment\n"
    )
    said = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True
    ).stderr
    for line in (2, 3, 4):
        assert f"script.py:{line}: DeprecationWarning" in said


def test_a_recipe_takes_its_old_field():
    with pytest.warns(DeprecationWarning, match="initial_fn"):
        recipe = dj.Recipe(None, None, seed_fn=1, source_fn=None, protocol=None)
    assert recipe.initial_fn == 1
    with pytest.warns(DeprecationWarning, match=r"Recipe\.initial_fn"):
        assert recipe.seed_fn == 1
    with pytest.warns(DeprecationWarning, match="initial_fn"):
        assert recipe._replace(seed_fn=2).initial_fn == 2
    assert recipe._replace(protocol=3).protocol == 3


def test_a_task_has_its_old_description():
    net = dj.nets.mlp(10, hidden=(8,))
    task = dj.tasks.classification(net, dj.data.load("digits").spec)
    with pytest.warns(DeprecationWarning, match=r"Task\.facts"):
        description = task.description
    assert description["network"] == net.description
    assert description["data"]["shape"] == [8, 8, 1]
    with pytest.warns(DeprecationWarning, match="facts"):
        assert task._replace(description=description).facts == task.facts
    with pytest.warns(DeprecationWarning, match="facts"):
        named = task._replace(description={"data": {"name": "cifar10"}})
    assert named.facts == dj.TaskFacts(data_name="cifar10")
