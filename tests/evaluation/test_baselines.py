# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import (
    base,
    errors,
    evaluation,
    experts,
    labels,
    nets,
    selection,
    tasks,
)
from distill_jax import data as data_lib
from distill_jax.compute import programs
from distill_jax.evaluation import checks, fairness, grid, runs, soft_label_arm
from distill_jax.selection import stratified

PROTOCOL = evaluation.Protocol(num_steps=300, learning_rate=0.1)
EXPERT = evaluation.usual_expert(PROTOCOL, num_epochs=20)
EPOCHS = [1, 5, 20]


@pytest.fixture(scope="module")
def digits():
    data = data_lib.load("digits")
    return data, tasks.classification(nets.mlp(10, hidden=(16,)), data.spec)


@pytest.fixture(scope="module")
def few(digits):
    data, _ = digits
    index = selection.random_subsets(jax.random.key(0), data, 2, num_draws=1)[0]
    x = data_lib.normalize(data.spec.normalizer, data.train.x[index])
    return base.Synthetic(x, jax.nn.one_hot(data.train.y[index], 10))


@pytest.fixture(scope="module")
def five(digits, few):
    data, task = digits
    arms = evaluation.arms(
        jax.random.key(1),
        task,
        few,
        data,
        PROTOCOL,
        2,
        num_runs=6,
        expert=EXPERT,
        expert_epochs=EPOCHS,
    )
    return {arm.name: arm for arm in arms}


def test_there_are_five_arms_in_order(five):
    assert list(five) == [
        "real-hard",
        "synthetic-hard",
        "synthetic-any",
        "random-any",
        "random-soft",
    ]
    assert all(len(arm.evaluation.accuracies) == 6 for arm in five.values())
    assert all(arm.seconds > 0 for arm in five.values())


def test_an_arm_is_the_same_whichever_others_are_trained(digits, few, five):
    data, task = digits
    told = []
    arms = evaluation.arms(
        jax.random.key(1),
        task,
        few,
        data,
        PROTOCOL,
        2,
        num_runs=6,
        expert=EXPERT,
        expert_epochs=EPOCHS,
        run_options=evaluation.RunOptions(
            only=["random-any", "synthetic-any"],
            on_arm=lambda arm: told.append(arm.name),
        ),
    )
    assert told == ["synthetic-any", "random-any"]
    assert [arm.name for arm in arms] == told
    for arm in arms:
        np.testing.assert_array_equal(
            arm.evaluation.accuracies, five[arm.name].evaluation.accuracies
        )


def test_more_data_are_better_and_soft_labels_help(five):
    mean = {name: arm.evaluation.mean for name, arm in five.items()}
    assert mean["real-hard"] > mean["random-soft"] + 0.02
    assert mean["random-any"] > 0.4
    # The same images with other labels; three other keys gained 0.09 and more.
    assert mean["random-soft"] > mean["random-any"] + 0.03


def test_random_images_gain_nothing_over_random_images(five):
    random = five["random-any"].evaluation
    gain = fairness.improvement_over_random(
        five["synthetic-any"].evaluation.mean, random.mean
    )
    # One draw against the mean of six: its standard error is that of the runs.
    assert abs(gain) < 3 * random.sd * (1 + 1 / 6) ** 0.5
    assert random.sd < 0.08
    # Hard labels are its own: the arms differ in the seeds of the networks only.
    hard, own = (
        five[name].evaluation.mean for name in ("synthetic-hard", "synthetic-any")
    )
    assert abs(hard - own) < 0.06


def test_bytes_count_images_and_labels(digits, five):
    data, _ = digits
    assert five["real-hard"].bytes_stored == len(data.train.y) * (64 + 1)
    assert five["synthetic-hard"].bytes_stored == 20 * (4 * 64 + 1)
    assert five["synthetic-any"].bytes_stored == 20 * (4 * 64 + 1)  # One-hot rows.
    assert five["random-any"].bytes_stored == 20 * (64 + 1)
    assert five["random-soft"].bytes_stored == 20 * (64 + 4 * 10)


def test_bytes_of_soft_labels_weights_and_a_learned_rate(digits, few):
    data, task = digits
    soft = few._replace(
        y=0.9 * few.y + 0.01, weight=jnp.ones(20), learning_rate=jnp.array(0.05)
    )
    protocol = evaluation.Protocol(num_steps=2, learning_rate=None)
    expert = evaluation.usual_expert(protocol, num_epochs=1)
    arms = evaluation.arms(
        jax.random.key(1), task, soft, data, protocol, 1, num_runs=1, expert=expert
    )
    found = [arm.bytes_stored for arm in arms]
    assert found[1] == 20 * (4 * 64 + 1 + 4) + 4
    assert found[2] == 20 * (4 * 64 + 4 * 10 + 4) + 4
    assert "2 steps" in arms[0].note
    assert "soft labels" in arms[2].note


def test_the_epoch_of_the_expert_is_chosen_without_the_test_set(
    digits, few, monkeypatch
):
    data, task = digits
    splits, asked = [], []
    measure, evaluate_grid = runs.measure, grid.evaluate_grid

    def spy(task, trained, data, *, split="test", side_by_side="auto"):
        splits.append(split)
        return measure(task, trained, data, split=split, side_by_side=side_by_side)

    def spy_on_grid(*args, **options):
        asked.append(options["splits"])
        return evaluate_grid(*args, **options)

    monkeypatch.setattr(runs, "measure", spy)
    monkeypatch.setattr(grid, "evaluate_grid", spy_on_grid)
    bench = evaluation.comparison.Comparison(task, data, PROTOCOL, 3, "auto")
    index = selection.random_subsets(jax.random.key(2), data, 1, num_draws=3)
    arm = soft_label_arm.random_soft(
        jax.random.key(3), bench, None, index, EXPERT, epochs=EPOCHS
    )
    assert asked == [("validation",)]
    assert splits == ["test"]
    assert "after epoch" in arm.note
    assert "chosen on the validation split" in arm.note


def test_students_of_one_epoch_after_the_other_give_the_same_soft_arm(digits):
    data, task = digits
    bench = evaluation.comparison.Comparison(task, data, PROTOCOL, 2, "map", 2)
    index = selection.random_subsets(jax.random.key(2), data, 1, num_draws=2)
    key = jax.random.key(3)
    arm = soft_label_arm.random_soft(key, bench, None, index, EXPERT, epochs=EPOCHS)
    key_expert, key_students = jax.random.split(key)
    images = data.train.x[index]
    soft = labels.expert_labels(key_expert, task, data, EXPERT, images, epochs=EPOCHS)
    trained = [bench.train_subsets(key_students, index, y, None) for y in soft.labels]
    means = [bench.measure(each, "validation").mean for each in trained]
    best = int(np.argmax(means))
    assert f"after epoch {soft.epochs[best]} of" in arm.note
    np.testing.assert_array_equal(
        arm.evaluation.curve, bench.measure(trained[best]).curve
    )


def test_an_expert_that_diverges_is_told(digits):
    data, task = digits
    bench = evaluation.comparison.Comparison(task, data, PROTOCOL, 1, "map")
    index = selection.random_subsets(jax.random.key(2), data, 1, num_draws=1)
    wild = experts.Training(num_epochs=2, learning_rate=1e30)
    arm = soft_label_arm.random_soft(jax.random.key(3), bench, None, index, wild)
    assert "epochs [1, 2]; lower its learning rate (1e+30)" in arm.note
    assert (arm.evaluation.mean, arm.evaluation.num_diverged) == (0, 1)
    row = soft_label_arm.random_soft(
        jax.random.key(3), bench, None, index, wild, epochs=[0, 2]
    )
    assert "after epoch 0 of 2" in row.note


def test_an_arm_is_a_row_of_the_report(five):
    from distill_jax.report import contents

    rows = [arm.to_row() for arm in five.values()]
    assert set(rows[0]) == set(contents.ARM_FIELDS)
    assert [row["is_distilled"] for row in rows] == [False, False, True, False, False]


def test_what_is_not_known_is_none_in_a_row(digits, few):
    data, task = digits
    arm = evaluation.synthetic_arm(
        jax.random.key(0), task, few, data, evaluation.Protocol(num_steps=2), num_runs=1
    )
    row = arm.to_row()
    assert np.isnan(arm.evaluation.ci95)
    assert row["accuracy_sd"] is None
    assert row["ci95"] is None
    assert row["accuracy_mean"] == arm.evaluation.mean


def test_one_arm_alone_compiles_once_and_its_seconds_are_those_of_running(digits, few):
    data, task = digits
    protocol = evaluation.Protocol(num_steps=3)
    first, again = (
        evaluation.synthetic_arm(
            jax.random.key(0), task, few, data, protocol, num_runs=2
        )
        for _ in range(2)
    )
    assert first.name == "synthetic-any"
    assert first.compile_seconds > 0
    assert again.compile_seconds == 0
    assert first.seconds == first.evaluation.run_seconds == first.to_row()["seconds"]
    np.testing.assert_array_equal(
        first.evaluation.accuracies, again.evaluation.accuracies
    )


def test_the_seconds_of_the_soft_arm_hold_the_expert_and_every_epoch(
    digits, monkeypatch
):
    data, task = digits
    outcomes = []
    call = programs.call

    def spy(*args, **options):
        outcomes.append(call(*args, **options))
        return outcomes[-1]

    monkeypatch.setattr(programs, "call", spy)
    bench = evaluation.comparison.Comparison(
        task, data, evaluation.Protocol(num_steps=3), 1, "auto"
    )
    index = selection.random_subsets(jax.random.key(2), data, 1, num_draws=1)
    expert = evaluation.usual_expert(bench.protocol, num_epochs=2)
    arm = soft_label_arm.random_soft(jax.random.key(3), bench, None, index, expert)
    assert len(outcomes) == 3  # The expert, all students, the test.
    assert arm.seconds == pytest.approx(sum(o.run_seconds for o in outcomes))
    assert arm.compile_seconds == pytest.approx(
        sum(o.compile_seconds for o in outcomes)
    )


def test_no_two_draws_of_the_arms_share_a_key(digits, few, monkeypatch):
    data, task = digits
    keys = []
    split = jax.random.split
    data_of = lambda key: tuple(np.asarray(jax.random.key_data(key)).tolist())
    subsets = stratified.random_subsets

    def spy_subsets(key, *args, **options):
        keys.append(data_of(key))
        return subsets(key, *args, **options)

    def spy_split(key, num=2):
        if key.ndim == 0 and not isinstance(key, jax.core.Tracer):
            keys.append(data_of(key))
        return split(key, num)

    monkeypatch.setattr(stratified, "random_subsets", spy_subsets)
    monkeypatch.setattr(jax.random, "split", spy_split)
    protocol = evaluation.Protocol(num_steps=3)
    evaluation.arms(
        jax.random.key(1),
        task,
        few,
        data,
        protocol,
        1,
        num_runs=1,
        expert=evaluation.usual_expert(protocol, num_epochs=1),
    )
    assert len(keys) >= 7
    assert len(set(keys)) == len(keys)


def test_centred_protocols_give_centred_labels_to_every_arm(digits, few):
    data, task = digits
    bench = evaluation.comparison.Comparison(
        task, data, dataclasses.replace(PROTOCOL, targets="centred"), 1, "auto"
    )
    np.testing.assert_allclose(bench.one_hot(np.array([0, 3]))[1, 2:4], [-0.1, 0.9])


def test_what_cannot_be_compared_is_told_before_anything_is_trained(
    digits, few, monkeypatch
):
    data, task = digits
    monkeypatch.setattr(runs, "train_networks", None)
    odd = base.Synthetic(few.x[:19], few.y[:19])
    empty = data_lib.Arrays(data.test.x[:0], data.test.y[:0])
    bare = dataclasses.replace(data, validation=empty)
    arms = lambda few, data, number: evaluation.arms(
        jax.random.key(0), task, few, data, PROTOCOL, number
    )
    with pytest.raises(errors.InputError, match="19 rows for 10 classes"):
        arms(odd, data, 2)
    with pytest.raises(errors.InputError, match='validation split of "digits" is empt'):
        arms(few, bare, 2)
    with pytest.raises(errors.InputError, match="`num_per_class` is 5000"):
        arms(few, data, 5000)


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({"num_runs": 0}, "`num_runs` must be a whole number, at least 1, got 0"),
        (
            {"run_options": evaluation.RunOptions(num_checkpoints=0)},
            "`num_checkpoints` must be a whole number",
        ),
        (
            {"run_options": evaluation.RunOptions(0)},
            "`num_real_steps` must be a whole number",
        ),
        ({"run_options": evaluation.RunOptions(2.5)}, "at least 1, got 2.5"),
    ],
)
def test_counts_below_one_are_told_before_anything_is_trained(
    digits, few, monkeypatch, counts, sentence
):
    data, task = digits
    monkeypatch.setattr(runs, "train_networks", None)
    with pytest.raises(errors.InputError, match=sentence):
        evaluation.arms(jax.random.key(0), task, few, data, PROTOCOL, 2, **counts)


def test_an_expert_without_epochs_is_told_before_anything_is_trained(
    digits, few, monkeypatch
):
    data, task = digits
    monkeypatch.setattr(runs, "train_networks", None)
    arms = lambda expert, epochs: evaluation.arms(
        jax.random.key(0),
        task,
        few,
        data,
        PROTOCOL,
        2,
        expert=expert,
        expert_epochs=epochs,
    )
    untrained = experts.Training(num_epochs=0)
    with pytest.raises(errors.InputError, match="`num_epochs` of the expert must be"):
        arms(untrained, None)
    for epochs in ([50], [-1], []):
        with pytest.raises(errors.InputError, match="name epochs from 0 to 20"):
            arms(EXPERT, epochs)


def test_the_former_record_of_an_expert_gives_the_same_arm(digits, few, monkeypatch):
    data, task = digits
    asked = []

    def spy(key, comparison, rate, index, training, *, epochs=None):
        asked.append((training, epochs))

    monkeypatch.setattr(soft_label_arm, "random_soft", spy)
    protocol = evaluation.Protocol(num_steps=2, augmentation="crop")
    with pytest.warns(DeprecationWarning, match=r"experts\.Training"):
        former = evaluation.ExpertSettings(num_epochs=3, epochs=[2, 1])
    assert former.grid() == [1, 2]
    for expert, epochs in (
        (former, None),
        (evaluation.usual_expert(protocol, num_epochs=3), [2, 1]),
    ):
        evaluation.arms(
            jax.random.key(0),
            task,
            few,
            data,
            protocol,
            1,
            num_runs=1,
            expert=expert,
            expert_epochs=epochs,
        )
    assert asked[0] == asked[1]
    assert asked[0][0].augmentation == "crop"
    for options in ({"num_epochs": 0}, {"learning_rate": 0.0}, {"epochs": [50]}):
        with (
            pytest.warns(DeprecationWarning, match="Training"),
            pytest.raises(errors.InputError),
        ):
            evaluation.ExpertSettings(**options)


def test_the_class_of_a_row_is_what_its_label_names():
    rng = np.random.default_rng(0)
    placed = np.repeat(np.arange(5), 4)
    shuffled = rng.permutation(placed)
    classes_of = lambda classes, fn: checks.classes_of(fn(np.eye(5)[classes]))
    for fn in (
        lambda y: y,
        lambda y: (y - 0.2) / np.sqrt(0.5),  # centred
        lambda y: 0.6 * y + 0.08,
        lambda y: 0.3 * y + rng.dirichlet(np.full(5, 9.0), len(y)) * 0.1,  # learned
    ):
        np.testing.assert_array_equal(classes_of(placed, fn), placed)
        np.testing.assert_array_equal(classes_of(shuffled, fn), shuffled)
    uneven = np.sort(rng.integers(5, size=20))
    assert not np.array_equal(uneven, placed)
    np.testing.assert_array_equal(classes_of(uneven, lambda y: y), uneven)


def test_where_labels_drifted_the_place_of_a_row_tells_its_class():
    placed = np.repeat(np.arange(5), 4)
    drifted = 0.6 * np.eye(5)[placed] + 0.08
    drifted[3] = [0.3, 0.4, 0.1, 0.1, 0.1]
    np.testing.assert_array_equal(checks.classes_of(drifted), placed)
    unclear = drifted[[3, 3, *[0] * 6, *[4] * 4, *[16] * 8]]
    with pytest.raises(
        errors.InputError, match="not class-major: the labels of only 6"
    ):
        checks.classes_of(unclear)
    with pytest.raises(errors.InputError, match="19 rows for 5 classes"):
        checks.classes_of(drifted[1:])


def test_of_many_classes_fewer_than_most_rows_tell_that_places_are_classes():
    """Labels that start uniform, and were learned for a few steps."""
    rng = np.random.default_rng(0)
    placed = np.arange(100)
    named = np.where(placed < 40, placed, rng.integers(100, size=100))
    for order in (placed, rng.permutation(placed)):
        labels = 0.009 + 0.1 * np.eye(100)[named][order]
        labels += 1e-4 * rng.uniform(size=labels.shape)
        if order is placed:
            np.testing.assert_array_equal(checks.classes_of(labels), placed)
        else:
            with pytest.raises(errors.InputError, match="not class-major"):
                checks.classes_of(labels)
