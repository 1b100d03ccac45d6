# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is claimed of soft labels fails for a library that makes them wrongly.

The claims are measured on small cells of Digits-100, one image per class, once with the
labels of this library and once with those of each broken copy of it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import evaluation, experts, labels
from distill_jax.training import loop

PROTOCOL = evaluation.Protocol(
    num_steps=300, learning_rate=0.05, schedule="staircase", decay_rate=0.3
)
EARLY, USUAL = 3, 6
PLAN = experts.ExpertPlan(
    num_experts=1, num_epochs=8, learning_rate=0.1, batch_size=250
)


@functools.cache
def problem():
    data = dj.data.load("digits100")
    task = dj.tasks.classification(dj.nets.mlp(100, hidden=(128,)), data.spec)
    index = dj.selection.random_subsets(jax.random.key(1), data, 1, num_draws=1)[0]
    x = dj.data.normalize(data.spec.normalizer, data.train.x[index])
    buffer = experts.make_buffer(PLAN, task, data)
    hard = np.eye(100, dtype=np.float32)[data.train.y[index]]
    return data, task, x, buffer, hard


@functools.cache
def separate_logits():
    """Of an expert that was trained for the early epochs alone, and no longer."""
    data, task, x, _, _ = problem()
    key = jax.random.fold_in(jax.random.key(PLAN.seed), 0)
    training = experts.Training(num_epochs=EARLY, learning_rate=0.1, batch_size=250)
    expert = experts.train_expert(key, task, dj.data.to_source(data), training)
    return loop.predict_logits(task, experts.at_epoch(expert, EARLY), x)


def right(epoch, temperature):
    _, task, x, buffer, _ = problem()
    return labels.from_logits(buffer.logits(task, x, epochs=[epoch])[0, 0], temperature)


BROKEN = {
    "softmax applied twice": lambda e, t: labels.from_logits(right(e, 1.0), t),
    "rows shifted by one": lambda e, t: jnp.roll(right(e, t), 1, axis=0),
    "temperature inverted": lambda e, t: right(e, 1 / t),
    "an epoch too early": lambda e, t: right(e - 1, t),
    "an epoch too late": lambda e, t: right(e + 1, t),
}


def measured(label):
    """Test accuracies in percent, by what was learned from."""
    data, task, x, _, hard = problem()
    tables = {
        "hard": hard,
        "soft": label(USUAL, 1.0),
        "cold": label(USUAL, 0.5),
        "warm": label(USUAL, 2.0),
        "early": label(EARLY, 1.0),
        "separate": jax.nn.softmax(separate_logits()),
    }
    grid = evaluation.evaluate_grid(
        *(jax.random.key(2), task),
        dj.Examples(x, jnp.stack([jnp.asarray(y) for y in tables.values()])),
        *(data, PROTOCOL),
        num_seeds=2,
    )
    means = 100 * grid.accuracies().mean(axis=1)
    return dict(zip(tables, means, strict=True))


def failed_claims(found):
    """The claims that do not hold."""
    claims = {
        "soft labels beat hard ones": found["soft"] > found["hard"] + 15,
        "a temperature above 1 beats one below": found["warm"] > found["cold"] + 4,
        "labels are of the epoch that was asked for": (
            abs(found["early"] - found["separate"]) < 4
        ),
    }
    return {claim for claim, holds in claims.items() if not holds}


@pytest.mark.long(timeout=600)
def test_what_is_claimed_holds_with_labels_as_they_are_made():
    assert not failed_claims(measured(right))


@pytest.mark.long(timeout=600)
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_copy_fails(fault):
    found = measured(BROKEN[fault])
    assert failed_claims(found), found
