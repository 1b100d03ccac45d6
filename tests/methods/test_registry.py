# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods by name."""

import pytest

from distill_jax import data, errors, methods, nets, tasks


@pytest.fixture(scope="module")
def task():
    spec = data.load("digits").spec
    return tasks.classification(nets.mlp(10, hidden=(8,)), spec)


@pytest.mark.parametrize("name", methods.NAMES)
def test_every_method_is_public_and_takes_a_task_and_a_count_first(name):
    assert methods.NAMES[name] is getattr(methods, name)
    assert list(methods.parameters_of(name))[:2] == ["task", "num_per_class"]


def test_a_method_is_built_by_name(task):
    recipe = methods.build(task, {"name": "dm", "num_per_class": 2, "batch_size": 3})
    assert recipe.protocol == methods.dm(task, num_per_class=2).protocol


def test_options_are_those_of_the_method_with_its_defaults():
    options = methods.options_of({"name": "dm", "batch_size": 3, "nonsense": 1})
    assert options["batch_size"] == 3
    assert "learning_rate" in options
    assert "nonsense" not in options


def test_unknown_names_and_options_are_told(task):
    with pytest.raises(errors.InputError, match=r'no method "dmm"\. Did you mean "dm"'):
        methods.build(task, {"name": "dmm"})
    with pytest.raises(errors.InputError, match="There is no method"):
        methods.options_of({})
    with pytest.raises(errors.InputError, match=r'no option "batch"\. Did you mean'):
        methods.build(task, {"name": "dm", "num_per_class": 2, "batch": 3})
