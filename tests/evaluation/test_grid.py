# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""An entry of a grid is the single student, and its right answers are counted."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy_errors

import distill_jax as dj
from distill_jax import base, errors, evaluation
from distill_jax.compute import parallel
from distill_jax.evaluation import training

NUM_TABLES, NUM_SEEDS, NUM_CLASSES = 3, 2, 10
# What is drawn (order, augmentation) must be that of the seed, whatever the table.
PROTOCOL = evaluation.Protocol(
    num_steps=20, learning_rate=0.05, batch_size=8, augmentation="crop"
)
KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def digits():
    data = dj.data.load("digits")
    net = dj.nets.convnet(NUM_CLASSES, width=4, depth=1)
    return data, dj.tasks.classification(net, data.spec)


@pytest.fixture(scope="module")
def tables(digits):
    """Two images of each class, with L tables of labels and weights."""
    data, _ = digits
    real = dj.methods.initial_fn("real", 2)(jax.random.key(0), data)
    soften = lambda share: (1 - share) * real.y + share / NUM_CLASSES
    y = jnp.stack([soften(share) for share in (0.0, 0.3, 0.6)])
    weight = jax.random.uniform(jax.random.key(1), y.shape[:2]) + 0.5
    return base.Examples(real.x, y, weight)


def assert_bitwise(one, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


def right_answers(data, task, variables, split):
    """[C] by hand."""
    arrays = getattr(data, split)
    x = dj.data.normalize(data.spec.normalizer, arrays.x)
    classes = np.asarray(task.predict(variables, x, None)).argmax(axis=1)
    is_right = classes == arrays.y
    return np.array([is_right[arrays.y == c].sum() for c in range(NUM_CLASSES)])


@pytest.mark.parametrize("num_devices", [1, 2])
def test_an_entry_is_the_single_student_bit_by_bit(digits, tables, num_devices):
    data, task = digits
    side_by_side = "map"
    if num_devices > 1:
        side_by_side = parallel.device_mesh(num_devices, axis="networks")
    grid = evaluation.evaluate_grid(
        KEY,
        task,
        tables,
        data,
        PROTOCOL,
        num_seeds=NUM_SEEDS,
        splits=("validation", "test"),
        num_kept=2,
        side_by_side=side_by_side,
    )
    assert grid.right["test"].shape == (NUM_TABLES, NUM_SEEDS, NUM_CLASSES)
    for table in range(NUM_TABLES):
        own = base.Examples(tables.x, tables.y[table], tables.weight[table])
        alone = evaluation.train_networks(
            KEY,
            task,
            own,
            PROTOCOL,
            num_runs=NUM_SEEDS,
            num_checkpoints=2,
            side_by_side="map",
        )
        assert_bitwise(grid.students(table).variables, alone.variables)
        for split in ("validation", "test"):
            result = evaluation.measure(task, alone, data, split=split)
            np.testing.assert_array_equal(
                grid.accuracies(split)[table], result.accuracies
            )
        end = jax.tree.map(lambda leaf: leaf[1, -1], alone.variables)
        for split in ("validation", "test"):
            np.testing.assert_allclose(
                grid.right[split][table, 1],
                right_answers(data, task, end, split),
                atol=1,
            )
    assert len(np.unique(grid.accuracies())) > 1
    counts = np.bincount(data.test.y, minlength=NUM_CLASSES)
    np.testing.assert_array_equal(grid.counts["test"], counts)


def test_a_student_is_what_one_training_gives(digits, tables):
    data, task = digits
    grid = evaluation.evaluate_grid(
        KEY, task, tables, data, PROTOCOL, num_seeds=NUM_SEEDS, num_kept=1
    )
    own = base.Examples(tables.x, tables.y[2], tables.weight[2])
    key = jax.random.split(KEY, NUM_SEEDS)[1]
    alone, _ = jax.jit(lambda key, own: training.train(key, task, own, PROTOCOL))(
        key, own
    )
    student = jax.tree.map(lambda leaf: leaf[1], grid.students(2).variables)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6),
        student,
        alone,
    )


def test_all_at_once_differs_by_rounding_alone(digits, tables):
    data, task = digits
    one_by_one, at_once = (
        evaluation.evaluate_grid(
            KEY,
            task,
            tables,
            data,
            PROTOCOL,
            num_seeds=NUM_SEEDS,
            num_kept=1,
            side_by_side=kind,
        )
        for kind in ("map", "vmap")
    )
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5),
        one_by_one.trained.variables,
        at_once.trained.variables,
    )
    difference = one_by_one.right["test"] - at_once.right["test"]
    largest = np.abs(difference).max()
    assert largest <= 1, f"right answers of a class differ by {largest}"


def test_every_seed_may_have_images_of_its_own(digits):
    data, task = digits
    index = dj.selection.random_subsets(KEY, data, 1, num_draws=NUM_SEEDS)
    y = jax.nn.one_hot(data.train.y[index], NUM_CLASSES)
    stacked = base.Synthetic(
        data.train.x[index],
        jnp.stack([y, 0.8 * y + 0.02]),
        learning_rate=jnp.float32(0.03),
    )
    protocol = dataclasses.replace(PROTOCOL, learning_rate=None)
    normalizer = data.spec.normalizer
    grid = evaluation.evaluate_grid(
        KEY,
        task,
        stacked,
        data,
        protocol,
        num_seeds=NUM_SEEDS,
        normalizer=normalizer,
        num_kept=1,
        side_by_side="map",
    )
    alone = evaluation.train_networks(
        KEY,
        task,
        base.Synthetic(stacked.x, stacked.y[1], None, jnp.full(NUM_SEEDS, 0.03)),
        protocol,
        num_runs=NUM_SEEDS,
        normalizer=normalizer,
        is_stacked=True,
        side_by_side="map",
    )
    assert_bitwise(grid.students(1).variables, alone.variables)


def test_who_diverged_is_known_and_nothing_is_kept_unasked(digits, tables):
    data, task = digits
    torn = tables._replace(weight=tables.weight.at[1, 0].set(jnp.nan))
    grid = evaluation.evaluate_grid(
        KEY, task, torn, data, PROTOCOL, num_seeds=NUM_SEEDS
    )
    np.testing.assert_array_equal(
        grid.has_diverged, np.repeat([[False], [True], [False]], NUM_SEEDS, axis=1)
    )
    assert (grid.right["test"][1] == 0).all()
    assert (grid.accuracies()[[0, 2]] > 0).all()
    assert grid.trained is None
    with pytest.raises(errors.InputError, match="num_kept=1"):
        grid.students(0)


def test_what_does_not_fit_is_refused_in_a_sentence(digits, tables, monkeypatch):
    data, task = digits
    monkeypatch.setattr(evaluation.grid.programs, "call", None)

    def refuse(sentence, examples=tables, task=task, data=data, **options):
        with pytest.raises(errors.InputError, match=sentence):
            evaluation.evaluate_grid(
                KEY, task, examples, data, PROTOCOL, **{"num_seeds": 2, **options}
            )

    refuse(r"\[L, M, C\] for images", tables._replace(y=tables.y[0]))
    refuse(r"shape \(3, 20, 9\)", tables._replace(y=tables.y[..., :9]))
    refuse(r"\[S, M, ...\]", tables._replace(y=tables.y[:, None]))
    refuse("not finite", tables._replace(y=tables.y.at[1, 0].set(jnp.nan)))
    refuse("sums from", tables._replace(y=2 * tables.y))
    refuse("one weight for each label", tables._replace(weight=tables.weight[0]))
    refuse('no split "tset"', splits=("tset",))
    refuse("`num_seeds` must be", num_seeds=0)
    refuse("`num_kept` must be", num_kept=-1)
    refuse('judged by "squared_error"', task=toy_errors.task(), data=toy_errors.data())
