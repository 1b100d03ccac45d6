# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import data as data_lib
from distill_jax import experts, nets, tasks
from distill_jax.augmentation import policies
from distill_jax.experts import appraisal, training
from distill_jax.training import minibatches


@pytest.fixture(scope="module")
def digits():
    data = data_lib.load("digits")
    return data, tasks.classification(nets.mlp(10, hidden=(16,)), data.spec)


@pytest.fixture(scope="module")
def expert(digits):
    data, task = digits
    return training.train_expert(
        jax.random.key(0),
        task,
        data_lib.to_source(data),
        experts.Training(num_epochs=12, learning_rate=0.1),
    )


def test_the_first_is_the_start_and_each_epoch_continues_the_one_before(digits, expert):
    data, task = digits
    _, key_init, _ = jax.random.split(jax.random.key(0), 3)
    start = task.init(key_init, None)
    first = training.at_epoch(expert, 0)
    jax.tree.map(np.testing.assert_array_equal, first, start)
    # Recomputed by hand: the first epoch is four steps of plain SGD, in the same order.
    _, _, key_fit = jax.random.split(jax.random.key(0), 3)
    num_examples = len(data.train.y)
    index, weight = minibatches.mini_batches(
        jax.random.split(key_fit)[0],
        num_examples=num_examples,
        batch_size=256,
        num_steps=12 * 4,
    )
    x = data_lib.normalize(data.spec.normalizer, data.train.x)
    params = start.params

    def loss_fn(params, rows, weight):
        logits = task.predict(start._replace(params=params), x[rows], None)
        y = jnp.asarray(data.train.y)[rows]
        losses = -jax.nn.log_softmax(logits)[jnp.arange(256), y]
        return (losses * weight).sum() / weight.sum()

    for step in range(4):
        grads = jax.grad(loss_fn)(params, index[step], weight[step])
        params = jax.tree.map(lambda param, grad: param - 0.1 * grad, params, grads)
    jax.tree.map(
        lambda found, right: np.testing.assert_allclose(found, right, atol=1e-5),
        training.at_epoch(expert, 1).params,
        params,
    )


def test_accuracy_rises_and_labels_sharpen(digits, expert):
    data, task = digits
    accuracy, entropy = appraisal.appraise(
        task,
        expert,
        data.validation.x,
        jnp.asarray(data.validation.y),
        normalizer=data.spec.normalizer,
    )
    assert accuracy.shape == entropy.shape == (13,)
    assert accuracy[0] < 0.3
    assert accuracy[12] > 0.7
    assert (np.diff(entropy[2:]) < 0).all()
    x = data_lib.normalize(data.spec.normalizer, data.validation.x)
    p = np.asarray(jax.nn.softmax(task.predict(training.at_epoch(expert, 5), x, None)))
    own = -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1).mean()
    np.testing.assert_allclose(entropy[5], own, rtol=1e-4)
    right = (p.argmax(axis=1) == data.validation.y).mean()
    np.testing.assert_allclose(accuracy[5], right, rtol=1e-5)


def test_an_expert_that_diverged_is_not_right_by_luck(digits, expert):
    data, task = digits
    spoilt = jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), expert)
    judge = lambda expert: (
        appraisal.appraise(
            task,
            expert,
            data.validation.x,
            data.validation.y,
            normalizer=data.spec.normalizer,
        ).accuracy
    )
    healthy = judge(expert)
    assert healthy[1] > 0
    np.testing.assert_array_equal(judge(spoilt), healthy.at[1].set(0))


def test_experts_are_mapped_over_keys(digits):
    data, task = digits
    source = data_lib.to_source(data)
    how = experts.Training(num_epochs=2)
    train = lambda key: training.train_expert(key, task, source, how)
    several = jax.vmap(train)(jax.random.split(jax.random.key(1), 2))
    kernel = jax.tree.leaves(several.params)[-1]
    assert kernel.shape[:2] == (2, 3)
    assert not np.allclose(kernel[0], kernel[1])
    ends = experts.train_experts(jax.random.key(1), task, source, how, num_experts=2)
    np.testing.assert_allclose(
        jax.tree.leaves(ends.params)[-1], kernel[:, 2], rtol=1e-4, atol=1e-6
    )


def test_no_epochs_leave_the_network_as_it_was_drawn(digits):
    data, task = digits
    key, source = jax.random.key(4), data_lib.to_source(data)
    untrained = experts.Training(num_epochs=0)
    expert = experts.train_expert(key, task, source, untrained)
    learner = tasks.init_learner(task, key)
    start = jax.tree.map(lambda leaf: leaf[None], learner.variables)
    jax.tree.map(np.testing.assert_array_equal, expert, start)


def test_options_one_by_one_are_taken_as_before(digits):
    data, task = digits
    key, source = jax.random.key(4), data_lib.to_source(data)
    policy = policies.parse("crop")
    with (
        pytest.warns(DeprecationWarning, match="`policy`"),
        pytest.warns(DeprecationWarning, match=r"Training\(num_epochs="),
        pytest.warns(DeprecationWarning, match=r"Training\(learning_rate="),
        pytest.warns(DeprecationWarning, match=r"Training\(augmentation="),
    ):
        former = training.train_expert(
            key, task, source, num_epochs=1, learning_rate=0.1, policy=policy
        )
    how = experts.Training(num_epochs=1, learning_rate=0.1, augmentation=policy)
    now = training.train_expert(key, task, source, how)
    jax.tree.map(np.testing.assert_array_equal, former, now)


def test_entropy_of_hard_and_uniform_labels():
    labels = jnp.array([[0.0, 1.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
    found = appraisal.label_entropy(labels)
    np.testing.assert_allclose(found, [0.0, np.log(4)], rtol=1e-6)
