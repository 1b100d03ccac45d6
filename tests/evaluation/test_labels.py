# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels, targets and learned rates of a set that is judged."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors, evaluation, tasks
from distill_jax.evaluation import checks

PROTOCOL = evaluation.Protocol(learning_rate=0.05, num_steps=60)


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


def of_target(task):
    """The same task for networks whose representation learns the target."""

    def train_loss(variables, key, data, context):
        target = data.y if data.target is None else data.target
        return task.train_loss(variables, key, data._replace(y=target), context)

    return task._replace(train_loss=train_loss)


@pytest.fixture(scope="module")
def real(digits):
    return dj.methods.initial_fn("real", 5)(jax.random.key(0), digits)


@pytest.mark.parametrize(
    "y", [np.arange(20) % 10, np.arange(20.0), [[3]] * 20, np.arange(10), [True] * 20]
)
def test_class_numbers_are_refused_as_what_they_are(y, digits):
    ones = dj.Synthetic(x=np.ones((len(y), 8, 8, 1)), y=np.asarray(y))
    said = r"one number for each example; pass a row of 10 .* `np\.eye\(10\)\[np\.rav"
    with pytest.raises(errors.InputError, match=said):
        checks.check_synthetic(ones, digits, PROTOCOL)


def linear(digits):
    return tasks.classification(dj.nets.mlp(10, hidden=()), digits.spec)


def judged(task, synthetic, data, **changes):
    protocol = evaluation.Protocol(
        **{"learning_rate": 0.05, "num_steps": 60, **changes}
    )
    key = jax.random.key(1)
    return dj.evaluate(task, synthetic, data, protocol=protocol, num_runs=1, key=key)


@pytest.mark.parametrize(
    "changes", [{}, {"batch_size": 8, "mixing": "mixup"}], ids=["whole", "mixed"]
)
def test_an_evaluation_trains_on_the_targets_of_a_stored_set(
    digits, real, tmp_path, changes
):
    """The labels are of the next class; what is right are the targets."""
    wrong = jnp.roll(real.y, 1, axis=1)
    stored = dj.DistilledSet(np.asarray(real.x), wrong, target=np.asarray(real.y))
    stored = dj.DistilledSet.load(stored.save(tmp_path))
    synthetic = evaluation.to_synthetic(stored)
    task = of_target(linear(digits))
    assert judged(task, synthetic, digits, **changes).mean > 0.7
    without = synthetic._replace(target=None)
    assert judged(task, without, digits, **changes).mean < 0.1


def test_other_architectures_train_on_the_targets_too(digits, real, monkeypatch):
    made = tasks.classification
    monkeypatch.setattr(
        tasks, "classification", lambda net, spec: of_target(made(net, spec))
    )
    synthetic = dj.Synthetic(real.x, jnp.roll(real.y, 1, axis=1), target=real.y)
    networks = {"linear": dj.nets.mlp(10, hidden=())}
    arguments = (jax.random.key(0), networks)
    [line] = evaluation.transfer(*arguments, synthetic, digits, PROTOCOL, num_runs=1)
    assert line.distilled is not None
    assert line.distilled.mean > 0.7


def test_an_arm_of_hard_labels_has_no_other_targets_and_counts_their_bytes(
    digits, real
):
    synthetic = dj.Synthetic(real.x, real.y, target=jnp.roll(real.y, 1, axis=1))
    arms = evaluation.arms(
        jax.random.key(0),
        of_target(linear(digits)),
        synthetic,
        digits,
        PROTOCOL,
        num_per_class=5,
        num_runs=1,
        expert=dj.experts.Training(num_epochs=1),
        expert_epochs=[1],
    )
    by_name = {arm.name: arm for arm in arms}
    assert by_name["synthetic-hard"].evaluation.mean > 0.7
    assert by_name["synthetic-any"].evaluation.mean < 0.1
    assert by_name["synthetic-any"].bytes_stored == 50 * (4 * 64 + 1 + 4 * 10)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda y: 2 * y, r"rows of `y` have sums from 2 to 2"),
        (lambda y: y - 0.1, "`y` has a probability of -0.1 in row 0"),
        (lambda y: y * jnp.nan, "`y` holds numbers that are not finite"),
    ],
)
def test_labels_that_are_not_what_the_protocol_says_are_refused(
    digits, real, change, sentence
):
    synthetic = dj.Synthetic(real.x, change(real.y))
    task, key = linear(digits), jax.random.key(0)
    with pytest.raises(errors.InputError, match=sentence):
        judged(task, synthetic, digits)
    target = dj.Synthetic(real.x, real.y, target=synthetic.y)
    with pytest.raises(errors.InputError, match=sentence.replace("`y`", "`target`")):
        judged(task, target, digits)
    networks = {"linear": dj.nets.mlp(10, hidden=())}
    with pytest.raises(errors.InputError, match=sentence):
        evaluation.transfer(key, networks, synthetic, digits, PROTOCOL)
    with pytest.raises(errors.InputError, match=sentence):
        evaluation.arms(key, task, synthetic, digits, PROTOCOL, 1)


def test_labels_of_free_mass_weigh_their_examples_where_the_protocol_says_so(
    digits, real
):
    """Twice the labels are twice the rate, for SGD without decay."""
    task, common = linear(digits), {"weight_decay": 0.0, "num_steps": 30}
    double = dj.Synthetic(real.x, 2 * real.y)
    once = judged(task, double, digits, label_mass="free", **common)
    plain = dj.Synthetic(real.x, real.y)
    twice = judged(task, plain, digits, **{**common, "learning_rate": 0.1})
    assert once.mean == pytest.approx(twice.mean, abs=0.01)
    checks.check_labels(double, evaluation.Protocol(num_steps=1, label_mass="free"))


@pytest.mark.parametrize("rate", [0.0, -0.05, float("nan"), float("inf")])
def test_a_learned_rate_that_is_not_positive_is_refused_where_it_is_used(
    digits, real, rate
):
    synthetic = dj.Synthetic(real.x, real.y, learning_rate=jnp.float32(rate))
    with pytest.raises(errors.InputError, match=f"learning rate is {rate:.4g}"):
        judged(linear(digits), synthetic, digits, learning_rate=None)
    assert judged(linear(digits), synthetic, digits, num_steps=1).mean >= 0


def test_points_are_not_judged_as_pictures(digits):
    points = dj.DistilledSet({"inside": np.ones((3, 2)), "edge": np.ones((2, 2))})
    synthetic = evaluation.to_synthetic(points)
    with pytest.raises(errors.InputError, match="has the arrays edge, inside, but"):
        judged(linear(digits), synthetic, digits)


def test_a_set_without_labels_is_not_judged(digits, real):
    unlabelled = dj.Synthetic(real.x, None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(errors.InputError, match="has no labels, but"):
        judged(linear(digits), unlabelled, digits)


def test_the_protocol_of_a_set_says_what_its_labels_are():
    recipe = {"protocol": {"num_steps": 5}}  # Of a version without the field.
    y = 2 * np.eye(2)
    stored = dj.DistilledSet(np.ones((2, 1)), y, recipe=recipe, label_mass="free")
    assert evaluation.protocol_of(stored).label_mass == "free"
    with pytest.raises(errors.InputError, match="make a `Protocol` of your own"):
        evaluation.protocol_of(dj.DistilledSet(np.ones((2, 1)), np.eye(2)))
