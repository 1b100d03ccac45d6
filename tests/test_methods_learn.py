# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distilled sets teach more than as many random real images, by a stated margin."""

import jax
import pytest

from distill_jax import data, evaluation, methods, nets, runtime, tasks
from distill_jax.evaluation import bench

DM = evaluation.Protocol(num_steps=200)
FREPO = evaluation.Protocol(
    num_steps=200,
    optimizer="adam",
    learning_rate=3e-3,
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
    """Test accuracy of a distilled set, less that of random images, one per class."""
    state, _ = runtime.run(recipe, digits, num_steps=num_steps, key=jax.random.key(0))
    shared = bench.Bench(task, digits, protocol, 3, "auto")
    distilled = shared.train(jax.random.key(1), recipe.method.read(state))
    index = evaluation.random_subsets(jax.random.key(2), digits, 1, num_draws=3)
    y = shared.one_hot(digits.train.y[index])
    random = shared.train_subsets(jax.random.key(3), index, y, None)
    return shared.measure(distilled).mean - shared.measure(random).mean


@pytest.mark.slow
def test_frepo_beats_random_images_by_fifteen_points(digits, task):
    recipe = methods.frepo(
        task,
        num_per_class=1,
        num_steps=300,
        optimizer="adam",
        learning_rate=1e-2,
        ridge=1e-3,
    )
    assert gain(digits, task, recipe, FREPO, num_steps=300) > 0.15


@pytest.mark.slow
def test_dm_beats_random_images_by_five_points(digits, task):
    recipe = methods.dm(task, num_per_class=1, augmentation="none", learning_rate=1.0)
    assert gain(digits, task, recipe, DM, num_steps=200) > 0.05
