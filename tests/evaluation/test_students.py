# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What must hold of students of soft labels whatever the labels are."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base
from distill_jax.evaluation import training

C = 10


@pytest.fixture(scope="module")
def task():
    spec = dj.data.load("digits").spec
    return dj.tasks.classification(dj.nets.mlp(C, hidden=(7,)), spec)


@pytest.fixture(scope="module")
def examples():
    x = jax.random.normal(jax.random.key(0), (12, 8, 8, 1))
    y = jax.nn.softmax(2 * jax.random.normal(jax.random.key(1), (12, C)))
    return base.Examples(x, y)


def fit(task, examples, variables=None, **fields):
    fields = {"num_steps": 15, "learning_rate": 0.1, "batch_size": 99, **fields}
    protocol = dj.evaluation.Protocol(label_mass="free", **fields)
    start = variables or task.init(jax.random.key(3), None)
    trained, _ = training.train(
        jax.random.key(2), task, examples, protocol, variables=start
    )
    return jax.tree.map(lambda leaf: leaf[-1], trained)


def test_renamed_classes_give_renamed_students(task, examples):
    order = jax.random.permutation(jax.random.key(4), C)
    start = task.init(jax.random.key(3), None)
    params = dict(start.params)
    params["dense"] = jax.tree.map(lambda leaf: leaf[..., order], params["dense"])
    renamed = fit(
        task,
        examples._replace(y=examples.y[:, order]),
        start._replace(params=params),
    )
    plain = fit(task, examples, start)
    outputs = lambda variables: task.predict(variables, examples.x, None)
    np.testing.assert_allclose(
        outputs(renamed), outputs(plain)[:, order], rtol=1e-4, atol=1e-5
    )


def test_rows_of_weight_zero_are_rows_left_out(task, examples):
    weight = jnp.arange(12) % 3 > 0
    out = fit(task, examples._replace(weight=weight.astype(float)))
    rows = np.flatnonzero(weight)
    left = base.Examples(examples.x[rows], examples.y[rows])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        out,
        fit(task, left),
    )


def test_labels_times_two_are_a_rate_times_two(task, examples):
    plain = {"momentum": 0.0, "weight_decay": 0.0}
    twice = fit(task, examples._replace(y=2 * examples.y), **plain)
    faster = fit(task, examples, **plain | {"learning_rate": 0.2})
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        twice,
        faster,
    )


def test_labels_of_the_start_itself_teach_nothing(task, examples):
    start = task.init(jax.random.key(3), None)
    said = task.predict(start, examples.x, None)
    loss = lambda params, y: task.train_loss(
        start._replace(params=params), jax.random.key(0), examples._replace(y=y), None
    )[0].mean()
    own = jax.grad(loss)(start.params, dj.labels.from_logits(said))
    hot = jax.grad(loss)(start.params, dj.labels.from_logits(said, 2.0))
    assert optax.tree.norm(own) < 1e-6
    assert optax.tree.norm(hot) > 1e-3  # A temperature that is not the student's.
