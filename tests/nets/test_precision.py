# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A network in 16 bits gives nearly the same numbers, and teaches as much."""

import functools

import jax
import jax.numpy as jnp
import optax
import pytest

import distill_jax as dj
from distill_jax import errors, nets
from distill_jax.cli import experiment, settings

NETS = {
    "mlp": nets.mlp(3, hidden=(16,)),
    "convnet": nets.convnet(3, width=8, depth=2),
    "batch norm": nets.convnet(3, width=8, depth=2, norm="batch"),
}


@functools.cache
def outputs(name, precision=None):
    """The gradient of a loss, logits, statistics and features of one network."""
    net = (
        NETS[name] if precision is None else nets.with_precision(NETS[name], precision)
    )

    @jax.jit
    def compute(key):
        variables = NETS[name].init(key, (16, 16, 1))
        x = jax.random.normal(key, (8, 16, 16, 1))

        def loss(params):
            now = variables._replace(params=params)
            logits, stats = net.apply_train(now, key, x)
            return jnp.mean(jax.nn.log_softmax(logits) ** 2), (logits, stats)

        grads, (logits, stats) = jax.grad(loss, has_aux=True)(variables.params)
        return grads, logits, stats, net.features(variables, x)

    return compute(jax.random.key(0))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 1e-6), ("tensorfloat32", 3e-3), ("bfloat16", 0.06)],
)
def test_logits_features_and_gradients_are_those_of_the_network(
    name, precision, tolerance
):
    for found, exact in zip(outputs(name, precision), outputs(name), strict=True):
        assert jax.tree.map(lambda leaf: leaf.dtype, found) == jax.tree.map(
            lambda leaf: leaf.dtype, exact
        )
        error = optax.tree.norm(optax.tree.sub(found, exact))
        assert error <= tolerance * optax.tree.norm(exact)


def test_16_bits_are_really_taken():
    net = nets.with_precision(nets.mlp(3, hidden=(16,)), "bfloat16")
    variables = net.init(jax.random.key(0), (4,))
    traced = str(jax.make_jaxpr(net.apply)(variables, jnp.ones((2, 4))))
    assert traced.count("bf16") > 4


def test_a_set_distilled_in_16_bits_teaches_as_much():
    data = dj.data.load("digits")
    net = nets.mlp(10, hidden=(64, 64))
    task = dj.tasks.classification(net, data.spec)
    accuracies = {}
    for precision in ("float32", "bfloat16"):
        inner = dj.tasks.classification(nets.with_precision(net, precision), data.spec)
        recipe = dj.methods.dm(
            inner, num_per_class=1, batch_size=32, augmentation="none"
        )
        state, _ = dj.run(recipe, data, num_steps=150, key=jax.random.key(0))
        accuracies[precision] = dj.evaluation.evaluate(
            task,
            recipe.method.read(state),
            data,
            protocol=dj.evaluation.Protocol(num_epochs=300, batch_size=10),
            num_runs=3,
            key=jax.random.key(1),
            split="validation",
        ).mean
    assert accuracies["float32"] > 0.7
    assert abs(accuracies["bfloat16"] - accuracies["float32"]) < 0.04


def test_a_config_asks_for_it_while_distilling_only():
    config = settings.finish(settings.default(), "runlocal")
    config.precision = "bfloat16"
    built = experiment.build(config)
    assert "precision" not in built.task.facts.network
    seed = built.recipe.initial_fn(jax.random.key(0), built.dataset)
    state = jax.eval_shape(built.recipe.method.init, jax.random.key(0), seed)
    source = built.recipe.source_fn(built.dataset)
    batch = jax.eval_shape(built.recipe.sampler, jax.random.key(0), 0, source)
    step = jax.make_jaxpr(built.recipe.method.step)(jax.random.key(0), state, batch)
    assert "bf16" in str(step)


def test_the_precision_is_part_of_the_description():
    net = nets.build({"name": "mlp", "num_classes": 3, "precision": "bfloat16"})
    assert net.description["precision"] == "bfloat16"
    assert nets.build(net.description).description == net.description


def test_an_unknown_precision_is_refused():
    with pytest.raises(errors.InputError, match=r'"bf16".*"bfloat16"'):
        nets.with_precision(nets.mlp(3), "bf16")
