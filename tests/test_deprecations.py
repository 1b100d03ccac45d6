# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Old names work and say what the new ones are."""

import importlib
import subprocess
import sys
from typing import NamedTuple

import pytest

import distill_jax as dj
from distill_jax import deprecations
from distill_jax.inner import hypergradient, solvers, unroll
from distill_jax.training import loop, minibatches


def find(dotted: str):
    """What a user gets who writes ``dj.`` and these names."""
    owner, _, name = f"distill_jax.{dotted}".rpartition(".")
    return getattr(importlib.import_module(owner), name)


@pytest.mark.parametrize("old", deprecations.MODULES)
def test_a_module_is_found_under_its_old_name(old):
    new = importlib.import_module(f"distill_jax.{deprecations.MODULES[old]}")
    sys.modules.pop(f"distill_jax.{old}", None)
    with pytest.warns(
        DeprecationWarning, match="distill_jax"
    ) as told:  # Rooms warn too.
        assert importlib.import_module(f"distill_jax.{old}") is new
    assert any(new.__name__ in str(each.message) for each in told)
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


class Size(NamedTuple):
    width: int
    height: int = 1


SIZE = Size(2, height=5)


@deprecations.gathered_arguments("size", Size)
def area(name, *, size=SIZE):
    return name, size.width * size.height


def test_a_record_takes_its_fields_one_by_one():
    with pytest.warns(DeprecationWarning, match=r"`width` of area.*size=Size\(width="):
        assert area("room", width=3) == ("room", 15)  # The default gives the rest.
    with pytest.warns(DeprecationWarning, match="area is called") as caught:
        assert area("room", width=3, height=7) == ("room", 21)
    assert len(caught) == 2
    with pytest.warns(DeprecationWarning, match="height"):
        assert area("room", size=Size(4), height=7) == ("room", 28)
    assert area("room", size=Size(4)) == ("room", 4)
    assert area("room") == ("room", 10)


def test_a_record_without_a_default_takes_its_fields_one_by_one():
    take = deprecations.gathered_arguments("size", Size)(lambda *, size: size)
    with pytest.warns(DeprecationWarning, match="width"):
        assert take(width=3) == Size(3)
    with pytest.raises(TypeError, match="size"):
        take()


OLD_ARGUMENTS = [
    (loop.fit, minibatches.Batching),
    (loop.fit_further, minibatches.Batching),
    (unroll.train_student, unroll.Feed),
    (unroll.train_student, unroll.Position),
    (unroll.train_student, unroll.Derivative),
    (unroll.lead_student, unroll.Feed),
    (unroll.lead_student, unroll.Position),
    (hypergradient.through_optimum, solvers.SolverOptions),
    (dj.objectives.implicit_bilevel, solvers.SolverOptions),
    (dj.objectives.kernel_regression, dj.objectives.MemberTraining),
    (dj.run, dj.runtime.EvaluationOptions),
    (dj.run, dj.runtime.LoggingOptions),
    (dj.evaluation.arms, dj.evaluation.RunOptions),
]


@pytest.mark.parametrize(
    ("fn", "record"), OLD_ARGUMENTS, ids=lambda each: each.__name__
)
def test_what_a_record_holds_is_still_taken_one_by_one(fn, record):
    for name in record._fields:
        new = rf"`{name}` of {fn.__name__} .*={record.__name__}\({name}="
        with pytest.warns(DeprecationWarning, match=new), pytest.raises(TypeError):
            fn(**{name: 1})


def test_an_objective_takes_the_options_of_its_solver_one_by_one():
    task = dj.tasks.classification(
        dj.nets.mlp(10, hidden=(8,)), dj.data.load("digits").spec
    )
    with (
        pytest.warns(DeprecationWarning, match="`damping`"),
        pytest.raises(dj.errors.InputError, match="`damping` is -1"),
    ):
        dj.objectives.implicit_bilevel(task, damping=-1)


@pytest.mark.parametrize(
    "fn",
    [
        dj.evaluate,
        dj.evaluation.arms,
        dj.evaluation.measure,
        dj.evaluation.synthetic_arm,
        dj.evaluation.train_networks,
        dj.evaluation.transfer,
    ],
    ids=lambda each: each.__name__,
)
def test_how_networks_are_put_side_by_side_has_its_old_name(fn):
    new = f"of {fn.__name__} is called `.*side_by_side"
    with pytest.warns(DeprecationWarning, match=new), pytest.raises(TypeError):
        fn(mapping="map")


def test_run_options_have_their_old_field():
    with pytest.warns(DeprecationWarning, match="`mapping` of .* `side_by_side`"):
        options = dj.evaluation.RunOptions(mapping="map")
    assert options.side_by_side == "map"
    with pytest.warns(DeprecationWarning, match="side_by_side"):
        assert options._replace(mapping="vmap").side_by_side == "vmap"
    with pytest.warns(DeprecationWarning, match=r"RunOptions\.side_by_side"):
        assert options.mapping == "map"
