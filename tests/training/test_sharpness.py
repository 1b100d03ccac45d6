# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Surrogate-gap minimisation against the original implementation and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, experts
from distill_jax.experts import training
from distill_jax.training import gradient_step
from distill_jax.training.sharpness import Sharpness, flat_direction


@pytest.mark.parametrize("name", ["gsam_momentum", "gsam_plain_sgd", "gsam_sam_only"])
def test_steps_equal_the_original(name, golden, assert_near, x64):
    arrays = golden(name)
    load = lambda prefix: jax.tree.map(
        jnp.asarray,
        dj.nets.load_flat(
            {k: v for k, v in arrays.items() if k.startswith(prefix)}, prefix=prefix
        ),
    )
    params = load("params/")
    num_classes = params["dense"]["bias"].size
    shape = arrays["images"].shape[2:]
    names = tuple(map(str, range(num_classes)))
    spec = dj.data.DataSpec("golden", shape, num_classes, names, None, "")
    depth = sum(key.startswith("conv") for key in params)
    net = dj.nets.convnet(num_classes, width=params["conv0"]["bias"].size, depth=depth)
    task = dj.tasks.classification(net, spec)
    sharpness = Sharpness(
        float(arrays["rho"]), float(arrays["alpha"]), bool(arrays["adaptive"])
    )
    optimizer = optax.chain(
        optax.add_decayed_weights(float(arrays["weight_decay"])),
        optax.sgd(float(arrays["lr"]), momentum=float(arrays["momentum"]) or None),
    )

    @jax.jit
    def step(params, opt, images, labels):
        batch = base.Examples(images, jax.nn.one_hot(labels, num_classes))

        def grad_fn(params):
            variables = base.Variables(params, {})
            loss = lambda params: task.train_loss(
                variables._replace(params=params), jax.random.key(0), batch, None
            )[0].mean()
            return jax.grad(loss)(params), None

        direction, _ = flat_direction(grad_fn, params, sharpness)
        variables, opt = gradient_step.descend(
            jax.random.key(0),
            base.Variables(params, {}),
            opt,
            task,
            batch,
            optimizer=optimizer,
            sharpness=sharpness,
        )
        return direction, variables.params, opt

    opt = optimizer.init(params)
    for number in range(len(arrays["images"])):
        images, labels = arrays["images"][number], arrays["labels"][number]
        direction, params, opt = step(params, opt, images, labels)
        near = lambda one, other: assert_near(one, other, 1e-9)
        jax.tree.map(near, params, load(f"params_after_step{number + 1}/"))
        if number == 0:  # Directions are stored for the first step.
            jax.tree.map(near, direction, load("direction_step1/"))


def quadratic(scale):
    return lambda w: (jax.tree.map(lambda leaf, s: s * leaf, w, scale), "aux")


def test_direction_on_a_quadratic_by_hand(assert_near, x64):
    scale = {"a": jnp.array([1.0, 4.0]), "b": jnp.array(2.0)}
    w = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
    flat = np.array([1.0, -2.0, 0.5])
    curve = np.array([1.0, 4.0, 2.0])
    for is_adaptive in (False, True):
        g = curve * flat
        reach = np.abs(flat) if is_adaptive else np.ones(3)
        e = 0.1 * reach**2 * g / np.linalg.norm(reach * g)
        beside = curve * (flat + e)
        off = g - beside * (g @ beside) / (beside @ beside)
        assert abs(off @ beside) < 1e-12
        found, aux = flat_direction(
            quadratic(scale), w, Sharpness(0.1, 0.7, is_adaptive)
        )
        assert aux == "aux"
        both = np.append(found["a"], found["b"])
        assert_near(both, beside - 0.7 * off, 1e-10)


def test_without_radius_and_alpha_it_is_the_gradient(assert_near, x64):
    scale, w = {"a": jnp.array([1.0, 4.0])}, {"a": jnp.array([1.0, -2.0])}
    found, _ = flat_direction(quadratic(scale), w, Sharpness(0.0, 0.0))
    assert_near(found["a"], scale["a"] * w["a"], 1e-12)


def test_a_zero_gradient_gives_a_zero_direction():
    scale, w = {"a": jnp.zeros(2)}, {"a": jnp.ones(2)}
    found, _ = flat_direction(quadratic(scale), w, Sharpness(0.1, 0.5))
    assert found["a"].tolist() == [0.0, 0.0]


def test_experts_can_be_trained_with_it():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
    source = dj.data.to_source(data)
    plain, flat = (
        training.train_expert(
            jax.random.key(0),
            task,
            source,
            experts.Training(num_epochs=1, sharpness=sharpness),
        )
        for sharpness in (None, Sharpness())
    )
    first, last = (training.at_epoch(flat, epoch).params for epoch in (0, 1))
    same = lambda one, other: bool(
        jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), one, other))
    )
    assert same(first, training.at_epoch(plain, 0).params)
    assert not same(last, training.at_epoch(plain, 1).params)
    assert jax.tree.all(jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), last))
