# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How large a set is: so many of each class, or so many in all."""

import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors


def regression():
    x = np.linspace(-1, 1, 20)[:, None]
    data = dj.data.from_arrays(x, x[:, 0], targets="values")
    return dj.tasks.regression(dj.nets.mlp(1, hidden=(4,)), data.spec)


def classification():
    spec = dj.data.load("digits").spec
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(4,)), spec)


@pytest.mark.parametrize(
    ("make_task", "sizes", "wanted"),
    [
        (classification, {}, "num_per_class"),
        (classification, {"num_examples": 10}, "num_per_class"),
        (classification, {"num_per_class": 1, "num_examples": 10}, "num_per_class"),
        (regression, {}, "num_examples"),
        (regression, {"num_per_class": 1}, "num_examples"),
        (regression, {"num_per_class": 1, "num_examples": 10}, "num_examples"),
    ],
)
@pytest.mark.parametrize("name", ["dm", "frepo", "mtt"])
def test_both_numbers_or_neither_are_refused(name, make_task, sizes, wanted):
    options = {"num_steps": 2} if name == "frepo" else {}
    with pytest.raises(errors.InputError, match=f"as `{wanted}`"):
        getattr(dj.methods, name)(make_task(), **sizes, **options)


def test_methods_say_themselves_how_labels_are_written():
    with pytest.raises(errors.InputError, match=r'pass `task.retarget\("prob'):
        dj.methods.dm(classification().retarget("centred"), num_per_class=1)


@pytest.mark.parametrize("name", ["auto", "cafe", "datm", "rcig"])
def test_methods_that_need_classes_say_what_for(name):
    options = {"num_steps": 2} if name in ("auto", "cafe") else {}
    with pytest.raises(errors.InputError, match="values to be regressed; use another"):
        getattr(dj.methods, name)(regression(), num_examples=4, **options)


def test_tables_are_not_augmented_of_themselves():
    recipe = dj.methods.dsa(
        regression(), num_examples=4, num_matches=1, num_epochs=1, batch_size=4
    )
    assert recipe.protocol.augmentation == "none"
    assert recipe.protocol.targets == "values"
