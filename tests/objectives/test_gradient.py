# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradient matching against the original implementations and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import test_util

import distill_jax as dj
from distill_jax import base, errors, objectives
from distill_jax.objectives import class_gradients, distances, gradient
from distill_jax.training import pool as pools

DISTANCES = {"ours": "per_output_cosine", "mse": "mse", "cos": "whole_cosine"}
PARAMETERS = {"ours": "kernels", "mse": "all", "cos": "all"}


class Problem:
    """A stored problem: the task, one network, and both batches."""

    def __init__(self, arrays, dtype):
        params = {k: v for k, v in arrays.items() if k.startswith("params/")}
        params = dj.nets.load_flat(params, prefix="params/")
        self.params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
        num_outputs = arrays["params/dense/bias"].size
        real = arrays["real_images"]
        self.spec = dj.data.DataSpec(
            name="golden",
            shape=real.shape[2:],
            num_classes=num_outputs,
            class_names=tuple(map(str, range(num_outputs))),
            normalizer=None,
            fingerprint="",
        )
        width = arrays["params/conv0/bias"].size
        net = dj.nets.convnet(num_outputs, width=width)
        self.task = dj.tasks.classification(net, self.spec)
        y = jnp.eye(num_outputs, dtype=dtype)[: real.shape[0]]
        self.batch = base.Examples(
            x=jnp.asarray(real, dtype), y=jnp.repeat(y[:, None], real.shape[1], axis=1)
        )
        self.x_syn = jnp.asarray(arrays["syn_images"], dtype)
        self.y_syn = jnp.repeat(y, int(arrays["ipc"]), axis=0)

    def inner(self, age=0, generation=0):
        variables = base.Variables(self.params, {})
        return pools.Pool(
            variables=jax.tree.map(lambda leaf: leaf[None], variables),
            opt=(),
            age=jnp.array([age]),
            generation=jnp.array([generation]),
            active=jnp.array([0]),
        )

    def loss_fn(self, metric, **options):
        objective = objectives.gradient_matching(
            self.task,
            distance=DISTANCES[metric],
            parameters=PARAMETERS[metric],
            **options,
        )
        fresh = self.inner()

        def loss(x, inner=fresh):
            synthetic = base.Synthetic(x, self.y_syn)
            return objective.loss(synthetic, jax.random.key(0), inner, self.batch)[0]

        return loss


@pytest.mark.parametrize("metric", sorted(DISTANCES))
@pytest.mark.parametrize("name", ["16x16x3_allclasses", "16x16x3_zero_rows"])
def test_loss_and_gradient_equal_the_original(name, metric, golden, assert_near, x64):
    arrays = golden(f"gradient_match_{name}")
    problem = Problem(arrays, jnp.float64)
    loss = problem.loss_fn(metric)
    value, grad = jax.jit(jax.value_and_grad(loss))(problem.x_syn)
    assert_near(value, arrays[f"value_{metric}"], 1e-9)
    assert_near(grad, arrays[f"syn_grad_{metric}"], 1e-9)


@pytest.mark.parametrize("name", ["28x28x1_class0", "32x32x3_class0"])
def test_one_class_alone_equals_the_original(name, golden, assert_near, x64):
    arrays = golden(f"gradient_match_{name}")
    problem = Problem(arrays, jnp.float64)
    variables = base.Variables(problem.params, {})
    key = jax.random.key(0)

    def gradients(x, y):
        examples = base.Examples(x[None], y[None])
        return class_gradients.of_classes(problem.task, key, variables, examples)

    g_real = jax.jit(gradients)(problem.batch.x[0], problem.batch.y[0])
    for name_flat, value in arrays.items():
        if name_flat.startswith("real_param_grad/"):
            _, layer, kind = name_flat.split("/")
            assert_near(g_real[layer][kind][0], value, 1e-9)

    def distance(g_syn, metric):
        chosen = [
            distances.select(tree, PARAMETERS[metric]) for tree in (g_real, g_syn)
        ]
        pairs = [[leaf[0] for leaf in leaves] for leaves in chosen]
        return distances.gradient_distance(DISTANCES[metric], *pairs)

    @jax.jit
    def values_and_grads(x):  # Of all metrics, through the network but once.
        g_syn, pull = jax.vjp(lambda x: gradients(x, problem.y_syn), x)
        found = [jax.value_and_grad(distance)(g_syn, name) for name in DISTANCES]
        values, cotangents = zip(*found, strict=True)
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cotangents)
        return values, jax.vmap(lambda cotangent: pull(cotangent)[0])(stacked)

    values, grads = values_and_grads(problem.x_syn)
    for metric, value, grad in zip(DISTANCES, values, grads, strict=True):
        assert_near(value, arrays[f"value_{metric}"], 1e-9)
        assert_near(grad, arrays[f"syn_grad_{metric}"], 1e-9)


def test_loss_and_gradient_equal_the_original_in_float32(golden, assert_near):
    arrays = golden("gradient_match_16x16x3_zero_rows")
    problem = Problem(arrays, jnp.float32)
    loss = problem.loss_fn("ours")
    value, grad = jax.jit(jax.value_and_grad(loss))(problem.x_syn)
    assert_near(value, arrays["value_ours"], 1e-4)
    assert_near(grad, arrays["syn_grad_ours"], 1e-4)


@pytest.mark.parametrize("metric", sorted(DISTANCES))
@pytest.mark.parametrize("name", ["dcc_16x16x3", "dcc_28x28x1"])
def test_collective_and_warm_up_equal_the_original(
    name, metric, golden, assert_near, x64
):
    arrays = golden(name)
    problem = Problem(arrays, jnp.float64)
    options = {"is_collective": True, "warm_up": (250, 10), "num_matches": 50}
    phases = {
        "classwise": problem.inner(age=9, generation=249),
        "collective": problem.inner(age=10, generation=0),
    }
    value_and_grad = jax.jit(jax.value_and_grad(problem.loss_fn(metric, **options)))
    for phase, inner in phases.items():
        value, grad = value_and_grad(problem.x_syn, inner)
        assert_near(value, arrays[f"value_{phase}_{metric}"], 1e-9)
        assert_near(grad, arrays[f"syn_grad_{phase}_{metric}"], 1e-9)


def test_the_warm_up_ends_with_its_last_network(golden, assert_near, x64):
    problem = Problem(golden("dcc_28x28x1"), jnp.float64)
    collective = problem.loss_fn("ours", is_collective=True)(problem.x_syn)
    loss = problem.loss_fn(
        "ours", is_collective=True, warm_up=(250, 10), num_matches=50
    )
    for age, generation in [(0, 250), (10, 249), (30, 400)]:
        found = jax.jit(loss)(problem.x_syn, problem.inner(age, generation))
        assert_near(found, collective, 1e-12)


def toy(num_classes=3, num_features=4, num_per_class=2, seed=0, weight=False):
    """A linear softmax classifier: its gradients are known in closed form."""
    rng = np.random.default_rng(seed)
    x_real = rng.normal(size=(num_classes, 5, num_features))
    y_real = np.repeat(np.eye(num_classes)[:, None], 5, axis=1)
    x_syn = rng.normal(size=(num_classes * num_per_class, num_features))
    y_syn = np.repeat(np.eye(num_classes), num_per_class, axis=0)
    w = rng.normal(size=(num_features, num_classes))
    net = dj.nets.from_functions(
        lambda key, shape: {"kernel": jnp.asarray(w)}, lambda p, x: x @ p["kernel"]
    )
    spec = dj.data.DataSpec(
        "toy", (num_features,), num_classes, ("a",) * num_classes, None, ""
    )
    task = dj.tasks.classification(net, spec)
    real_weight = rng.uniform(0.5, 2, size=(num_classes, 5)) if weight else None
    syn_weight = rng.uniform(0.5, 2, size=len(x_syn)) if weight else None
    batch = base.Examples(x_real, y_real, real_weight)
    return task, batch, base.Synthetic(jnp.asarray(x_syn), y_syn, syn_weight), w


def softmax_gradient(x, y, w, weight):
    """d/dW of the weighted mean cross-entropy of a linear classifier, in numpy."""
    z = x @ w
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return (x * weight[:, None]).T @ (p - y) / weight.sum()


def cosine(a, b):
    sizes = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    return np.sum(1 - (a * b).sum(0) / (sizes + 1e-6))


@pytest.mark.parametrize("is_collective", [False, True])
@pytest.mark.parametrize("weight", [False, True])
def test_value_by_hand_for_a_linear_classifier(is_collective, weight, assert_near, x64):
    task, batch, synthetic, w = toy(weight=weight)
    w_real = np.ones((3, 5)) if batch.weight is None else batch.weight
    w_syn = np.ones(6) if synthetic.weight is None else synthetic.weight
    w_syn = w_syn.reshape(3, 2)
    x_syn, y_syn = (
        np.asarray(synthetic.x).reshape(3, 2, 4),
        synthetic.y.reshape(3, 2, 3),
    )
    g_real = [softmax_gradient(batch.x[c], batch.y[c], w, w_real[c]) for c in range(3)]
    g_syn = [softmax_gradient(x_syn[c], y_syn[c], w, w_syn[c]) for c in range(3)]
    if is_collective:
        all_syn = softmax_gradient(
            x_syn.reshape(6, 4), y_syn.reshape(6, 3), w, w_syn.ravel()
        )
        expected = cosine(np.mean(g_real, axis=0), all_syn)
    else:
        expected = sum(cosine(r, s) for r, s in zip(g_real, g_syn, strict=True))
    objective = objectives.gradient_matching(task, is_collective=is_collective)
    inner = objective.init(jax.random.key(0), synthetic)
    value, aux = objective.loss(synthetic, jax.random.key(1), inner, batch)
    assert_near(value, expected, 1e-10)
    probe = aux.probes["syn_grad"]["kernel"]
    matched = [all_syn] if is_collective else g_syn
    assert probe.shape == (1, len(matched), 4, 3)
    assert_near(probe[0], np.stack(matched), 1e-10)


def test_dc_with_one_class_equals_dcc(x64):
    task, batch, synthetic, _ = toy()
    one = slice(0, 1)
    # One class of examples, three outputs: the two forms are the same then.
    by_class = base.Examples(synthetic.x.reshape(3, 2, 4)[one], batch.y[one, :2])
    real = jax.tree.map(lambda leaf: leaf[one], batch)
    variables = task.init(jax.random.key(0), None)
    key = jax.random.key(0)
    g_real = class_gradients.of_classes(task, key, variables, real)
    g_syn = class_gradients.of_classes(task, key, variables, by_class)
    each = jax.vmap(
        lambda r, s: distances.gradient_distance("per_output_cosine", r, s)
    )(g_real, g_syn)
    mean = [class_gradients.mean_over_classes(tree, None) for tree in (g_real, g_syn)]
    whole = distances.gradient_distance("per_output_cosine", *mean)
    np.testing.assert_allclose(each.sum(), whole, rtol=1e-12)


def test_collective_matching_is_not_the_sum_of_class_distances(x64):
    task, batch, synthetic, _ = toy()
    key, values = jax.random.key(0), []
    for is_collective in (False, True):
        objective = objectives.gradient_matching(task, is_collective=is_collective)
        inner = objective.init(key, synthetic)
        values.append(float(objective.loss(synthetic, key, inner, batch)[0]))
    assert abs(values[0] - values[1]) > 0.1


@pytest.mark.parametrize("distance", ["per_output_cosine", "whole_cosine", "mse"])
@pytest.mark.parametrize("is_collective", [False, True])
def test_gradient_equals_finite_differences(distance, is_collective, x64):
    task, batch, synthetic, _ = toy(weight=True)
    objective = objectives.gradient_matching(
        task, distance=distance, is_collective=is_collective
    )
    inner = objective.init(jax.random.key(0), synthetic)

    def loss(x, real):
        now = batch._replace(x=real)
        return objective.loss(synthetic._replace(x=x), jax.random.key(1), inner, now)[0]

    # The real side is differentiable too: causal selection needs it.
    test_util.check_grads(
        loss, (synthetic.x, jnp.asarray(batch.x)), 1, modes="rev", rtol=1e-5
    )


def test_the_derivative_in_the_weights_of_real_examples_is_not_zero(x64):
    task, batch, synthetic, _ = toy(weight=True)
    objective = objectives.gradient_matching(task)
    inner = objective.init(jax.random.key(0), synthetic)

    @jax.jit
    def loss(weight):
        now = batch._replace(weight=weight)
        return objective.loss(synthetic, jax.random.key(1), inner, now)[0]

    test_util.check_grads(loss, (jnp.asarray(batch.weight),), 1, modes="rev")
    assert np.abs(jax.grad(loss)(jnp.asarray(batch.weight))).min() > 0


def test_a_dead_unit_gives_a_finite_gradient(x64):
    def apply(params, x):
        hidden = jax.nn.relu(x @ params["in"]["kernel"] - jnp.array([[0.0, 1e6, 0.0]]))
        return hidden @ params["out"]["kernel"]

    rng = np.random.default_rng(0)
    params = {
        "in": {"kernel": jnp.asarray(rng.normal(size=(4, 3)))},
        "out": {"kernel": jnp.asarray(rng.normal(size=(3, 3)))},
    }
    task, batch, synthetic, _ = toy()
    net = dj.nets.from_functions(lambda key, shape: params, apply)
    spec = dj.data.DataSpec("toy", (4,), 3, ("a", "b", "c"), None, "")
    task = dj.tasks.classification(net, spec)
    objective = objectives.gradient_matching(task)
    inner = objective.init(jax.random.key(0), synthetic)

    def loss(x):
        now = synthetic._replace(x=x)
        return objective.loss(now, jax.random.key(1), inner, batch)[0]

    value, grad = jax.jit(jax.value_and_grad(loss))(synthetic.x)
    assert np.isfinite(value)
    assert np.isfinite(grad).all()
    assert np.abs(grad).max() > 0


def test_the_probe_of_examples_averages_to_that_of_classes(x64):
    task, batch, synthetic, _ = toy()
    objective = objectives.gradient_matching(task, probes=["syn_grad_per_example"])
    inner = objective.init(jax.random.key(0), synthetic)
    _, aux = objective.loss(synthetic, jax.random.key(1), inner, batch)
    each = aux.probes["syn_grad_per_example"]["kernel"]
    assert each.shape == (1, 6, 4, 3)
    np.testing.assert_allclose(
        each.reshape(1, 3, 2, 4, 3).mean(2),
        aux.probes["syn_grad"]["kernel"],
        rtol=1e-10,
        atol=1e-12,
    )


def test_a_part_of_each_class_is_matched_and_every_row_has_its_turn(x64):
    task, batch, synthetic, _ = toy()
    alone = objectives.gradient_matching(task)
    part = objectives.gradient_matching(task, num_matched=1)
    inner = part.init(jax.random.key(0), synthetic)
    reach = lambda x, key: part.loss(synthetic._replace(x=x), key, inner, batch)[0]
    touched = []
    for number in range(8):
        key = jax.random.key(number)
        gradient_of = jax.grad(reach)(synthetic.x, key)
        rows = np.flatnonzero(np.abs(gradient_of).max(axis=1) > 0)
        assert (rows // 2).tolist() == [0, 1, 2]  # One of the two of each class.
        touched.extend(rows)
        chosen = jax.tree.map(lambda leaf, rows=rows: leaf[rows], synthetic)
        expected = alone.loss(chosen, key, inner, batch)[0]
        np.testing.assert_allclose(reach(synthetic.x, key), expected, rtol=1e-12)
    assert set(touched) == set(range(6))
    whole = objectives.gradient_matching(task, num_matched=2)
    np.testing.assert_array_equal(
        whole.loss(synthetic, jax.random.key(1), inner, batch)[0],
        alone.loss(synthetic, jax.random.key(1), inner, batch)[0],
    )
    with pytest.raises(errors.InputError, match="num_matched"):
        objectives.gradient_matching(task, num_matched=0)


def test_mixing_of_the_network_s_training_has_a_probability():
    task, batch, synthetic, _ = toy()
    first = base.Examples(jnp.asarray(batch.x[:, 0]), jnp.asarray(batch.y[:, 0]))
    pair = base.Pair(batch, first)
    ends, keys = {}, jax.random.split(jax.random.key(0), 8)
    for probability in (0.0, 0.5, 1.0):
        training = gradient.NetworkTraining(
            optax.sgd(0.1), mixing="mixup", mixing_probability=probability, on="real"
        )
        objective = objectives.gradient_matching(task, training=training, num_matches=9)
        inner = objective.init(jax.random.key(0), synthetic)
        advance = jax.vmap(
            lambda key, run=objective.advance, at=inner: run(key, at, synthetic, pair)
        )
        ends[probability] = np.asarray(advance(keys).variables.params["kernel"][:, 0])
    plain, half, always = (ends[probability] for probability in (0.0, 0.5, 1.0))
    assert (plain == plain[0]).all()
    is_plain = np.abs(half - plain).max(axis=(1, 2)) < 1e-6
    assert 0 < is_plain.sum() < 8
    assert (
        np.abs(always - plain).max(axis=(1, 2)) > 1e-6
    ).sum() >= 5  # A permutation may be the identity.


def test_the_network_is_matched_trained_and_replaced_in_turn(x64):
    task, batch, synthetic, w = toy()
    objective = objectives.gradient_matching(
        task,
        num_matches=3,
        training=gradient.NetworkTraining(optax.sgd(0.1), num_epochs=2),
    )
    inner = objective.init(jax.random.key(0), synthetic)
    expected = [w]
    x, y = np.asarray(synthetic.x), synthetic.y
    for _ in range(4):
        last = expected[-1]
        last = last - 0.1 * softmax_gradient(x, y, last, np.ones(6))
        expected.append(last)
    found, ages, generations = [], [], []
    for number in range(4):
        found.append(np.asarray(inner.variables.params["kernel"][0]))
        ages.append(int(inner.age[0]))
        generations.append(int(inner.generation[0]))
        inner = objective.advance(jax.random.key(number), inner, synthetic, batch)
    assert ages == [0, 1, 2, 0]
    assert generations == [0, 0, 0, 1]
    for have, want in zip(
        found, [expected[0], expected[2], expected[4], w], strict=True
    ):
        np.testing.assert_allclose(have, want, rtol=1e-10)


def test_training_on_real_examples_keeps_its_momentum(x64):
    task, batch, synthetic, w = toy()
    objective = objectives.gradient_matching(
        task,
        num_matches=5,
        training=gradient.NetworkTraining(optax.sgd(0.1, momentum=0.9), on="real"),
    )
    inner = objective.init(jax.random.key(0), synthetic)
    x, y = batch.x.reshape(15, 4), batch.y.reshape(15, 3)
    pair = base.Pair(batch, base.Examples(jnp.asarray(x), jnp.asarray(y)))
    velocity, expected = np.zeros_like(w), w
    for number in range(3):
        velocity = 0.9 * velocity + softmax_gradient(x, y, expected, np.ones(15))
        expected = expected - 0.1 * velocity
        inner = objective.advance(jax.random.key(number), inner, synthetic, pair)
        np.testing.assert_allclose(
            inner.variables.params["kernel"][0], expected, rtol=1e-10
        )
    value, _ = objective.loss(synthetic, jax.random.key(0), inner, pair)
    alone, _ = objective.loss(synthetic, jax.random.key(0), inner, batch)
    assert float(value) == float(alone)


def test_batch_norm_is_matched_with_settled_statistics():
    data = dj.data.load("digits")
    net = dj.nets.convnet(10, width=4, depth=1, norm="batch")
    task = dj.tasks.classification(net, data.spec)
    objective = objectives.gradient_matching(task)
    batch = dj.samplers.per_class(4)(jax.random.key(0), 0, dj.data.to_source(data))
    synthetic = base.Synthetic(batch.x[:, 0], batch.y[:, 0])
    inner = objective.init(jax.random.key(1), synthetic)
    value, _ = objective.loss(synthetic, jax.random.key(2), inner, batch)
    variables = jax.tree.map(lambda leaf: leaf[0], inner.variables)
    settled = class_gradients.settle(task, jax.random.key(3), variables, batch)
    moved = settled.stats["batch_stats"]["norm0"]["mean"]
    assert np.abs(moved - variables.stats["batch_stats"]["norm0"]["mean"]).max() > 0
    assert np.isfinite(float(value))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": "mes"}, 'no distance "mes".*Did you mean "mse"'),
        ({"num_matches": 0}, "`num_matches` must be a whole number, at least 1"),
        ({"num_networks": 0}, "`num_networks` must be a whole number, at least 1"),
        ({"warm_up": (-1, 2)}, "at least 0 each"),
        (
            {"training": gradient.NetworkTraining(num_epochs=0)},
            "`num_epochs` must be a whole number, at least 1",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    task, *_ = toy()
    with pytest.raises(errors.InputError, match=message):
        objectives.gradient_matching(task, **options)


def test_a_batch_that_lacks_a_class_is_refused():
    task, batch, synthetic, _ = toy()
    objective = objectives.gradient_matching(task)
    inner = objective.init(jax.random.key(0), synthetic)
    short = jax.tree.map(lambda leaf: leaf[:2], batch)
    with pytest.raises(errors.InputError, match="each of the 3 classes"):
        objective.loss(synthetic, jax.random.key(1), inner, short)
    flat = jax.tree.map(lambda leaf: leaf.reshape(15, -1), batch)
    with pytest.raises(errors.InputError, match=r"shape \(15, 3\)"):
        objective.loss(synthetic, jax.random.key(1), inner, flat)


def test_parameters_that_do_not_exist_are_refused():
    task, batch, synthetic, _ = toy()
    objective = objectives.gradient_matching(task, parameters="convolutions")
    inner = objective.init(jax.random.key(0), synthetic)
    with pytest.raises(errors.InputError, match="no convolutions"):
        objective.loss(synthetic, jax.random.key(1), inner, batch)


@pytest.mark.parametrize("age", [0, 1])
def test_a_collective_gradient_is_told_as_one_in_its_warm_up_too(age, x64):
    task, batch, synthetic, w = toy(weight=True)
    objective = objectives.gradient_matching(
        task, is_collective=True, warm_up=(1, 1), num_matches=3
    )
    inner = objective.init(jax.random.key(0), synthetic)
    inner = inner._replace(age=jnp.array([age], jnp.int32))
    _, aux = objective.loss(synthetic, jax.random.key(1), inner, batch)
    expected = softmax_gradient(
        np.asarray(synthetic.x), synthetic.y, w, synthetic.weight
    )
    np.testing.assert_allclose(
        aux.probes["syn_grad"]["kernel"], expected[None, None], rtol=1e-10
    )


def test_an_unknown_probe_is_refused():
    task, *_ = toy()
    with pytest.raises(errors.InputError, match=r'no probe "syn_gard".*"syn_grad"'):
        objectives.gradient_matching(task, probes=["syn_gard"])


def test_the_former_option_of_the_probe_of_examples_is_taken():
    task, *_ = toy()
    with pytest.warns(DeprecationWarning, match="`probes`"):
        objective = objectives.gradient_matching(task, has_example_probe=True)
    assert objective.probes == ("syn_grad", "syn_grad_per_example")
