# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distilled sets teach more than as many random real images.

The margin of five points is about twice the standard error of three draws of one random
image per class; a gradient of the wrong sign does not gain it.
"""

import jax
import pytest

from distill_jax import data, evaluation, methods, nets, runtime, selection, tasks
from distill_jax.evaluation import comparison

DM = evaluation.Protocol(num_steps=200)
FREPO = evaluation.Protocol(
    num_steps=200,
    optimizer="adam",
    learning_rate=1e-3,
    weight_decay=0.0,
    targets="centred",
)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def task(digits):
    return tasks.classification(nets.mlp(10, hidden=(64,)), digits.spec)


def gain(digits, task, recipe, protocol, num_steps):
    """Validation accuracy of a distilled set, less that of random images."""
    state, _ = runtime.run(recipe, digits, num_steps=num_steps, key=jax.random.key(0))
    shared = comparison.Comparison(task, digits, protocol, 3, "auto")
    distilled = shared.train(jax.random.key(1), recipe.method.read(state))
    index = selection.random_subsets(jax.random.key(2), digits, 1, num_draws=3)
    y = shared.one_hot(digits.train.y[index])
    random = shared.train_subsets(jax.random.key(3), index, y, None)
    return (
        shared.measure(distilled, "validation").mean
        - shared.measure(random, "validation").mean
    )


@pytest.mark.slow
def test_frepo_beats_random_images_by_five_points(digits, task):
    recipe = methods.frepo(
        task,
        num_per_class=1,
        num_steps=300,
        optimizer="adam",
        learning_rate=1e-2,
        ridge=1e-3,
    )
    assert gain(digits, task, recipe, FREPO, num_steps=300) > 0.05


@pytest.mark.slow
def test_dm_beats_random_images_by_five_points(digits, task):
    recipe = methods.dm(task, num_per_class=1, augmentation="none", learning_rate=1.0)
    assert gain(digits, task, recipe, DM, num_steps=200) > 0.05
