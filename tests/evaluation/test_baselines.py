# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base, errors, evaluation, nets, tasks
from distill_jax import data as data_lib
from distill_jax.evaluation import expert_arm, fairness, runs

PROTOCOL = evaluation.Protocol(num_steps=100, learning_rate=0.05)
EXPERT = evaluation.ExpertSettings(num_epochs=20, epochs=[1, 5, 20])


@pytest.fixture(scope="module")
def digits():
    data = data_lib.load("digits")
    return data, tasks.classification(nets.mlp(10, hidden=(16,)), data.spec)


@pytest.fixture(scope="module")
def few(digits):
    data, _ = digits
    index = evaluation.random_subsets(jax.random.key(0), data, 2, num_draws=1)[0]
    x = data_lib.normalize(data.spec.normalizer, data.train.x[index])
    return base.Synthetic(x, jax.nn.one_hot(data.train.y[index], 10))


@pytest.fixture(scope="module")
def five(digits, few):
    data, task = digits
    arms = evaluation.arms(
        jax.random.key(1), task, few, data, PROTOCOL, 2, num_runs=6, expert=EXPERT
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


def test_more_data_are_better_and_soft_labels_help(five):
    mean = {name: arm.evaluation.mean for name, arm in five.items()}
    assert mean["real-hard"] > mean["random-soft"] + 0.02
    assert mean["random-any"] > 0.4
    assert mean["random-soft"] > mean["random-any"] - 0.05


def test_random_images_gain_nothing_over_random_images(five):
    gain = fairness.improvement_over_random(
        five["synthetic-any"].evaluation.mean, five["random-any"].evaluation.mean
    )
    assert abs(gain) < 0.15
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
    expert = evaluation.ExpertSettings(num_epochs=1, epochs=[1])
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
    splits = []
    measure = runs.measure

    def spy(task, trained, data, *, split="test", mapping="auto"):
        splits.append(split)
        return measure(task, trained, data, split=split, mapping=mapping)

    monkeypatch.setattr(runs, "measure", spy)
    bench = evaluation.bench.Bench(task, data, PROTOCOL, 3, "auto")
    index = evaluation.random_subsets(jax.random.key(2), data, 1, num_draws=3)
    arm = expert_arm.random_soft(jax.random.key(3), bench, None, index, EXPERT)
    assert splits == ["validation"] * 3 + ["test"]
    assert "after epoch" in arm.note
    assert "chosen on the validation split" in arm.note


def test_labels_of_an_expert_belong_to_their_images(digits):
    data, task = digits
    bench = evaluation.bench.Bench(task, data, PROTOCOL, 3, "auto")
    index = evaluation.random_subsets(jax.random.key(2), data, 4, num_draws=3)
    settings = dataclasses.replace(EXPERT, learning_rate=0.2)
    told, labels = expert_arm.expert_labels(
        jax.random.key(3), bench, index, settings
    ).value
    assert labels.shape == (3, 3, 40, 10)
    np.testing.assert_allclose(labels.sum(-1), 1, rtol=1e-5)
    agree = (labels.argmax(-1) == data.train.y[index]).mean(axis=(1, 2))
    assert agree[2] > 0.9  # Shuffled against the images this would be a tenth.
    assert told.accuracy.shape == (21,)
    assert agree[0] < agree[2]


def test_random_subsets_have_every_class_and_differ(digits):
    data, _ = digits
    index = evaluation.random_subsets(jax.random.key(0), data, 5, num_draws=4)
    assert index.shape == (4, 50)
    expected = np.tile(np.repeat(np.arange(10), 5), (4, 1))
    np.testing.assert_array_equal(data.train.y[index], expected)
    assert all(len(set(draw)) == 50 for draw in index.tolist())
    assert not np.array_equal(index[0], index[1])
    again = evaluation.random_subsets(jax.random.key(0), data, 5, num_draws=4)
    np.testing.assert_array_equal(index, again)


def test_an_arm_is_a_row_of_the_report(five):
    from distill_jax.report import contents

    rows = [arm.to_row() for arm in five.values()]
    assert set(rows[0]) == set(contents.ARM_FIELDS)
    assert [row["is_distilled"] for row in rows] == [False, False, True, False, False]


def test_centred_protocols_give_centred_labels_to_every_arm(digits, few):
    data, task = digits
    bench = evaluation.bench.Bench(
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


@pytest.mark.parametrize("epochs", [[50], [-1], []])
def test_epochs_outside_the_training_are_told(epochs):
    with pytest.raises(errors.InputError, match="name epochs from 0 to 40"):
        evaluation.ExpertSettings(epochs=epochs)
