# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distribution matching against the original implementation and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import base, errors, objectives
from distill_jax.objectives import distribution


def golden_problem(arrays, dtype, conv):
    params = {
        name.removeprefix("params/"): jnp.asarray(value, dtype)
        for name, value in arrays.items()
        if name.startswith("params/")
    }
    params = dj.nets.load_flat(params)
    num_classes = arrays["real_images"].shape[0]
    width, num_outputs = (
        params["conv0"]["kernel"].shape[-1],
        params["dense"]["bias"].size,
    )
    net = dj.nets.convnet(num_outputs, width=width, conv=conv)
    spec = dj.data.DataSpec(
        name="golden",
        shape=arrays["real_images"].shape[2:],
        num_classes=num_outputs,
        class_names=tuple(map(str, range(num_outputs))),
        normalizer=None,
        fingerprint="",
    )
    task = dj.tasks.classification(net, spec)
    inner = jax.tree.map(lambda leaf: leaf[None], base.Variables(params, {}))
    ones = jnp.ones(arrays["real_images"].shape[:2], dtype)
    batch = base.Examples(
        x=jnp.asarray(arrays["real_images"], dtype), y=ones[..., None], weight=ones
    )
    y = jnp.repeat(jnp.eye(num_classes, dtype=dtype), int(arrays["ipc"]), axis=0)
    return task, inner, batch, jnp.asarray(arrays["syn_images"], dtype), y


@pytest.mark.parametrize("name", ["dm_28x28x1", "dm_32x32x3"])
@pytest.mark.parametrize("conv", ["cpu", "xla"])
def test_loss_and_gradient_equal_the_original_in_float64(
    name, conv, golden, assert_near, x64
):
    arrays = golden(name)
    task, inner, batch, x_syn, y = golden_problem(arrays, jnp.float64, conv)
    objective = objectives.distribution_matching(task)

    def loss(x):
        return objective.loss(base.Synthetic(x, y), jax.random.key(0), inner, batch)[0]

    value, grad = jax.jit(jax.value_and_grad(loss))(x_syn)
    assert_near(value, arrays["value"], 1e-10)
    assert_near(grad, arrays["syn_grad"], 1e-10)


@pytest.mark.parametrize("name", ["dm_28x28x1", "dm_32x32x3"])
def test_loss_and_gradient_equal_the_original_in_float32(name, golden, assert_near):
    arrays = golden(name)
    with jax.default_matmul_precision("highest"):
        task, inner, batch, x_syn, y = golden_problem(arrays, jnp.float32, "cpu")
        objective = objectives.distribution_matching(task)
        loss = lambda x: objective.loss(
            base.Synthetic(x, y), jax.random.key(0), inner, batch
        )[0]
        value, grad = jax.jit(jax.value_and_grad(loss))(x_syn)
    assert_near(value, arrays["value"], 1e-5)
    assert_near(grad, arrays["syn_grad"], 1e-4)


def test_missing_examples_do_not_count():
    features = jnp.array([[[1.0], [3.0], [100.0]], [[0.0], [0.0], [0.0]]])
    weight = jnp.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    means = distribution.class_means(features, weight)
    np.testing.assert_allclose(means, [[2.0], [0.0]])


def test_the_gradient_reaches_the_weights_of_real_examples():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
    objective = objectives.distribution_matching(task)
    batch = dj.samplers.per_class(4)(jax.random.key(0), 0, dj.data.to_source(data))
    synthetic = base.Synthetic(batch.x[:, 0] + 1.0, jnp.eye(10))
    inner = objective.init(jax.random.key(1), synthetic)

    def loss(weight):
        return objective.loss(
            synthetic, jax.random.key(2), inner, batch._replace(weight=weight)
        )[0]

    grad = jax.grad(loss)(batch.weight)
    assert float(jnp.abs(grad).min()) > 0


def test_several_networks_give_the_mean_of_their_losses():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
    batch = dj.samplers.per_class(4)(jax.random.key(0), 0, dj.data.to_source(data))
    synthetic = base.Synthetic(batch.x[:, 0] + 1.0, jnp.eye(10))
    many = objectives.distribution_matching(task, num_networks=3)
    inner = many.init(jax.random.key(1), synthetic)
    one = objectives.distribution_matching(task)
    value = lambda objective, nets: objective.loss(
        synthetic, jax.random.key(2), nets, batch
    )[0]
    singles = [
        value(one, jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], inner))
        for i in range(3)
    ]
    np.testing.assert_allclose(value(many, inner), np.mean(singles), rtol=1e-5)
    assert np.std(singles) > 0


def test_a_task_without_features_is_refused():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10), data.spec)._replace(features=None)
    with pytest.raises(errors.InputError, match="needs a task with features"):
        objectives.distribution_matching(task)
    with pytest.raises(errors.InputError, match="needs a task with features"):
        objectives.kernel_regression(task)
