# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base, errors, tasks
from distill_jax import types as types_lib
from distill_jax.tasks import losses


def linear_net(num_classes=3, num_features=4):
    def apply(variables, x):
        return x @ variables.params["w"]

    def init(key, shape):
        del key
        w = jnp.arange(shape[0] * num_classes, dtype=jnp.float32)
        assert shape == (num_features,), "this network takes four features"
        return base.Variables({"w": w.reshape(shape[0], num_classes) / 10}, {})

    return types.SimpleNamespace(
        init=init,
        apply=apply,
        apply_train=lambda variables, key, x: (2 * apply(variables, x), {"seen": 1.0}),
        features=lambda variables, x: {"penultimate": x},
        description={"name": "linear", "num_classes": num_classes},
    )


def spec(num_classes=3, shape=(4,)):
    return types.SimpleNamespace(
        name="toy", shape=shape, num_classes=num_classes, normalizer=None
    )


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    y = rng.dirichlet(np.ones(3), size=5).astype(np.float32)
    return base.Examples(x=rng.normal(size=(5, 4)).astype(np.float32), y=y)


@pytest.fixture
def variables():
    return linear_net().init(None, (4,))


def log_softmax(z):
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def test_train_loss_is_soft_cross_entropy_in_training_mode(examples, variables):
    task = tasks.classification(linear_net(), spec())
    loss, stats = task.train_loss(variables, jax.random.key(0), examples, None)
    z = 2 * examples.x @ np.asarray(variables.params["w"])
    np.testing.assert_allclose(loss, -(examples.y * log_softmax(z)).sum(1), rtol=1e-5)
    assert stats == {"seen": 1.0}


def test_a_label_that_does_not_sum_to_one_weighs_its_example(examples, variables):
    task = tasks.classification(linear_net(), spec())
    heavy = examples._replace(y=3 * examples.y)
    loss, _ = task.train_loss(variables, jax.random.key(0), examples, None)
    tripled, _ = task.train_loss(variables, jax.random.key(0), heavy, None)
    np.testing.assert_allclose(tripled, 3 * loss, rtol=1e-6)


def test_logit_gradient_is_mass_times_softmax_minus_label(x64):
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=(2, 3)), rng.uniform(size=(2, 3))
    grad = jax.grad(lambda z: losses.soft_cross_entropy(z, y).sum())(jnp.asarray(z))
    expected = y.sum(1, keepdims=True) * np.exp(log_softmax(z)) - y
    np.testing.assert_allclose(grad, expected, atol=1e-12)


def test_centred_targets_use_half_the_squared_error(examples, variables):
    task = tasks.classification(linear_net(), spec(), targets="centred")
    loss, _ = task.train_loss(variables, jax.random.key(0), examples, None)
    z = 2 * examples.x @ np.asarray(variables.params["w"])
    np.testing.assert_allclose(loss, 0.5 * ((z - examples.y) ** 2).sum(1), rtol=1e-5)


def test_test_loss_takes_classes_or_probabilities_in_inference_mode(
    examples, variables
):
    for targets in ("probabilities", "centred"):
        task = tasks.classification(linear_net(), spec(), targets=targets)
        classes = np.array([0, 2, 1, 1, 0], np.int32)
        hard = task.test_loss(variables, None, examples._replace(y=classes), None)
        soft = task.test_loss(
            variables, None, examples._replace(y=np.eye(3, dtype="f4")[classes]), None
        )
        z = examples.x @ np.asarray(variables.params["w"])
        expected = -log_softmax(z)[np.arange(5), classes]
        np.testing.assert_allclose(hard, expected, rtol=1e-5)
        np.testing.assert_allclose(soft, expected, rtol=1e-5)


def test_the_other_fields_speak_for_the_network(examples, variables):
    task = tasks.classification(linear_net(), spec())
    assert task.sample_context(jax.random.key(0)) is None
    w = np.asarray(variables.params["w"])
    np.testing.assert_array_equal(task.init(jax.random.key(0), None).params["w"], w)
    logits = task.predict(variables, examples.x, None)
    np.testing.assert_allclose(logits, examples.x @ w, rtol=1e-5)
    penultimate = task.features(variables, examples.x, None)["penultimate"]
    np.testing.assert_array_equal(penultimate, examples.x)
    assert task.groups(examples) is examples.y
    network = {"name": "linear", "num_classes": 3}
    assert task.facts == base.TaskFacts(
        kind="classification",
        loss="soft cross-entropy",
        num_classes=3,
        network=network,
        data_name="toy",
        shape=(4,),
        bounds=None,
        metrics=(types_lib.Metric("accuracy", is_fraction=True, worst=0.0),),
    )


def test_retarget_changes_the_targets_and_their_loss_only():
    task = tasks.classification(linear_net(), spec())
    centred = task.retarget("centred")
    assert (task.targets, centred.targets) == ("probabilities", "centred")
    assert centred.facts == dataclasses.replace(task.facts, loss="squared error")


def test_centred_labels_follow_the_formula():
    p = np.random.default_rng(2).dirichlet(np.ones(4), size=3).astype(np.float32)
    centred = tasks.encode(p, "centred")
    np.testing.assert_allclose(centred, (p - 0.25) / np.sqrt(0.4), rtol=1e-5)
    assert tasks.encode(p, "probabilities") is p


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            lambda: tasks.classification(linear_net(), spec(), targets="values"),
            'cannot have targets of the kind "values"',
        ),
        (
            lambda: tasks.classification(linear_net(), spec(), targets="centered"),
            'Did you mean "centred"',
        ),
        (
            lambda: tasks.classification(linear_net(), spec(num_classes=10)),
            "build the network with num_classes=10",
        ),
        (
            lambda: tasks.classification(linear_net(), spec(shape=(7,))),
            r"cannot take examples of shape \(7,\).*takes four features",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(build, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        build()
