# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""BPTT, RaT-BPTT and the recommended recipe as a user meets them."""

import dataclasses

import jax
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors

KEY = jax.random.key(0)
LOG_ALL = dj.runtime.LoggingOptions(log_every=1)


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


@pytest.fixture(scope="module")
def task(digits):
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(32,)), digits.spec)


def accuracy(task, synthetic, digits, protocol):
    """On the validation split, of three networks."""
    held_out = dataclasses.replace(digits, test=digits.validation)
    result = dj.evaluate(
        task, synthetic, held_out, protocol=protocol, num_runs=3, key=KEY
    )
    return result.mean


@pytest.mark.slow
def test_bptt_teaches_much_more_than_its_start(digits, task):
    recipe = dj.methods.bptt(
        task,
        num_per_class=1,
        num_inner_steps=15,
        batch_size=256,
        learning_rate=0.03,
        label_learning_rate=0.01,
        network_learning_rate=0.01,
        decay=0.9,
    )
    assert recipe.protocol.num_steps == 15
    assert recipe.protocol.learning_rate == 0.01
    start = recipe.method.init(KEY, recipe.initial_fn(KEY, digits))
    before = accuracy(task, recipe.method.read(start), digits, recipe.protocol)
    state, _ = dj.run(recipe, digits, num_steps=150, key=KEY)
    synthetic = recipe.method.read(state)
    after = accuracy(task, synthetic, digits, recipe.protocol)
    assert after > before + 0.1
    assert after > 0.8
    labels = np.asarray(synthetic.y)
    assert labels.min() >= 0
    assert np.abs(labels - np.eye(10)).max() > 0.02  # They were learned.


def test_labels_stay_as_they_are_unless_a_rate_is_given(digits, task):
    options = {"num_per_class": 1, "num_inner_steps": 2, "batch_size": 32}
    recipe = dj.methods.bptt(task, **options)
    state = recipe.method.init(KEY, recipe.initial_fn(KEY, digits))
    assert set(state.latent.learned) == {"x"}
    recipe = dj.methods.rat_bptt(task, window=1, **options)
    state = recipe.method.init(KEY, recipe.initial_fn(KEY, digits))
    assert set(state.latent.learned) == {"x", "y"}


def test_the_recommended_recipe_goes_through_its_stages(digits, task):
    recipe = dj.methods.auto(
        task,
        num_per_class=1,
        num_steps=6,
        warm_share=0.5,
        batch_size=64,
        num_inner_steps=4,
        window=2,
        num_networks=2,
    )
    assert recipe.protocol.targets == "centred"
    state, history = dj.run(recipe, digits, num_steps=6, key=KEY, logging=LOG_ALL)
    assert np.asarray(history.metrics["stage"]).tolist() == [0, 0, 0, 1, 1, 1]
    assert int(state.step) == 6


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("rat_bptt", {"num_inner_steps": 3, "window": 4}, "longer than the training"),
        ("bptt", {"network_optimizer": "sdg"}, 'Did you mean "sgd"'),
        ("bptt", {"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ("bptt", {"final_rate": 2.0}, "`final_rate` is a share"),
        ("bptt", {"clip": 0.5}, "`factor` must be above 1"),
        ("auto", {"num_steps": 4, "warm_share": 1.5}, "`warm_share` is a share"),
        (
            "auto",
            {"num_steps": 4, "warm_share": 0.5, "num_inner_steps": 5, "window": 6},
            "longer than",
        ),
    ],
)
def test_bad_options_are_refused(task, name, options, words):
    with pytest.raises(errors.InputError, match=words):
        dj.methods.NAMES[name](task, num_per_class=1, **options)
