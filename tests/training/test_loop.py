# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from distill_jax import base, nets, tasks
from distill_jax.training import loop, minibatches


@pytest.fixture
def task():
    spec = types.SimpleNamespace(name="toy", shape=(4,), num_classes=3, normalizer=None)
    return tasks.classification(nets.mlp(3, hidden=()), spec)


@pytest.fixture
def examples():
    x = jax.random.normal(jax.random.key(1), (7, 4))
    return base.Examples(x, jax.nn.one_hot(jnp.arange(7) % 3, 3))


def test_every_epoch_sees_every_example_once():
    index, weight = minibatches.mini_batches(
        jax.random.key(0), num_examples=7, batch_size=3, num_steps=8
    )
    assert index.shape == weight.shape == (8, 3)
    for epoch in (slice(0, 3), slice(3, 6)):
        seen = np.asarray(index[epoch])[np.asarray(weight[epoch]) == 1]
        assert sorted(seen) == list(range(7))
    assert not np.array_equal(index[:3], index[3:6])
    assert weight.sum() == 7 + 7 + 6  # The third epoch ends after two batches.


def test_checkpoints_are_those_of_shorter_trainings(task, examples):
    start = task.init(jax.random.key(2), None)
    fit = lambda num_steps, num_checkpoints: loop.fit(
        jax.random.key(3),
        start,
        task,
        examples,
        optimizer=optax.sgd(0.1, momentum=0.9),
        num_steps=num_steps,
        batching=minibatches.Batching(7),
        num_checkpoints=num_checkpoints,
    )
    kept = fit(10, 3)  # After 3, 6 and 10 steps.
    for position, num_steps in enumerate((3, 6, 10)):
        alone = fit(num_steps, 1)
        jax.tree.map(
            lambda kept, alone: np.testing.assert_allclose(
                kept[position], alone[0], rtol=1e-6
            ),
            kept,
            alone,
        )


def test_a_short_last_batch_is_a_mean_over_its_own_examples(task, examples):
    order = jnp.array([[6, 5, 4, 3, 2, 1, 0]])
    start = task.init(jax.random.key(2), None)
    fit = lambda num_steps: loop.fit(
        jax.random.key(3),
        start,
        task,
        examples,
        optimizer=optax.sgd(1.0),
        num_steps=num_steps,
        batching=minibatches.Batching(4, order=order),
    )
    before, after = (jax.tree.map(lambda leaf: leaf[0], fit(n)) for n in (1, 2))
    rows = np.array([2, 1, 0])
    last = base.Examples(examples.x[rows], examples.y[rows])

    def mean_loss(params):
        variables = base.Variables(params, {})
        return task.train_loss(variables, jax.random.key(0), last, None)[0].mean()

    grads = jax.grad(mean_loss)(before.params)
    expected = jax.tree.map(lambda param, grad: param - grad, before.params, grads)
    jax.tree.map(
        lambda found, right: np.testing.assert_allclose(found, right, atol=1e-6),
        after.params,
        expected,
    )


def test_an_example_of_weight_zero_teaches_nothing(task, examples):
    start = task.init(jax.random.key(2), None)
    fit = lambda examples: loop.fit(
        jax.random.key(3),
        start,
        task,
        examples,
        optimizer=optax.sgd(0.5),
        num_steps=5,
        batching=minibatches.Batching(9),
    )
    weight = jnp.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    weighted = fit(examples._replace(weight=weight))
    fewer = fit(base.Examples(examples.x[:4], examples.y[:4]))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), weighted, fewer
    )


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 100])
def test_predictions_do_not_depend_on_the_chunks(task, examples, chunk_size):
    variables = task.init(jax.random.key(2), None)
    logits = loop.predict_logits(task, variables, examples.x, chunk_size=chunk_size)
    whole = task.predict(variables, examples.x, None)
    np.testing.assert_allclose(logits, whole, rtol=1e-5)


def test_going_on_is_the_same_as_never_having_stopped(task, examples):
    start, sgd = task.init(jax.random.key(2), None), optax.sgd(0.1, momentum=0.9)
    go_on = lambda variables, opt, num: loop.fit_further(
        jax.random.key(3),
        variables,
        opt,
        task,
        examples,
        optimizer=sgd,
        num_steps=num,
        batching=minibatches.Batching(7),
    )
    whole, _ = go_on(start, sgd.init(start.params), 5)
    half = go_on(start, sgd.init(start.params), 3)
    parts, _ = go_on(*half, 2)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_mini_batch_is_mixed_with_its_probability(task, examples):
    batch = examples._replace(weight=jnp.ones(7))
    keys = jax.random.split(jax.random.key(0), 200)
    mix_one = lambda key, share: minibatches.mix_batch(key, "mixup", share, batch).x
    mix = lambda share: jax.vmap(lambda key: mix_one(key, share))(keys)
    is_mixed = jnp.any(mix(0.25) != batch.x[None], axis=(1, 2))
    # Binomial: 50 expected, standard deviation 6.
    assert 26 <= int(is_mixed.sum()) <= 74
    assert not jnp.any(mix(0.0) != batch.x[None])
    assert jnp.any(mix(1.0) != batch.x[None], axis=(1, 2)).all()
