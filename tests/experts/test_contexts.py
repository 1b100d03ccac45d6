# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Experts of a task with contexts: each learns in its own, and is used in it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import base, errors, experts, labels, samplers, scores
from distill_jax.experts import training
from distill_jax.methods import initial_from_experts
from tests.support import masked

PLAN = experts.ExpertPlan(
    num_experts=2, num_epochs=2, learning_rate=0.1, batch_size=240
)


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


@pytest.fixture(scope="module")
def plain(digits):
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)


@pytest.fixture(scope="module")
def task(plain):
    return masked.masked(plain)


@pytest.fixture(scope="module")
def made(digits, task, tmp_path_factory):
    folder = tmp_path_factory.mktemp("experts")
    return folder, experts.make_buffer(PLAN, task, digits, folder=folder)


def normalized(digits, x):
    return dj.data.normalize(digits.spec.normalizer, jnp.asarray(x))


def test_an_expert_learns_in_the_context_that_its_key_draws(made, digits, task, plain):
    _, buffer = made
    key = jax.random.fold_in(jax.random.key(PLAN.seed), 1)
    context = task.sample_context(jax.random.split(key, 3)[0])
    np.testing.assert_array_equal(buffer.context[1], context)
    assert np.any(buffer.context[0] != buffer.context[1])
    # On images from which the mask hides the same pixels, the plain task's training.
    source = dj.data.to_source(digits)
    hidden = masked.seen(normalized(digits, digits.train.x), context)
    as_it_is = dj.data.Normalizer(jnp.ones(()), jnp.zeros(1), jnp.ones(1))
    source = source._replace(x=hidden, normalizer=as_it_is)
    expected = training.train_expert(key, plain, source, PLAN)
    stored = buffer.at(1, 2).params
    at_end = training.at_epoch(expected, 2).params
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, stored, at_end)


def test_a_buffer_says_how_good_experts_are_in_their_contexts(made, digits, task):
    _, buffer = made
    x = normalized(digits, digits.validation.x)
    for expert in range(2):
        variables, context = buffer.at(expert, 2), buffer.context_of(expert)
        is_right = task.predict(variables, x, context).argmax(-1) == digits.validation.y
        np.testing.assert_allclose(
            buffer.accuracy[expert, -1], is_right.mean(), atol=2e-3
        )


def test_contexts_are_read_back_as_they_were(made, digits, task, monkeypatch):
    folder, buffer = made
    monkeypatch.setattr(training, "train_learner", None)  # Would raise.
    again = experts.make_buffer(PLAN, task, digits, folder=folder)
    np.testing.assert_array_equal(again.context, buffer.context)
    assert again.context.dtype == buffer.context.dtype


def test_experts_that_learned_in_other_contexts_are_refused(made, digits, plain):
    folder, _ = made
    for other in (plain, masked.masked(plain, lambda key: jnp.ones(3))):
        with pytest.raises(errors.InputError, match="learned in other contexts"):
            experts.make_buffer(PLAN, other, digits, folder=folder)


def test_experts_without_contexts_are_stored_as_ever(digits, plain, tmp_path):
    plan = experts.ExpertPlan(num_experts=1, num_epochs=1)
    buffer = experts.make_buffer(plan, plain, digits, folder=tmp_path)
    assert buffer.context is None
    assert jax.tree.leaves(buffer.to_source().context) == []
    row = json.loads((tmp_path / "experts.json").read_text())["experts"]["expert_0000"]
    assert sorted(row) == ["accuracy", "entropy", "sha256"]


def test_a_segment_has_the_contexts_of_its_experts():
    snapshots = jnp.broadcast_to(jnp.arange(5.0)[:, None, None], (5, 3, 1))
    source = experts.Trajectories(snapshots, 5, 0, 2, {"number": 10 * jnp.arange(5)})
    sampler = samplers.trajectory_segments(
        {"w": jnp.zeros(1)}, num_epochs=1, last_start=2, num_experts=3
    )
    segment = sampler(jax.random.key(0), jnp.array(0), source)
    numbers = segment.start["w"][:, 0]
    assert len(set(numbers.tolist())) == 3
    np.testing.assert_array_equal(segment.context["number"], 10 * numbers)


def test_scores_are_taken_in_the_contexts_of_the_networks(digits, task):
    source = dj.data.to_source(digits)
    learners = experts.train_learners(
        jax.random.key(2), task, source, PLAN, num_experts=2
    )
    found = scores.rate(task, learners, source, score="el2n").value
    y = jax.nn.one_hot(digits.train.y, 10)
    x = normalized(digits, digits.train.x)
    alone = []
    for which in range(2):
        variables, context = jax.tree.map(lambda leaf, at=which: leaf[at], learners)
        alone.append(scores.el2n(task, variables, base.Examples(x, y), context))
    np.testing.assert_allclose(found, np.mean(alone, axis=0), rtol=1e-4, atol=1e-6)
    with pytest.raises(errors.InputError, match="networks have no contexts"):
        scores.rate(task, learners.variables, source, score="el2n")


def test_labels_are_given_in_the_context_of_the_expert(digits, task):
    key, images = jax.random.key(3), digits.train.x[:6]
    soft = labels.expert_labels(key, task, digits, PLAN, images, epochs=[2])
    expert, context = training.train_learner(key, task, dj.data.to_source(digits), PLAN)
    x = normalized(digits, images)
    logits = task.predict(training.at_epoch(expert, 2), x, context)
    expected = jax.nn.softmax(logits)
    np.testing.assert_allclose(soft.labels[0], expected, rtol=1e-4, atol=1e-6)


def test_initial_logits_are_given_in_the_contexts_of_the_experts(made, digits, task):
    _, buffer = made
    draw = initial_from_experts.agreed_examples(task, 1, lambda dataset: buffer)
    initial = draw(jax.random.key(4), digits)
    said = jnp.stack(
        [
            task.predict(buffer.at(expert, 2), initial.x, buffer.context_of(expert))
            for expert in range(2)
        ]
    )
    expected = initial_from_experts.agreed_logits(said, jnp.arange(10))
    np.testing.assert_allclose(initial.y, expected, rtol=1e-4, atol=1e-5)
