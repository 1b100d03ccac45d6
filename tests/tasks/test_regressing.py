# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The regression task against numpy and scikit-learn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics

import distill_jax as dj
from distill_jax import errors


def two_targets(num=40):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num, 3))
    y = np.stack([100 + 20 * x[:, 0], 0.1 * x[:, 1] ** 2], axis=1)
    return dj.data.from_arrays(x, y, targets="values")


def made(num_outputs=2):
    data = two_targets()
    task = dj.tasks.regression(dj.nets.mlp(num_outputs, hidden=(4,)), data.spec)
    return data, task, task.init(jax.random.key(0), None)


def test_targets_are_standardised_by_the_training_split():
    data, task, _ = made()
    encoded = np.asarray(task.encode(jnp.asarray(data.train.y)))
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(encoded.std(axis=0), 1, atol=1e-5)
    assert not np.allclose(np.asarray(task.encode(jnp.asarray(data.test.y))).mean(0), 0)


def test_losses_are_mean_squared_errors_of_standardised_targets():
    data, task, variables = made()
    x = dj.data.normalize(data.spec.normalizer, data.test.x)
    outputs = np.asarray(task.predict(variables, x, None))
    y = (data.test.y - data.train.y.mean(0)) / data.train.y.std(0)
    expected = ((outputs - y) ** 2).mean(axis=1)
    own = dj.Examples(x, jnp.asarray(y))
    trained, _ = task.train_loss(variables, jax.random.key(1), own, None)
    np.testing.assert_allclose(trained, expected, rtol=1e-4)
    raw = dj.Examples(x, jnp.asarray(data.test.y))
    tested = task.test_loss(variables, jax.random.key(1), raw, None)
    np.testing.assert_allclose(tested, expected, rtol=1e-4)


def test_metrics_are_those_of_scikit_learn():
    data, task, variables = made()
    x = dj.data.normalize(data.spec.normalizer, data.test.x)
    outputs = np.asarray(task.predict(variables, x, None))
    found = task.metrics(variables, dj.Examples(x, jnp.asarray(data.test.y)), None)
    encoded = np.asarray(task.encode(jnp.asarray(data.test.y)))
    np.testing.assert_allclose(
        found["squared_error"].mean(),
        metrics.mean_squared_error(encoded, outputs),
        rtol=1e-5,
    )
    in_units = outputs * data.spec.target_std + data.spec.target_mean
    np.testing.assert_allclose(
        found["r2"], metrics.r2_score(data.test.y, in_units), rtol=1e-4
    )


def test_a_constant_target_has_a_deviation_of_one_and_counts_for_nothing():
    data = dj.data.from_arrays(
        np.arange(20.0)[:, None], np.full(20, 7.0), targets="values"
    )
    assert data.spec.target_std.tolist() == [1.0]
    task = dj.tasks.regression(dj.nets.mlp(1, hidden=(2,)), data.spec)
    variables = task.init(jax.random.key(0), None)
    x = dj.data.normalize(data.spec.normalizer, data.test.x)
    found = task.metrics(variables, dj.Examples(x, jnp.asarray(data.test.y)), None)
    assert float(found["r2"]) == 0.0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: made(num_outputs=3), "has 2 targets"),
        (
            lambda: dj.tasks.regression(dj.nets.mlp(10), dj.data.load("digits").spec),
            "use `tasks.classification`",
        ),
        (
            lambda: dj.tasks.classification(dj.nets.mlp(2), two_targets().spec),
            "use `tasks.regression`",
        ),
        (lambda: made()[1].retarget("centred"), 'targets="values"'),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(make, said):
    with pytest.raises(errors.InputError, match=said):
        make()


def test_values_are_judged_and_not_counted():
    data, task, _ = made()
    protocol = dj.evaluation.Protocol(num_steps=30, batch_size=8, targets="values")
    x = dj.data.normalize(data.spec.normalizer, data.train.x)
    known = dj.Synthetic(x, task.encode(jnp.asarray(data.train.y)))
    found = dj.evaluate(
        task, known, data, protocol=protocol, num_runs=2, key=jax.random.key(0)
    )
    assert set(found.scores) == {"squared_error", "r2"}
    with pytest.raises(errors.InputError, match="is negative"):
        dj.evaluate(
            task,
            known,
            data,
            protocol=dataclasses.replace(protocol, targets="probabilities"),
            num_runs=1,
            key=jax.random.key(0),
        )
