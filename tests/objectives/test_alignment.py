# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Feature alignment by hand, in numpy and by finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

import distill_jax as dj
from distill_jax import base, errors, objectives
from distill_jax.objectives import alignment
from distill_jax.training import dynamic

KEY = jax.random.key(0)
NUM_CLASSES, NUM_REAL, NUM_SYN = 3, 4, 2
SPEC = dj.data.DataSpec(
    name="toy",
    shape=(2, 2),
    num_classes=NUM_CLASSES,
    class_names=("a", "b", "c"),
    normalizer=None,
    fingerprint="",
)


def apply(params, x):
    """Two layers, the first with an axis more than it needs."""
    hidden = jnp.tanh(jnp.einsum("bij,ijkl->bkl", x, params["first"]))
    last = jnp.tanh(jnp.einsum("bkl,kld->bd", hidden, params["second"]))
    return {"block0": hidden, "block1": last, "penultimate": last}, last


def make_net():
    """Two layers and a linear readout, from functions."""

    def init(key, shape):
        first, second, third = jax.random.split(key, 3)
        params = {
            "first": jax.random.normal(first, (*shape, 3, 2)),
            "second": jax.random.normal(second, (3, 2, 5)),
            "readout": jax.random.normal(third, (5, NUM_CLASSES)),
        }
        return base.Variables(params, {})

    return dj.nets.Net(
        init=init,
        apply=lambda v, x: apply(v.params, x)[1] @ v.params["readout"],
        apply_train=lambda v, key, x: (apply(v.params, x)[1] @ v.params["readout"], {}),
        features=lambda v, x: apply(v.params, x)[0],
        description={"name": "toy"},
    )


def problem(dtype=jnp.float64):
    """A task, a synthetic set with weights, and a weighted batch per class."""
    rng = np.random.default_rng(0)
    task = dj.tasks.classification(make_net(), SPEC)
    array = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
    synthetic = base.Synthetic(
        x=array(NUM_CLASSES * NUM_SYN, 2, 2),
        y=jnp.repeat(jnp.eye(NUM_CLASSES, dtype=dtype), NUM_SYN, axis=0),
        weight=jnp.asarray(rng.uniform(0.5, 2.0, NUM_CLASSES * NUM_SYN), dtype),
    )
    y = jnp.repeat(jnp.eye(NUM_CLASSES, dtype=dtype)[:, None], NUM_REAL, axis=1)
    weight = jnp.asarray(rng.uniform(0.5, 2.0, (NUM_CLASSES, NUM_REAL)), dtype)
    batch = base.Examples(
        array(NUM_CLASSES, NUM_REAL, 2, 2), y, weight.at[1, 2:].set(0)
    )
    return task, synthetic, batch


def loss_in_numpy(params, synthetic, batch, shares, discrimination):
    """The formula of the module, example by example."""

    def layers(x):
        hidden = np.tanh(np.einsum("ij,ijkl->kl", x, params["first"]))
        last = np.tanh(np.einsum("kl,kld->d", hidden, params["second"]))
        return {"block0": hidden.ravel(), "block1": last, "penultimate": last}

    def mean(x, weight, name):
        rows = [w * layers(one)[name] for one, w in zip(x, weight, strict=True)]
        return sum(rows) / sum(weight)

    x_syn = np.reshape(synthetic.x, (NUM_CLASSES, NUM_SYN, 2, 2))
    w_syn = np.reshape(synthetic.weight, (NUM_CLASSES, NUM_SYN))
    x_real, w_real = np.asarray(batch.x), np.asarray(batch.weight)
    distance, entropy = 0.0, 0.0
    for name, share in shares.items():
        for c in range(NUM_CLASSES):
            gap = mean(x_real[c], w_real[c], name) - mean(x_syn[c], w_syn[c], name)
            distance += share * np.sum(gap**2)
    centres = [mean(x_syn[c], w_syn[c], "penultimate") for c in range(NUM_CLASSES)]
    for c in range(NUM_CLASSES):
        for x, w in zip(x_real[c], w_real[c], strict=True):
            logits = np.array([layers(x)["penultimate"] @ centre for centre in centres])
            entropy += w * (np.log(np.exp(logits).sum()) - logits[c])
    return distance + discrimination * entropy, distance, entropy


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        (None, {"block0": 0.1, "block1": 1.0, "penultimate": 2.0}),
        ({"block0": 0.7}, {"block0": 0.7}),
        ({"penultimate": 1.5, "block1": 0.0}, {"penultimate": 1.5}),
    ],
)
def test_the_loss_is_that_of_the_formula_in_numpy(given, shares, x64):
    task, synthetic, batch = problem()
    objective = objectives.feature_alignment(
        task, layer_weights=given, discrimination=0.3
    )
    inner = objective.init(KEY, synthetic)
    params = jax.tree.map(np.asarray, inner.variables.params)
    value, aux = objective.loss(synthetic, KEY, inner, batch)
    expected = loss_in_numpy(params, synthetic, batch, shares, 0.3)
    actual = [value, aux.metrics["alignment"], aux.metrics["discrimination"]]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_the_gradient_is_that_of_finite_differences(x64):
    task, synthetic, batch = problem()
    objective = objectives.feature_alignment(task, discrimination=0.3)
    inner = objective.init(KEY, synthetic)

    def loss(x, weight):
        real = batch._replace(weight=weight)
        return objective.loss(synthetic._replace(x=x), KEY, inner, real)[0]

    test_util.check_grads(
        loss, (synthetic.x, batch.weight + 0.1), order=1, modes=["rev"], rtol=1e-6
    )


def test_blocks_are_told_apart_by_number_and_the_last_counts_most():
    names = ["penultimate", *(f"block{number}" for number in (10, 2, 9, 0))]
    assert dict(alignment._shares(None, names)) == {
        "block0": 0.1,
        "block2": 0.1,
        "block9": 0.1,
        "block10": 1.0,
        "penultimate": 2.0,
    }
    assert dict(alignment._shares(None, ["penultimate"])) == {"penultimate": 2.0}


def test_the_network_learns_from_the_synthetic_set_until_its_accuracy_moves():
    task, synthetic, batch = problem(jnp.float32)
    limits = dynamic.Limits(settled_spread=0.0, moved_spread=0.05, max_epochs=300)
    objective = objectives.feature_alignment(task, learning_rate=0.1, limits=limits)
    inner = objective.init(KEY, synthetic)
    # The real examples are the synthetic ones, so that learning these is to know those.
    batch = base.Examples(
        synthetic.x.reshape(NUM_CLASSES, NUM_SYN, 2, 2),
        synthetic.y.reshape(NUM_CLASSES, NUM_SYN, -1),
    )
    after = objective.advance(jax.random.key(1), inner, synthetic, batch)

    def measure(variables):
        logits = task.predict(variables, synthetic.x, None)
        return float(jnp.mean(logits.argmax(1) == synthetic.y.argmax(1)))

    assert 10 <= int(after.num_epochs) < 300
    assert measure(after.variables) > measure(inner.variables) + 0.05
    np.testing.assert_allclose(after.accuracy, measure(inner.variables), rtol=1e-6)
    _, aux = objective.loss(synthetic, KEY, after, batch)
    np.testing.assert_allclose(aux.metrics["real_accuracy"], after.accuracy)
    assert int(aux.metrics["num_epochs"]) == int(after.num_epochs)


def test_a_settled_network_is_replaced_by_a_fresh_one():
    task, synthetic, batch = problem(jnp.float32)
    limits = dynamic.Limits(2.0, 0.0, max_epochs=1, window_size=2)
    objective = objectives.feature_alignment(task, limits=limits)
    step = jax.jit(objective.advance)
    inner = objective.init(KEY, synthetic)
    generations = []
    for number in range(4):
        last = inner
        inner = step(jax.random.key(number), inner, synthetic, batch)
        generations.append(int(inner.generation))
    assert generations == [0, 1, 1, 2]
    gap = last.variables.params["first"] - inner.variables.params["first"]
    assert float(jnp.abs(gap).max()) > 0.1


def test_the_accuracy_is_measured_on_the_first_examples_by_their_weights():
    task, _, batch = problem(jnp.float32)
    variables = task.init(KEY, None)
    hits = task.predict(variables, batch.x.reshape(-1, 2, 2), None).argmax(1)
    hits = np.asarray(hits).reshape(NUM_CLASSES, NUM_REAL) == np.arange(3)[:, None]
    weight = np.asarray(batch.weight)
    queries = alignment._queries(batch, 3)
    assert queries.x.shape == (NUM_CLASSES * 3, 2, 2)
    expected = (weight * hits)[:, :3].sum() / weight[:, :3].sum()
    assert 0 < expected < 1
    actual = alignment._accuracy(task, variables, queries)
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_weights": {"block0": -1.0}}, "weight of `block0` must be 0 or more"),
        ({"discrimination": float("nan")}, "weight of `discrimination` must be"),
        ({"batch_size": 0}, "`batch_size` must be a whole number, at least 1"),
        ({"num_queries": 0}, "`num_queries` must be a whole number, at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    task = problem(jnp.float32)[0]
    with pytest.raises(errors.InputError, match=message):
        objectives.feature_alignment(task, **options)


def test_tasks_that_cannot_be_aligned_are_refused():
    task = problem(jnp.float32)[0]
    with pytest.raises(errors.InputError, match="needs a task with features"):
        objectives.feature_alignment(task._replace(features=None))
    with pytest.raises(errors.InputError, match="by the centres of classes, but the"):
        objectives.feature_alignment(task._replace(targets="values"))


def test_an_unknown_layer_and_a_batch_without_classes_are_refused():
    task, synthetic, batch = problem(jnp.float32)
    objective = objectives.feature_alignment(task, layer_weights={"blok1": 1.0})
    inner = objective.init(KEY, synthetic)
    with pytest.raises(errors.InputError, match='Did you mean "block1"'):
        objective.loss(synthetic, KEY, inner, batch)
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batch)
    with pytest.raises(errors.InputError, match=r"use `samplers\.per_class`"):
        objective.loss(synthetic, KEY, inner, flat)
