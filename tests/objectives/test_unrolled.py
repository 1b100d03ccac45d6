# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Unrolled distillation against finite differences and against its own other forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, errors, objectives
from distill_jax.inner import optimizers, unroll
from distill_jax.training import minibatches

KEY = jax.random.key(3)


def problem(net="mlp", dtype=jnp.float64, num_rows=6, targets="probabilities"):
    """A small network, synthetic and real examples of 8x8 pictures in 3 classes."""
    net = {
        "mlp": lambda: dj.nets.from_functions(_init, _apply),
        "convnet": lambda: dj.nets.convnet(3, width=4, depth=1),
        "batch": lambda: dj.nets.convnet(3, width=4, depth=1, norm="batch"),
    }[net]()
    task = dj.tasks.classification(net, _spec(), targets=targets)
    rng = np.random.default_rng(0)
    put = lambda array: jnp.asarray(array, dtype)
    x = put(rng.normal(size=(num_rows, 8, 8, 1)))
    y = put(np.eye(3)[np.arange(num_rows) * 3 // num_rows])
    real = base.Examples(
        put(rng.normal(size=(40, 8, 8, 1))),
        put(np.eye(3)[rng.integers(0, 3, 40)]),
        put(rng.uniform(0.5, 1.5, 40)),
    )
    return task, base.Synthetic(x, y), real


def _spec():
    return dj.data.DataSpec(
        name="toy",
        shape=(8, 8, 1),
        num_classes=3,
        class_names=("a", "b", "c"),
        normalizer=None,
        fingerprint="",
    )


def _init(key, shape):
    """A smooth network: finite differences need no luck with kinks."""
    del shape
    first, last = jax.random.split(key)
    return {
        "a": jax.random.normal(first, (64, 5), float) / 8,
        "b": jax.random.normal(last, (5, 3), float),
    }


def _apply(params, x):
    return jnp.tanh(x.reshape(len(x), -1) @ params["a"]) @ params["b"]


def value_and_gradient(task, synthetic, real, **options):
    objective = objectives.unrolled_training(task, **options)

    def loss(learned):
        return objective.loss(synthetic._replace(**learned), KEY, {}, real)[0]

    learned = {"x": synthetic.x, "y": synthetic.y}
    if synthetic.learning_rate is not None:
        learned["learning_rate"] = synthetic.learning_rate
    fn = jax.jit(jax.value_and_grad(loss))
    return loss, learned, *fn(learned)


def gap(one, other):
    """The distance of two trees, over the size of the second."""
    difference = jax.tree.map(jnp.subtract, one, other)
    return float(optax.tree.norm(difference) / optax.tree.norm(other))


OPTIMIZERS = {
    "sgd": optax.sgd(0.3),
    "momentum": optax.sgd(0.1, momentum=0.9),
    "adam": optimizers.adam(0.05),
}


@pytest.mark.parametrize(
    ("optimizer", "targets"),
    [("sgd", "centred"), ("momentum", "probabilities"), ("adam", "probabilities")],
)
def test_hypergradient_equals_central_differences(optimizer, targets, x64):
    task, synthetic, real = problem(targets=targets)
    loss, learned, _, grads = value_and_gradient(
        task, synthetic, real, num_steps=5, optimizer=OPTIMIZERS[optimizer]
    )
    compiled = jax.jit(loss)
    for seed in range(3):
        keys = iter(jax.random.split(jax.random.key(seed), 2))
        way = jax.tree.map(
            lambda leaf: jax.random.normal(next(keys), leaf.shape), learned
        )
        at = lambda t: compiled(
            jax.tree.map(lambda leaf, step: leaf + t * step, learned, way)
        )
        difference = lambda h: (at(h) - at(-h)) / (2 * h)
        slope = (4 * difference(1e-5) - difference(2e-5)) / 3  # to fourth order
        np.testing.assert_allclose(optax.tree.vdot(grads, way), slope, rtol=1e-6)


def test_the_learned_rate_gets_its_derivative(x64):
    task, synthetic, real = problem()
    synthetic = synthetic._replace(learning_rate=jnp.asarray(0.2))
    loss, learned, _, grads = value_and_gradient(
        task, synthetic, real, num_steps=6, optimizer=optax.sgd
    )
    at = jax.jit(lambda rate: loss({**learned, "learning_rate": rate}))
    slope = (at(0.2 + 1e-5) - at(0.2 - 1e-5)) / 2e-5
    np.testing.assert_allclose(grads["learning_rate"], slope, rtol=1e-6)
    # The rate of the steps before the window is held constant.
    _, _, _, some = value_and_gradient(
        task, synthetic, real, num_steps=6, window=2, optimizer=optax.sgd
    )
    assert abs(some["learning_rate"] / grads["learning_rate"] - 1) > 1e-3


@pytest.mark.parametrize("windows", ["last", "random"])
def test_a_window_of_the_whole_training_is_the_whole(windows, x64):
    task, synthetic, real = problem()
    options = {"num_steps": 5, "batch_size": 4}
    full = value_and_gradient(task, synthetic, real, **options)[2:]
    same = value_and_gradient(
        task, synthetic, real, window=5, windows=windows, **options
    )[2:]
    assert gap(same, full) < 1e-12


def test_truncation_changes_the_derivative_and_not_the_value(x64):
    task, synthetic, real = problem()
    options = {"num_steps": 6, "batch_size": 4, "optimizer": OPTIMIZERS["momentum"]}
    _, _, value, grads = value_and_gradient(task, synthetic, real, **options)
    gaps = []
    for window in (5, 3, 1):
        _, _, short, some = value_and_gradient(
            task, synthetic, real, window=window, **options
        )
        np.testing.assert_allclose(short, value, rtol=1e-12)
        gaps.append(gap(some, grads))
    assert 1e-3 < gaps[0] < gaps[1] < gaps[2]


def test_the_end_of_a_training_is_its_continuation(x64):
    """Led to step 4 and trained from there, a student is the one trained at once."""
    task, synthetic, _ = problem()
    variables = task.init(jax.random.key(1), None)
    batches = minibatches.consecutive_batches(
        jax.random.key(2), num_examples=6, batch_size=4, num_steps=7
    )
    adam = optimizers.adam(0.05)
    course = {"optimizer": adam, "feed": unroll.Feed(batches)}
    whole, _ = unroll.train_student(
        KEY, variables, task, synthetic, num_steps=7, **course
    )
    led, opt = unroll.lead_student(
        KEY, variables, task, synthetic, num_steps=4, **course
    )
    end, _ = unroll.train_student(
        KEY,
        led,
        task,
        synthetic,
        position=unroll.Position(opt, 4),
        num_steps=3,
        **course,
    )
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-12), end, whole)


def test_one_compilation_serves_all_window_starts():
    task, synthetic, real = problem(dtype=jnp.float32)
    objective = objectives.unrolled_training(
        task, num_steps=9, window=3, windows="random"
    )
    traced = []

    @jax.jit
    def gradient(synthetic, key):
        traced.append(1)
        grad = jax.value_and_grad(
            lambda x: objective.loss(synthetic._replace(x=x), key, {}, real),
            has_aux=True,
        )
        return grad(synthetic.x)[0][1].metrics["window_start"]

    starts = {float(gradient(synthetic, jax.random.key(i))) for i in range(40)}
    assert starts == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0}
    assert len(traced) == 1
    assert gradient._cache_size() == 1


@pytest.mark.parametrize("remat", ["none", "sqrt"])
def test_rematerialisation_changes_nothing(remat, x64):
    task, synthetic, real = problem("convnet")
    options = {"num_steps": 7, "window": 6, "batch_size": 4}
    one = value_and_gradient(task, synthetic, real, remat="step", **options)[2:]
    two = value_and_gradient(task, synthetic, real, remat=remat, **options)[2:]
    assert gap(two, one) < 1e-10


def test_several_networks_are_a_mean_over_them(x64):
    same = lambda key, shape: _init(jax.random.key(1), shape)
    task, synthetic, real = problem()
    one_task = dj.tasks.classification(dj.nets.from_functions(same, _apply), _spec())
    one = value_and_gradient(one_task, synthetic, real, num_steps=3)[2:]
    three = value_and_gradient(one_task, synthetic, real, num_steps=3, num_networks=3)
    assert gap(three[2:], one) < 1e-12
    apart = value_and_gradient(task, synthetic, real, num_steps=3, num_networks=3)
    assert gap(apart[2:], one) > 1e-2


def test_batch_norm_goes_through_the_unroll():
    task, synthetic, real = problem("batch", jnp.float32)
    _, _, value, grads = value_and_gradient(
        task, synthetic, real, num_steps=4, window=2, optimizer=optax.sgd(0.1)
    )
    assert jnp.isfinite(value)
    assert 0 < float(optax.tree.norm(grads["x"])) < jnp.inf


def test_blocks_of_the_real_batch_change_nothing(x64, monkeypatch):
    from distill_jax.compute import blocks

    task, synthetic, real = problem()
    whole = value_and_gradient(task, synthetic, real, num_steps=3)[2:]
    monkeypatch.setattr(blocks, "fitting_size", lambda fn, batch: 7)
    cut = value_and_gradient(task, synthetic, real, num_steps=3)[2:]
    assert gap(cut, whole) < 1e-12


def test_adam_without_a_root_is_refused_and_is_not_finite():
    task, synthetic, _ = problem(dtype=jnp.float32)
    with pytest.raises(errors.InputError, match="eps_root"):
        objectives.unrolled_training(task, num_steps=3, optimizer=optax.adam(1e-3))
    with pytest.raises(errors.InputError, match="eps_root"):
        optimizers.adam(1e-3, eps_root=0.0)
    # What the check guards against: a dead unit, whose gradient is zero in every step.
    dead = synthetic._replace(x=synthetic.x.at[:, 0].set(0.0))

    def end(x, optimizer):
        variables = task.init(jax.random.key(1), None)
        variables, _ = unroll.train_student(
            KEY, variables, task, dead._replace(x=x), optimizer=optimizer, num_steps=2
        )
        return optax.tree.norm(variables.params, squared=True)

    assert not jnp.isfinite(jax.grad(end)(dead.x, optax.adam(1e-3))).all()
    assert jnp.isfinite(jax.grad(end)(dead.x, optimizers.adam(1e-3))).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_steps": 3, "window": 4}, "longer than the training"),
        ({"num_steps": 0}, "`num_steps` must be a whole number, at least 1"),
        ({"num_steps": 3, "window": 0}, "`window` must be a whole number, at least 1"),
        ({"num_steps": 3, "num_networks": 0}, "`num_networks`"),
        ({"num_steps": 3, "batch_size": 0}, "`batch_size`"),
        ({"num_steps": 3, "windows": "randm"}, 'Did you mean "random"'),
        ({"num_steps": 3, "remat": "steps"}, 'Did you mean "step"'),
    ],
)
def test_bad_options_are_refused(options, words):
    task, _, _ = problem(dtype=jnp.float32)
    with pytest.raises(errors.InputError, match=words):
        objectives.unrolled_training(task, **options)


def test_a_missing_learned_rate_is_named():
    task, synthetic, real = problem(dtype=jnp.float32)
    objective = objectives.unrolled_training(task, num_steps=2, optimizer=optax.sgd)
    with pytest.raises(errors.InputError, match="learn_rate"):
        objective.loss(synthetic, KEY, {}, real)
