# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import base, errors, evaluation, nets, tasks
from distill_jax.evaluation import optimizers, training


@pytest.fixture
def small():
    """A linear task on twelve examples of three classes."""
    net = nets.mlp(3, hidden=())
    spec = types.SimpleNamespace(name="toy", shape=(4,), num_classes=3, normalizer=None)
    x = jax.random.normal(jax.random.key(5), (12, 4))
    y = jax.nn.one_hot(jnp.arange(12) // 4, 3)
    return tasks.classification(net, spec), base.Synthetic(x, y)


def flat(params, prefix):
    leaves = jax.tree.leaves_with_path(params)
    return {f"{prefix}/{path[0].key}/{path[1].key}": leaf for path, leaf in leaves}


def golden_case(file, dtype):
    """The task, the set, the protocol and the start of a golden evaluation."""
    image = file["images"].shape[1:]
    width = file["params/conv0/bias"].shape[0]
    num_classes = file["params/dense/bias"].shape[0]
    depth = sum(name.startswith("params/conv") for name in file) // 2
    net = nets.convnet(num_classes, width=width, depth=depth)
    spec = types.SimpleNamespace(
        name="golden", shape=image, num_classes=num_classes, normalizer=None
    )
    params = nets.load_flat(file, prefix="params/")
    start = base.Variables(jax.tree.map(lambda leaf: leaf.astype(dtype), params), {})
    y = jax.nn.one_hot(file["labels"], num_classes, dtype=dtype)
    protocol = evaluation.Protocol(
        learning_rate=float(file["lr"]),
        momentum=float(file["momentum"]),
        weight_decay=float(file["weight_decay"]),
        schedule="step_drop",
        batch_size=int(file["batch_size"]),
        num_epochs=int(file["epochs_run"]),
    )
    task = tasks.classification(net, spec)
    return task, base.Synthetic(jnp.asarray(file["images"], dtype), y), protocol, start


def check_golden(file, assert_near, dtype, tolerance):
    task, examples, protocol, start = golden_case(file, dtype)
    num_steps = len(file["lr_per_step"])
    variables, _ = jax.jit(
        lambda start, examples: training.train(
            jax.random.key(0),
            task,
            examples,
            protocol,
            variables=start,
            order=jnp.asarray(file["order"]),
            num_checkpoints=num_steps,
        )
    )(start, examples)
    for step in range(num_steps):
        after = jax.tree.map(lambda leaf: leaf[step], variables.params)
        for name, leaf in flat(after, f"params_after_step{step + 1}").items():
            assert_near(leaf, file[name], tolerance, name)
    end = jax.tree.map(lambda leaf: leaf[-1], variables)
    logits = task.predict(end, jnp.asarray(file["test_images"], dtype), None)
    assert_near(logits, file["test_logits"], tolerance, "test_logits")
    accuracy = np.mean(np.argmax(logits, axis=1) == file["test_labels"])
    assert accuracy == pytest.approx(float(file["test_accuracy"]), abs=1e-6)


@pytest.mark.parametrize("name", ["fullbatch", "minibatch"])
def test_every_step_is_that_of_the_original_in_float64(golden, assert_near, name, x64):
    check_golden(golden(f"evaluation_lr_{name}"), assert_near, jnp.float64, 1e-10)


def test_every_step_is_that_of_the_original_in_float32(golden, assert_near):
    with jax.default_matmul_precision("highest"):
        check_golden(golden("evaluation_lr_minibatch"), assert_near, jnp.float32, 1e-4)


def test_the_golden_steps_need_the_reset_of_the_momentum(
    golden, assert_near, monkeypatch, x64
):
    file = golden("evaluation_lr_minibatch")
    monkeypatch.setattr(optimizers, "_restarted", lambda rule, step: rule)
    drop = int(np.flatnonzero(np.diff(file["lr_per_step"]))[0]) + 1
    task, examples, protocol, start = golden_case(file, jnp.float64)
    variables, _ = training.train(
        jax.random.key(0),
        task,
        examples,
        protocol,
        variables=start,
        order=jnp.asarray(file["order"]),
        num_checkpoints=len(file["lr_per_step"]),
    )
    bias = variables.params["dense"]["bias"]
    assert_near(bias[drop - 1], file[f"params_after_step{drop}/dense/bias"], 1e-10)
    after = file[f"params_after_step{drop + 1}/dense/bias"]
    with pytest.raises(AssertionError, match="above"):
        assert_near(bias[drop], after, 1e-3)


def test_the_learned_learning_rate_is_used_where_the_protocol_has_none(small):
    task, examples = small
    fixed = evaluation.Protocol(num_steps=5, learning_rate=0.3)
    learned = dataclasses.replace(fixed, learning_rate=None)
    key = jax.random.key(0)
    first, _ = evaluation.train(key, task, examples, fixed)
    examples = examples._replace(learning_rate=jnp.array(0.3))
    second, _ = evaluation.train(key, task, examples, learned)
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_a_missing_learned_learning_rate_is_told(small):
    protocol = evaluation.Protocol(num_steps=5, learning_rate=None)
    with pytest.raises(errors.InputError, match="these examples have none"):
        evaluation.train(jax.random.key(0), *small, protocol)


def test_centred_targets_of_a_protocol_change_the_loss(small):
    task, examples = small
    protocol = evaluation.Protocol(
        num_steps=800, learning_rate=0.1, weight_decay=0.0, targets="centred"
    )
    variables, _ = evaluation.train(jax.random.key(0), task, examples, protocol)
    end = jax.tree.map(lambda leaf: leaf[-1], variables)
    x = np.concatenate([np.asarray(examples.x), np.ones((12, 1))], axis=1)
    best = x @ np.linalg.lstsq(x, np.asarray(examples.y), rcond=None)[0]
    np.testing.assert_allclose(task.predict(end, examples.x, None), best, atol=2e-3)


def test_augmentation_and_mixing_change_the_training(small):
    spec = types.SimpleNamespace(
        name="toy", shape=(6, 6, 1), num_classes=3, normalizer=None
    )
    task = tasks.classification(nets.mlp(3, hidden=()), spec)
    x = jax.random.normal(jax.random.key(6), (6, 6, 6, 1))
    examples = base.Synthetic(x, jax.nn.one_hot(jnp.arange(6) // 2, 3))
    plain = evaluation.Protocol(num_steps=4)
    ends = []
    for changes in ({}, {"augmentation": "color_crop"}, {"mixing": "mixup"}):
        protocol = dataclasses.replace(plain, **changes)
        variables, _ = evaluation.train(jax.random.key(0), task, examples, protocol)
        ends.append(np.concatenate([a.ravel() for a in jax.tree.leaves(variables)]))
    assert all(np.isfinite(end).all() for end in ends)
    assert not np.allclose(ends[0], ends[1])
    assert not np.allclose(ends[0], ends[2])
