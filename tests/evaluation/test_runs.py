# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base, errors, evaluation, nets, selection, tasks
from distill_jax import data as data_lib
from distill_jax.evaluation import results, training

PROTOCOL = evaluation.Protocol(num_steps=60, learning_rate=0.05)


@pytest.fixture(scope="module")
def digits():
    data = data_lib.load("digits")
    return data, tasks.classification(nets.mlp(10, hidden=(16,)), data.spec)


@pytest.fixture(scope="module")
def few(digits):
    data, _ = digits
    index = selection.random_subsets(jax.random.key(0), data, 3, num_draws=1)[0]
    x = data_lib.normalize(data.spec.normalizer, data.train.x[index])
    return base.Synthetic(x, jax.nn.one_hot(data.train.y[index], 10))


def judge(digits, few, protocol=PROTOCOL, **options):
    data, task = digits
    options = {"num_runs": 3, "key": jax.random.key(1), **options}
    return evaluation.evaluate(task, few, data, protocol=protocol, **options)


def test_each_accuracy_is_that_of_a_network_trained_alone(digits, few):
    data, task = digits
    result = judge(digits, few)
    x = data_lib.normalize(data.spec.normalizer, data.test.x)
    for run, key in enumerate(jax.random.split(jax.random.key(1), 3)):
        variables, _ = training.train(key, task, few, PROTOCOL)
        end = jax.tree.map(lambda leaf: leaf[-1], variables)
        classes = np.asarray(task.predict(end, x, None)).argmax(axis=1)
        right = np.mean(classes == data.test.y)
        assert result.accuracies[run] == pytest.approx(right, abs=0.005)
    assert len(set(result.accuracies)) > 1
    assert 0.5 < result.mean < 0.95


def test_vmap_and_map_give_the_same(digits, few):
    mapped = judge(digits, few, side_by_side="map")
    side_by_side = judge(digits, few, side_by_side="vmap")
    np.testing.assert_allclose(mapped.accuracies, side_by_side.accuracies, atol=0.005)


def test_a_second_set_of_the_same_shape_compiles_nothing(digits, few):
    judge(digits, few)
    other = few._replace(x=few.x + 1)
    again = judge(digits, other, key=jax.random.key(2))
    assert again.compile_seconds == 0
    assert again.run_seconds > 0
    longer = dataclasses.replace(PROTOCOL, num_steps=61)
    assert judge(digits, few, longer).compile_seconds > 0


def test_splits_differ_and_share_the_trained_networks(digits, few):
    data, task = digits
    trained = evaluation.train_networks(
        jax.random.key(1), task, few, PROTOCOL, num_runs=3
    )
    test = evaluation.measure(task, trained, data)
    np.testing.assert_array_equal(test.accuracies, judge(digits, few).accuracies)
    validation = evaluation.measure(task, trained, data, split="validation")
    num = len(data.validation.y)
    np.testing.assert_allclose(validation.accuracies * num % 1, 0, atol=1e-6)
    assert validation.mean != test.mean


def test_best_on_test_is_there_only_when_asked_for(digits, few):
    assert judge(digits, few).best_on_test is None
    assert (
        judge(digits, few, split="validation", num_checkpoints=4).best_on_test is None
    )
    result = judge(digits, few, num_checkpoints=4)
    assert result.curve.shape == (3, 4)
    np.testing.assert_array_equal(result.accuracies, result.curve[:, -1])
    assert result.best_on_test == pytest.approx(result.curve.max(axis=1).mean())
    assert result.mean == pytest.approx(judge(digits, few).mean, abs=0.005)


def test_raw_sets_with_a_normalizer_train_as_normalised_ones(digits):
    data, task = digits
    index = selection.random_subsets(jax.random.key(0), data, 3, num_draws=2)
    y = jax.nn.one_hot(data.train.y[index], 10)
    raw = base.Synthetic(data.train.x[index], y)
    options = {"num_runs": 2, "normalizer": data.spec.normalizer, "is_stacked": True}
    stacked = evaluation.train_networks(
        jax.random.key(4), task, raw, PROTOCOL, **options
    )
    keys = jax.random.split(jax.random.key(4), 2)
    for run in range(2):
        alone, _ = training.train(
            keys[run],
            task,
            base.Synthetic(data.train.x[index[run]], y[run]),
            PROTOCOL,
            normalizer=data.spec.normalizer,
        )
        jax.tree.map(
            lambda one, all_runs: np.testing.assert_allclose(
                one, all_runs[run], atol=1e-4
            ),
            alone,
            stacked.variables,
        )


def test_the_interval_is_that_of_student():
    curve = np.array([[0.5], [0.6], [0.9]])
    result = results.summarize(curve, is_test=True)
    sd = np.std([0.5, 0.6, 0.9], ddof=1)
    assert result.sd == pytest.approx(sd)
    assert result.ci95 == pytest.approx(4.302653 * sd / np.sqrt(3))  # t, 2 degrees.
    alone = results.summarize(curve[:1], is_test=True)
    assert np.isnan(alone.sd)
    assert np.isnan(alone.ci95)
    assert str(alone) == "50.0 %"


def test_two_runs_have_a_deviation_and_no_interval():
    pair = results.summarize(np.array([[0.5], [0.6]]), is_test=True)
    assert pair.sd == pytest.approx(0.1 / np.sqrt(2))
    assert np.isnan(pair.ci95)
    assert str(pair) == "55.0 %"
    assert np.isnan(evaluation.interval([0.5, 0.6])[1])


def test_an_interval_of_a_fraction_stays_within_it():
    high = results.summarize(np.array([[0.9], [0.99], [1.0]]), is_test=True)
    assert high.mean + high.ci95 > 1
    assert str(high) == "96.3 % (82.7 to 100.0 %)"
    middle = results.summarize(np.array([[0.5], [0.5], [0.51]]), is_test=True)
    assert str(middle) == "50.3 ± 1.4 %"
    assert evaluation.interval_of_fraction(0.02, 0.5) == (0.0, 0.52)


def test_labels_out_of_order_are_noticed(digits, few):
    shuffled = few._replace(y=jnp.roll(few.y, 3, axis=0))
    assert judge(digits, shuffled).mean < 0.2 < judge(digits, few).mean


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"split": "tset"}, 'There is no split "tset". Did you mean "test"'),
        ({"num_runs": 0}, "`num_runs` must be a whole number, at least 1, got 0"),
        ({"num_checkpoints": 1.5}, "`num_checkpoints` must be a whole number"),
        ({"side_by_side": "pmap"}, '`side_by_side` is "pmap"'),
    ],
)
def test_options_that_cannot_work_are_told(digits, few, options, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        judge(digits, few, **options)


def test_a_set_of_another_shape_is_told(digits, few):
    with pytest.raises(errors.InputError, match=r"shape \(4, 16, 1\) with 10 classes"):
        judge(digits, few._replace(x=few.x.reshape(-1, 4, 16, 1)))


def test_an_empty_split_is_told(digits, few):
    data, task = digits
    empty = data_lib.Arrays(data.test.x[:0], data.test.y[:0])
    with pytest.raises(errors.InputError, match=r"The validation split of .* is empty"):
        judge(
            (dataclasses.replace(data, validation=empty), task), few, split="validation"
        )


def test_targets_that_are_no_classes_are_told(digits, few):
    data, task = digits
    values = data_lib.Arrays(data.test.x, np.ones((len(data.test.y), 2), np.float32))
    with pytest.raises(errors.InputError, match="no accuracy to measure"):
        judge((dataclasses.replace(data, test=values), task), few)


def test_the_interval_of_a_score_is_that_of_its_runs():
    values = np.array([0.2, 0.5, 0.3, 0.6])
    mean, ci95 = evaluation.interval(values)
    assert mean == pytest.approx(0.4)
    sd = np.sqrt(((values - 0.4) ** 2).sum() / 3)
    assert ci95 == pytest.approx(3.182446 * sd / 2, rel=1e-6)  # t of 3 degrees.
    mean, ci95 = evaluation.interval([0.7])
    assert mean == 0.7
    assert np.isnan(ci95)


@pytest.mark.parametrize("values", [[], [[0.5]], 0.5])
def test_an_interval_needs_one_number_for_each_run(values):
    with pytest.raises(errors.InputError, match="pass one number for each run"):
        evaluation.interval(values)
