# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels are chosen by students on the validation split, and judged beside others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import base, errors, evaluation

PROTOCOL = evaluation.Protocol(num_steps=15, learning_rate=0.1)
OPTIONS = evaluation.ChoiceOptions((0.5, 2.0), num_seeds=2, side_by_side="map")


@pytest.fixture(scope="module")
def problem():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
    index = dj.selection.random_subsets(jax.random.key(0), data, 2, num_draws=1)[0]
    x = dj.data.normalize(data.spec.normalizer, data.train.x[index])
    y = np.eye(10, dtype=np.float32)[data.train.y[index]]
    wrong = np.roll(y, 1, axis=1)
    logits = jnp.stack([5 * wrong, 5 * y, 0 * y])
    return data, task, base.Examples(x, jnp.asarray(y)), logits


def choose(problem, options=OPTIONS, **changes):
    data, task, examples, logits = problem
    logits = changes.get("logits", logits)
    protocol = changes.get("protocol", PROTOCOL)
    key = jax.random.key(1)
    return evaluation.choose_labels(
        key, task, examples, logits, data, protocol, options
    )


def test_the_pair_that_teaches_most_is_chosen(problem):
    chosen = choose(problem)
    means = chosen.accuracies.mean(axis=-1)
    assert chosen.accuracies.shape == (3, 2, 2)
    assert chosen.epoch == 1
    assert means[1].min() > means[2].max() > means[0].max()
    place = OPTIONS.temperatures.index(chosen.temperature)
    assert means[1, place] == means.max()
    logits = problem[3][1] / chosen.temperature
    np.testing.assert_allclose(chosen.labels, jax.nn.softmax(logits), atol=1e-6)
    entropies = np.stack([row.entropy for row in chosen.rows])
    assert (entropies[:2, 0] < entropies[:2, 1]).all()  # T divides.
    np.testing.assert_allclose(entropies[2], np.log(10), atol=1e-5)


def test_a_row_is_the_grid_of_its_labels(problem):
    data, task, examples, logits = problem
    tables = jnp.stack([jax.nn.softmax(logits[1] / t) for t in OPTIONS.temperatures])
    grid = evaluation.evaluate_grid(
        *(jax.random.key(1), task, examples._replace(y=tables), data, PROTOCOL),
        num_seeds=2,
        splits=("validation",),
        side_by_side="map",
    )
    found = choose(problem).rows[1].accuracy
    np.testing.assert_array_equal(found, grid.accuracies("validation"))


def test_rows_that_are_known_are_not_trained_again(problem):
    rows = {}
    whole = choose(problem, OPTIONS._replace(on_row=rows.__setitem__))
    assert list(rows) == [0, 1, 2]
    again = []
    options = OPTIONS._replace(
        known={0: rows[0], 1: rows[1]}, on_row=lambda place, row: again.append(place)
    )
    chosen = choose(problem, options)
    assert again == [2]
    assert (chosen.epoch, chosen.temperature) == (whole.epoch, whole.temperature)
    np.testing.assert_array_equal(chosen.accuracies, whole.accuracies)


def test_a_weight_of_zero_leaves_an_image_out(problem):
    data, task, examples, logits = problem
    half = jnp.arange(20) % 2
    options = OPTIONS._replace(temperatures=(1.0,))
    what = (data, PROTOCOL, options)
    key = jax.random.key(1)
    weighed = evaluation.choose_labels(
        *(key, task, examples._replace(weight=half.astype(float)), logits[1:2], *what)
    )
    kept = base.Examples(examples.x[1::2], examples.y[1::2])
    fewer = evaluation.choose_labels(key, task, kept, logits[1:2, 1::2], *what)
    difference = weighed.accuracies - fewer.accuracies
    assert np.abs(difference).max() < 0.02  # The sums are rounded differently.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": OPTIONS._replace(temperatures=(-1.0,))}, "must be above 0"),
        ({"options": OPTIONS._replace(temperatures=())}, "no temperatures"),
        ({"options": OPTIONS._replace(split="vlidation")}, 'Did you mean "validation"'),
        ({"options": OPTIONS._replace(num_seeds=0)}, "num_seeds"),
        ({"logits": jnp.zeros((20, 10))}, r"\(20, 10\) for 20 images"),
        ({"logits": jnp.zeros((1, 20, 9))}, r"\(1, 20, 9\) for 20 images"),
        (
            {"protocol": evaluation.Protocol(num_steps=1, targets="centred")},
            'are "probabilities"',
        ),
    ],
)
def test_what_cannot_be_chosen_from_is_told(problem, changes, said):
    with pytest.raises(errors.InputError, match=said):
        choose(problem, **changes)


def test_students_that_all_diverge_are_told(problem):
    protocol = evaluation.Protocol(num_steps=15, learning_rate=1e30)
    with pytest.raises(errors.DivergedError, match="All 12 students diverged"):
        choose(problem, protocol=protocol)


def test_arms_train_the_same_networks_on_the_same_images(problem):
    data, task, examples, _ = problem
    table = evaluation.LabelTable(lambda: examples.y, "the classes")
    arms = evaluation.label_arms(
        *(jax.random.key(2), task, examples),
        {"hard-labels": table, "chosen-labels": table},
        *(data, PROTOCOL),
        num_runs=2,
    )
    hard, chosen = arms
    assert [arm.name for arm in arms] == ["hard-labels", "chosen-labels"]
    np.testing.assert_array_equal(
        hard.evaluation.accuracies, chosen.evaluation.accuracies
    )
    with pytest.raises(errors.InputError, match='Did you mean "hard-labels"'):
        evaluation.label_arms(
            *(jax.random.key(2), task, examples, {"hard-label": table}),
            *(data, PROTOCOL),
        )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda y: -y, "none is negative"),
        (lambda y: y * np.nan, "not finite"),
        (lambda y: y[:, :9], "9 classes"),
        (lambda y: 2 * y, "sum to one"),
    ],
)
def test_arms_refuse_labels_that_are_none(problem, spoil, said):
    data, task, examples, _ = problem
    table = evaluation.LabelTable(lambda: spoil(np.asarray(examples.y)), "spoilt")
    with pytest.raises(errors.InputError, match=said):
        evaluation.label_arms(
            *(jax.random.key(2), task, examples, {"chosen-labels": table}),
            *(data, PROTOCOL),
        )
