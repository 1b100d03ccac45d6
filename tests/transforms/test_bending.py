# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Functions around an objective: their order, what they read, what they add."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import test_util

import distill_jax as dj
from distill_jax import base, errors, methods, objectives, transforms
from distill_jax.transforms import bending

KEY = jax.random.key(0)
NUM_CLASSES, NUM_FEATURES = 3, 4


def pull(probes=()):
    """Pulls x to the batch; gives its differences as a probe where asked."""

    def loss(synthetic, key, inner, batch):
        difference = synthetic.x - batch
        intermediates = {name: difference for name in probes}
        return jnp.sum(difference**2), base.Aux(probes=intermediates)

    return base.Objective(
        init=lambda key, synthetic: {},
        loss=loss,
        advance=lambda key, inner, synthetic, batch: inner,
        probes=tuple(probes),
    )


def changed(change):
    """A function of an objective that changes its value."""

    def function(objective):
        def loss(synthetic, key, inner, batch):
            value, aux = objective.loss(synthetic, key, inner, batch)
            return change(value, aux), aux

        return objective._replace(loss=loss)

    return function


def with_gradients(share, probe="syn_grad"):
    """Adds the squared size of the gradients that are matched."""
    return bending.wants(probe)(
        changed(
            lambda value, aux: (
                value + share * optax.tree.norm(aux.probes[probe], squared=True)
            )
        )
    )


SYNTHETIC = base.Synthetic(jnp.array([[3.0]]), jnp.ones((1, 1)))


def test_the_first_function_of_a_list_is_applied_first():
    bends = [
        changed(lambda value, aux: value + 1),
        changed(lambda value, aux: 2 * value),
    ]
    value, aux = transforms.bend(pull(), bends).loss(SYNTHETIC, KEY, {}, 1.0)
    assert float(value) == 2 * (4.0 + 1)
    assert float(aux.metrics["matching_loss"]) == 4.0


def test_nothing_to_bend_by_is_the_objective_itself():
    objective = pull()
    assert transforms.bend(objective, None) is objective
    assert transforms.bend(objective, []) is objective


def test_a_probe_that_is_wanted_twice_is_asked_for_once():
    bends = [
        with_gradients(1.0),
        with_gradients(2.0),
        changed(lambda value, aux: value),
    ]
    assert bending.wanted(bends) == ("syn_grad",)
    value, _ = transforms.bend(pull(["syn_grad"]), bends).loss(SYNTHETIC, KEY, {}, 1.0)
    assert float(value) == 4.0 + 3 * 4.0


def test_what_cannot_bend_is_refused_in_a_sentence():
    with pytest.raises(errors.InputError, match=r"must be a function .*, got short"):
        transforms.bend(pull(), "short")
    with pytest.raises(errors.InputError, match="must return one, but `<lambda>`"):
        transforms.bend(pull(), lambda objective: None)
    with pytest.raises(errors.InputError, match=r'wants the probe "syn_grad".* none'):
        transforms.bend(pull(), with_gradients(1.0))
    empty = pull()._replace(probes=("syn_grad",))  # Promised, and not given.
    bent = transforms.bend(empty, with_gradients(1.0))
    with pytest.raises(errors.InputError, match='wants the probe "syn_grad"'):
        bent.loss(SYNTHETIC, KEY, {}, 1.0)


@functools.cache
def digits_task():
    spec = dj.data.load("digits").spec
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)


def test_a_method_without_the_probe_is_refused_when_it_is_made():
    options = {"num_per_class": 1, "num_steps": 4, "bend": with_gradients(1.0)}
    for name in ("frepo", "kip", "auto"):
        with pytest.raises(errors.InputError, match='wants the probe "syn_grad"'):
            methods.NAMES[name](digits_task(), **options)
    misspelt = with_gradients(1.0, "syn_grads")
    with pytest.raises(errors.InputError, match='Did you mean "syn_grad"'):
        methods.dc(digits_task(), num_per_class=1, bend=misspelt)


def test_a_method_makes_the_probes_that_a_bend_reads():
    digits = dj.data.load("digits")
    options = {"num_per_class": 1, "batch_size": 4, "augmentation": "crop"}
    bends = [with_gradients(0.5), with_gradients(0.25, "syn_grad_per_example")]
    losses = {}
    for bend in (None, bends):
        recipe = methods.dsa(digits_task(), bend=bend, **options)
        initial = recipe.initial_fn(KEY, digits)
        batch = recipe.sampler(KEY, 0, recipe.source_fn(digits))
        state = recipe.method.init(KEY, initial)
        _, info = recipe.method.step(KEY, state, batch)
        losses[bend is None] = float(info.loss), dict(info.metrics)
    # One picture of a class: its gradient is that of the class, so both add the same.
    plain, (bent, metrics) = losses[True][0], losses[False]
    assert float(metrics["matching_loss"]) == plain
    assert bent > 1.01 * plain


def toy(seed=0):
    """A linear softmax classifier, a batch of each class, a set with a rate."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(rng.normal(size=shape))
    y = jnp.eye(NUM_CLASSES)
    kernel = normal(NUM_FEATURES, NUM_CLASSES)
    net = dj.nets.from_functions(
        lambda key, shape: {"kernel": kernel}, lambda p, x: x @ p["kernel"]
    )
    spec = dj.data.DataSpec.of((NUM_FEATURES,), NUM_CLASSES)
    batch = base.Examples(
        normal(NUM_CLASSES, 5, NUM_FEATURES), jnp.repeat(y[:, None], 5, axis=1)
    )
    x = normal(2 * NUM_CLASSES, NUM_FEATURES)
    synthetic = base.Synthetic(
        x, jnp.repeat(y, 2, axis=0), learning_rate=jnp.asarray(0.1)
    )
    return dj.tasks.classification(net, spec), batch, synthetic


@pytest.mark.parametrize("is_collective", [False, True])
@pytest.mark.parametrize("probe", ["syn_grad", "syn_grad_per_example"])
def test_what_is_added_is_differentiated(is_collective, probe, x64):
    task, batch, synthetic = toy()
    objective = objectives.gradient_matching(
        task, is_collective=is_collective, probes=[probe]
    )
    bent = transforms.bend(objective, with_gradients(0.3, probe))
    inner = bent.init(KEY, synthetic)

    def loss(x):
        return bent.loss(synthetic._replace(x=x), KEY, inner, batch)[0]

    test_util.check_grads(loss, (synthetic.x,), 1, modes="rev", rtol=1e-5)


def test_the_size_of_the_gradients_of_every_step_is_differentiated(x64):
    task, batch, synthetic = toy()
    del batch
    stacked = lambda scale: {"kernel": scale * jnp.ones((2, NUM_FEATURES, NUM_CLASSES))}
    segment = base.Segment(stacked(0.1), stacked(0.2))
    objective = objectives.trajectory_matching(task, num_steps=3, probes=["syn_grad"])
    bent = transforms.bend(objective, with_gradients(0.3))

    def loss(x):
        return bent.loss(synthetic._replace(x=x), KEY, {}, segment)[0]

    test_util.check_grads(loss, (synthetic.x,), 1, modes="rev", rtol=1e-5)


def test_the_gradients_of_a_window_are_those_of_training_by_hand(x64):
    task, batch, synthetic = toy()
    flat = base.Examples(*(leaf.reshape(15, -1) for leaf in batch[:2]))
    objective = objectives.unrolled_training(
        task, num_steps=4, window=2, optimizer=optax.sgd(0.1), probes=["syn_grad"]
    )
    _, aux = objective.loss(synthetic, KEY, {}, flat)
    found = aux.probes["syn_grad"]["kernel"]
    assert found.shape == (1, 2, NUM_FEATURES, NUM_CLASSES)
    x, y = np.asarray(synthetic.x), np.asarray(synthetic.y)
    w = np.asarray(task.init(KEY, None).params["kernel"])
    for number in range(4):
        p = np.exp(x @ w) / np.exp(x @ w).sum(1, keepdims=True)
        gradient = x.T @ (p - y) / len(x)
        if number >= 2:
            np.testing.assert_allclose(found[0, number - 2], gradient, rtol=1e-10)
        w = w - 0.1 * gradient


def test_a_gate_compares_the_loss_that_nothing_was_added_to():
    large = changed(lambda value, aux: value + 100.0)
    for bend, is_refused in ((large, False), (None, False)):
        method = dj.distill(
            transforms.bend(pull(), bend),
            decoder=dj.plain_decoder(),
            optimizer=optax.sgd(0.1),
        )
        gated = transforms.gate_steps(method, threshold=5.0)
        initial = base.Examples(SYNTHETIC.x, SYNTHETIC.y)
        _, info = gated.step(KEY, gated.init(KEY, initial), 1.0)
        assert bool(info.metrics["is_refused"]) is is_refused
        assert float(info.loss) == (104.0 if bend else 4.0)
    small = changed(lambda value, aux: 0.01 * value)  # And not what it became.
    method = dj.distill(
        transforms.bend(pull(), small),
        decoder=dj.plain_decoder(),
        optimizer=optax.sgd(0.1),
    )
    gated = transforms.gate_steps(method, threshold=3.0)
    _, info = gated.step(KEY, gated.init(KEY, initial), 1.0)
    assert bool(info.metrics["is_refused"])


def test_a_gate_refuses_what_was_added_where_it_is_not_finite():
    method = dj.distill(
        transforms.bend(pull(), changed(lambda value, aux: value + jnp.inf)),
        decoder=dj.plain_decoder(),
        optimizer=optax.sgd(0.1),
    )
    gated = transforms.gate_steps(method, threshold=5.0)
    initial = base.Examples(SYNTHETIC.x, SYNTHETIC.y)
    _, info = gated.step(KEY, gated.init(KEY, initial), 1.0)
    assert bool(info.metrics["is_refused"])
