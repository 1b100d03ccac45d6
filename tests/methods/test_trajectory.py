# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""MTT, FTD, TESLA, DATM: published settings, experts, starts, and bad input."""

import dataclasses
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors, experts, methods
from distill_jax.methods import initial_from_experts
from distill_jax.methods import published_trajectories as published
from distill_jax.training.sharpness import Sharpness

ROWS = [
    pytest.param(method, key, row, id=f"{method}-{key[0]}-{key[1]}")
    for method, table in published.TRAJECTORIES.items()
    for key, row in table.items()
]
SHORT = {
    "num_student_steps": 3,
    "num_expert_epochs": 1,
    "last_start": 2,
    "learning_rate": 1.0,
    "rate_learning_rate": 1e-5,
    "initial_rate": 0.05,
    "augmentation": "none",
}


@functools.cache
def digits():
    return dj.data.load("digits")


@functools.cache
def task():
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(4,)), digits().spec)


def named(name):
    """A task that says it is on another data set."""
    facts = dataclasses.replace(task().facts, data_name=name, shape=())
    return task()._replace(facts=facts)


@pytest.mark.parametrize(("method", "key", "row"), ROWS)
def test_published_settings_are_in_range_and_make_a_recipe(method, key, row):
    assert row.num_student_steps >= 10
    assert row.num_expert_epochs in (2, 3)
    assert 0 <= row.first_start < row.last_start <= 70
    assert row.initial_rate in (0.01, 0.001)
    if row.window is not None:
        assert row.first_start < row.window[0] < row.last_start
    assert (row.decay is not None) == (method == "ftd")
    assert (row.label_learning_rate is not None) == (method == "datm")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = methods.NAMES[method](named(key[0]), num_per_class=key[1])
    assert recipe.protocol.learning_rate is None


def test_rows_of_the_papers_by_hand():
    table = published.TRAJECTORIES
    assert table["mtt"]["cifar10", 10][:7] == (30, 2, 20, None, 100, 1e-5, 0.001)
    assert table["ftd"]["cifar100", 1].decay == 0.9995
    assert table["tesla"]["imagenet", 1].num_student_steps == 10
    datm = table["datm"]["cifar100", 50]
    assert (datm.first_start, datm.last_start, datm.window) == (20, 70, None)
    assert {name: len(rows) for name, rows in table.items()} == {
        "mtt": 9,
        "ftd": 8,
        "tesla": 3,
        "datm": 12,
    }


def test_what_was_not_published_is_taken_from_the_nearest_with_a_warning():
    with pytest.warns(UserWarning, match="10 of cifar10"):
        row = published.trajectory_row("mtt", task(), 8)
    assert row == published.TRAJECTORIES["mtt"]["cifar10", 10]._replace(is_zca=False)
    with pytest.warns(UserWarning, match="50 of cifar100"):
        published.trajectory_row("mtt", named("cifar100"), 40)


def test_settings_for_whitened_pictures_warn_where_they_are_not():
    row = published.TRAJECTORIES["mtt"]["cifar10", 1]
    with pytest.warns(UserWarning, match='normalization="zca"'):
        published.check_whitening("mtt", row, digits().spec)
    whitened = dj.data.load("digits", normalization="zca")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        published.check_whitening("mtt", row, whitened.spec)
    with pytest.warns(UserWarning, match="nearest|taken from"):
        elsewhere = published.trajectory_row("mtt", task(), 1)
    assert not elsewhere.is_zca


def test_the_logarithm_of_the_rate_takes_first_steps_of_the_same_size():
    options = {**SHORT, "rate_learning_rate": 1e-7, "experts": {"num_experts": 1}}
    results = []
    for kind in ("log", "plain"):
        recipe = methods.mtt(task(), num_per_class=1, rate_kind=kind, **options)
        state, _ = dj.run(recipe, digits(), num_steps=1, key=jax.random.key(0))
        results.append(float(recipe.method.read(state).learning_rate) - 0.05)
    assert results[0] != 0
    np.testing.assert_allclose(results[0], results[1], rtol=1e-2)


def test_experts_are_flat_where_the_method_wants_it(monkeypatch):
    plans = []
    monkeypatch.setattr(
        experts, "make_buffer", lambda plan, *args, **kwargs: plans.append(plan)
    )
    more = {
        "mtt": {},
        "tesla": {},
        "ftd": {"decay": 0.9},
        "datm": {"label_learning_rate": 1.0},
    }
    for name, options in more.items():
        recipe = methods.NAMES[name](task(), num_per_class=1, **SHORT, **options)
        with pytest.raises(AttributeError):  # There is no buffer.
            recipe.source_fn(digits())
    flat = Sharpness(0.01, 0.3)
    assert [plan.sharpness for plan in plans] == [None, None, flat, flat]
    assert [plan.keeps_end for plan in plans] == [False, False, False, True]
    assert {plan.last_epoch for plan in plans} == {2}


def test_the_moving_average_is_of_the_pictures_alone():
    recipe = methods.ftd(
        task(), num_per_class=1, decay=0.9, experts={"num_experts": 1}, **SHORT
    )
    state, _ = dj.run(recipe, digits(), num_steps=3, key=jax.random.key(0))
    read = recipe.method.read(state)
    assert not np.array_equal(read.x, state.latent.learned["x"])
    rate = np.exp(state.latent.learned["log_learning_rate"])
    np.testing.assert_allclose(read.learning_rate, rate, rtol=1e-6)


def test_datm_starts_from_pictures_that_experts_get_right():
    plan = experts.ExpertPlan(
        num_experts=2, num_epochs=30, learning_rate=0.1, batch_size=64
    )
    buffer = experts.make_buffer(plan, task(), digits())
    draw = initial_from_experts.agreed_examples(task(), 3, lambda dataset: buffer)
    seed = draw(jax.random.key(0), digits())
    said = np.stack(
        [task().predict(buffer.at(one, 30), seed.x, None) for one in range(2)]
    )
    classes = np.repeat(np.arange(10), 3)
    np.testing.assert_array_equal(seed.y.argmax(1), classes)
    assert (said[0].argmax(1) == classes).mean() > 0.9
    is_right = (said.argmax(-1) == classes)[..., None]
    by_hand = (said * is_right).sum(0) / np.maximum(is_right.sum(0), 1)
    some = is_right.any(0).ravel()
    np.testing.assert_allclose(seed.y[some], by_hand[some], rtol=1e-4, atol=1e-5)
    # Distinct real pictures of the training set.
    real = dj.data.normalize(digits().spec.normalizer, jnp.asarray(digits().train.x))
    flat, mine = (np.asarray(x).reshape(len(x), -1) for x in (real, seed.x))
    near = np.abs(mine[:, None] - flat[None]).max(-1).argmin(1)
    assert len(set(near.tolist())) == 30
    np.testing.assert_array_equal(digits().train.y[near], classes)


def test_datm_may_start_from_any_real_pictures_and_what_one_expert_says():
    plan = experts.ExpertPlan(num_experts=2, num_epochs=2, batch_size=64)
    buffer = experts.make_buffer(plan, task(), digits())
    draw = initial_from_experts.agreed_examples(
        task(), 3, lambda dataset: buffer, start="real"
    )
    first, other = draw(jax.random.key(0), digits()), draw(jax.random.key(1), digits())
    classes = np.repeat(np.arange(10), 3)
    np.testing.assert_array_equal(first.group, classes)
    assert not np.array_equal(first.x, other.x)
    said = task().predict(buffer.at(0, 2), first.x, None)
    np.testing.assert_allclose(first.y, said, rtol=1e-4, atol=1e-5)
    assert (np.argmax(first.y, axis=1) != classes).any()  # Right or not.
    starts = {key: row.start for key, row in published.TRAJECTORIES["datm"].items()}
    assert starts.pop(("cifar100", 50)) == "real"
    assert set(starts.values()) == {"agreed"}


def test_the_gate_of_datm_is_wider_on_cifar_10_alone(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "distill_jax.methods.segment_recipes.transforms.gate_steps",
        lambda method, threshold: seen.append(threshold) or method,
    )
    options = {**SHORT, "label_learning_rate": 1.0}
    for name, count in (("cifar10", 1), ("cifar10", 10), ("fashion_mnist", 1)):
        methods.datm(named(name), num_per_class=count, **options)
    methods.datm(named("cifar10"), num_per_class=1, threshold=0.5, **options)
    assert seen == [1.1, 1.0, 1.0, 0.5]


def test_the_rates_of_tesla_are_half_of_those_of_its_code():
    # justincui03/tesla, whose code halves the gradient: 1000 for CIFAR, 1e4.
    rates = [row.learning_rate for row in published.TRAJECTORIES["tesla"].values()]
    assert [2 * rate for rate in rates] == [1000, 1000, 1e4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "`learning_rate` must be positive"),
        ({"initial_rate": -1.0}, "`initial_rate` must be positive"),
        ({"momentum": 1.0}, "`momentum`"),
        ({"last_start": 0}, "must hold an epoch"),
        ({"experts": {"num_epochs": 1}}, "there are 0 to 1"),
        ({"experts": {"num_expert": 2}}, 'Did you mean "num_experts"'),
        ({"estimator": "teslas"}, "no estimator"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(errors.InputError, match=message):
        methods.mtt(task(), num_per_class=1, **{**SHORT, **options})


def test_a_window_beyond_the_experts_is_refused():
    plan = experts.ExpertPlan(num_experts=1, num_epochs=2)
    recipe = methods.mtt(
        task(), num_per_class=1, experts=plan, **{**SHORT, "last_start": 5}
    )
    with pytest.raises(errors.InputError, match="from epoch 0 to 5, but the buffer"):
        dj.run(recipe, digits(), num_steps=1, key=jax.random.key(0))


def test_a_plan_can_be_given_whole():
    plan = experts.ExpertPlan(num_experts=1, num_epochs=2)
    assert dataclasses.asdict(plan)["num_epochs"] == 2
    recipe = methods.mtt(task(), num_per_class=1, experts=plan, **SHORT)
    assert recipe.source_fn(digits()).num_experts == 1
