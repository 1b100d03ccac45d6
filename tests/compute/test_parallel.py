# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Many devices give the numbers of one; the naive way of using them does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, errors, objectives
from distill_jax.compute import blocks, parallel
from distill_jax.evaluation import runs
from distill_jax.training import pool

SHAPE = (8, 8, 1)
LONG = pytest.mark.long(timeout=600)


@functools.cache
def small_task() -> base.Task:
    spec = dj.data.load("digits").spec
    return dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)


def per_class(num: int) -> base.Examples:
    """Random examples of ten classes, `[C, num, ...]`, in float64."""
    rng = np.random.default_rng(num)
    x = jnp.asarray(rng.normal(size=(10, num, *SHAPE)))
    y = jnp.broadcast_to(jnp.eye(10)[:, None], (10, num, 10))
    return base.Examples(x, y)


OBJECTIVES = {
    "distribution": lambda task: objectives.distribution_matching(task),
    "gradient": lambda task: objectives.gradient_matching(task, num_networks=2),
}


def synthetic_of(examples: base.Examples) -> base.Synthetic:
    """`[C, K, ...]` as the rows of a synthetic set."""
    return base.Synthetic(examples.x.reshape(-1, *SHAPE), examples.y.reshape(-1, 10))


def gradient_fn(objective: base.Objective):
    """(real batch) -> the gradient for the pictures, under one draw of networks."""
    few = synthetic_of(per_class(2))
    inner = jax.jit(objective.init)(jax.random.key(0), few)

    def loss(x, real):
        key = jax.random.key(1)
        return objective.loss(few._replace(x=x), key, inner, real)[0]

    return lambda real: jax.grad(loss)(few.x, real)


def relative(one, two) -> float:
    one, two = np.asarray(one), np.asarray(two)
    return float(np.linalg.norm(one - two) / np.linalg.norm(two))


@functools.cache
def on_one_device(name: str):
    """The gradient as a function, a real batch, and what they are on one device."""
    grad = gradient_fn(OBJECTIVES[name](small_task()))
    real = per_class(16)
    return grad, real, jax.jit(grad)(real)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("num_devices", [4, pytest.param(8, marks=LONG)])
def test_sharded_data_give_the_gradient_of_one_device(x64, name, num_devices):
    grad, real, expected = on_one_device(name)
    mesh = parallel.device_mesh(num_devices)
    spec = jax.sharding.PartitionSpec(None, "data")
    sharded = jax.device_put(real, jax.NamedSharding(mesh, spec))
    assert relative(jax.jit(grad)(sharded), expected) < 1e-6


AXES = [("classes", 4), ("networks", 4), ("examples", 4), ("any", 8)]
OTHER_AXES = [("classes", 8), ("networks", 8), ("examples", 8), ("any", 4)]


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize(
    ("axis", "num_devices"),
    [*AXES, *(pytest.param(*pair, marks=LONG) for pair in OTHER_AXES)],
)
def test_a_step_over_a_mesh_gives_the_gradient_of_one_device(
    x64, name, axis, num_devices
):
    grad, real, expected = on_one_device(name)
    mesh = parallel.device_mesh(num_devices, axis=axis)
    together = jax.jit(parallel.over_mesh(grad, mesh))(real)
    assert relative(together, expected) < 1e-6


def trajectory_loss(task: base.Task):
    """(pictures) -> the distance of a student from a target."""
    objective = objectives.trajectory_matching(task, num_steps=3, batch_size=5)
    few = synthetic_of(per_class(1))
    widen = lambda leaf: leaf[None].astype(jnp.float64)
    start, target = (
        jax.tree.map(widen, task.init(jax.random.key(seed), None).params)
        for seed in (1, 2)
    )
    rate = jnp.asarray(0.1)
    return lambda x: objective.loss(
        few._replace(x=x, learning_rate=rate),
        jax.random.key(3),
        {},
        base.Segment(start, target),
    )[0]


def unrolled_loss(task: base.Task):
    """(pictures) -> the loss on real examples after training on them."""
    objective = objectives.unrolled_training(
        task, num_steps=4, window=2, optimizer=optax.sgd(0.1), windows="random"
    )
    few, real = synthetic_of(per_class(1)), per_class(3)
    real = base.Examples(real.x.reshape(-1, *SHAPE), real.y.reshape(-1, 10))
    key = jax.random.key(3)
    return lambda x: objective.loss(few._replace(x=x), key, {}, real)[0]


@pytest.mark.parametrize("loss_of", [trajectory_loss, unrolled_loss])
@pytest.mark.parametrize("axis", [pytest.param("examples", marks=LONG), "any"])
def test_a_derivative_through_training_shared_by_devices(x64, loss_of, axis):
    grad = jax.grad(loss_of(small_task()))
    x = synthetic_of(per_class(1)).x
    mesh = parallel.device_mesh(4, axis=axis)  # Of ten pictures, and of five.
    together = jax.jit(parallel.over_mesh(grad, mesh))(x)
    assert relative(together, jax.jit(grad)(x)) < 1e-9


def test_networks_that_do_not_fill_the_devices_share_their_examples():
    mesh = parallel.device_mesh(4, axis="any")
    place = lambda x: jax.lax.axis_index("any") + 0 * x
    fn = lambda rows: pool.map_networks(lambda x: blocks.map_rows(place, x), rows)
    over = jax.jit(parallel.over_mesh(fn, mesh))
    assert over(jnp.zeros((5, 4), int)).tolist() == [[0, 1, 2, 3]] * 5
    assert over(jnp.zeros((4, 2), int)).tolist() == [[0] * 2, [1] * 2, [2] * 2, [3] * 2]


def in_slices(examples: base.Examples, num: int) -> base.Examples:
    """`[C, B, ...]` to `[num, C, B / num, ...]`, one part for each device."""
    cut = lambda leaf: leaf.reshape(10, num, -1, *leaf.shape[2:])
    return jax.tree.map(lambda leaf: jnp.moveaxis(cut(leaf), 1, 0), examples)


def naive_error(objective: base.Objective, *, slices_pictures: bool) -> float:
    """How far `pmap` with a mean is from the gradient on the whole batch."""
    few, real = per_class(4), per_class(16)
    inner = jax.jit(objective.init)(jax.random.key(0), synthetic_of(few))

    def grad(few: base.Examples, real: base.Examples):
        def loss(x):
            synthetic = synthetic_of(few._replace(x=x))
            return objective.loss(synthetic, jax.random.key(1), inner, real)[0]

        return jax.grad(loss)(few.x)

    share = in_slices(few, 4) if slices_pictures else few
    each = jax.pmap(
        grad,
        axis_name="devices",
        in_axes=(0 if slices_pictures else None, 0),
        devices=jax.devices()[:4],
    )(share, in_slices(real, 4))
    if slices_pictures:  # Each device has the gradient for its own pictures.
        naive = jnp.moveaxis(each, 0, 1).reshape(few.x.shape) / 4
    else:
        naive = each.mean(axis=0)
    return relative(naive, jax.jit(grad)(few, real))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_averaging_over_slices_of_both_sides_is_another_algorithm(x64, name):
    # Distances between the means of parts are not the distance between the means.
    assert naive_error(OBJECTIVES[name](small_task()), slices_pictures=True) > 0.2


def test_averaging_over_slices_of_real_examples_changes_a_cosine(x64):
    objective = OBJECTIVES["gradient"](small_task())
    assert naive_error(objective, slices_pictures=False) > 0.1


def test_averaging_over_slices_of_real_examples_is_exact_for_a_square(x64):
    # d/dx ||real mean - mean of f(x)||^2 is linear in the real mean.
    objective = OBJECTIVES["distribution"](small_task())
    assert naive_error(objective, slices_pictures=False) < 1e-12


@pytest.mark.parametrize("backend", ["shard_map", "pmap"])
@pytest.mark.parametrize("num_networks", [1, 4, 6])
def test_over_networks_equals_a_loop(backend, num_networks):
    keys = jax.random.split(jax.random.key(0), num_networks)
    scales = jnp.arange(1.0, num_networks + 1)

    def train(one, x):
        key, scale = one
        step = lambda w, _: (w - 0.1 * scale * (w - x), w.sum())
        return jax.lax.scan(step, jax.random.normal(key, x.shape), length=5)

    mesh = parallel.device_mesh(4, axis="networks")
    mapped = parallel.over_networks(train, backend=backend, mesh=mesh)
    found = mapped((keys, scales), jnp.ones(3))
    for row in range(num_networks):
        expected = train((keys[row], scales[row]), jnp.ones(3))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a[row], b, rtol=1e-6)
    assert found[0].shape == (num_networks, 3)


def test_networks_are_really_on_several_devices():
    place = lambda _: jax.lax.axis_index("networks")
    fn = lambda rows: pool.map_networks(place, rows)
    mesh = parallel.device_mesh(4, axis="networks")
    found = jax.jit(parallel.over_mesh(fn, mesh))(jnp.zeros(8))
    assert found.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_mapping_inside_a_mapping_stays_on_its_device():
    inner = lambda row: pool.map_networks(lambda x: x + 1, row)
    fn = lambda rows: pool.map_networks(inner, rows)
    mesh = parallel.device_mesh(4, axis="networks")
    found = jax.jit(parallel.over_mesh(fn, mesh))(jnp.ones((4, 3)))
    np.testing.assert_array_equal(found, 2 * np.ones((4, 3)))


def test_evaluation_over_devices_equals_one_device():
    data = dj.data.load("digits")
    seed = dj.methods.initial_fn("real", 1)(jax.random.key(0), data)
    few = base.Synthetic(seed.x, seed.y)
    protocol = dj.evaluation.Protocol(num_steps=10)
    judge = lambda side_by_side: dj.evaluate(
        small_task(),
        few,
        data,
        protocol=protocol,
        num_runs=5,
        key=jax.random.key(2),
        side_by_side=side_by_side,
    )
    alone = judge("auto")
    together = judge(parallel.device_mesh(4, axis="networks"))
    assert together.compile_seconds > 0, "another mesh is another program"
    np.testing.assert_allclose(together.accuracies, alone.accuracies, atol=0.006)


def test_experts_over_devices_equal_one_device(tmp_path):
    data, task = dj.data.load("digits"), small_task()
    plan = dj.experts.ExpertPlan(num_experts=3, num_epochs=2)
    alone = dj.experts.make_buffer(plan, task, data)
    mesh = parallel.device_mesh(2, axis="networks")
    make = parallel.over_mesh(dj.experts.make_buffer, mesh)
    together = make(plan, task, data, folder=tmp_path)
    for one, two in zip(alone.snapshots, together.snapshots, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: runs.train_networks(
                jax.random.key(0),
                None,
                base.Synthetic(jnp.ones((1, 2)), jnp.ones((1, 2))),
                dj.evaluation.Protocol(num_steps=1),
                num_runs=1,
                side_by_side=parallel.device_mesh(2),
            ),
            "networks",
        ),
        (lambda: parallel.device_mesh(99), "99 devices"),
        (lambda: parallel.device_mesh(axis="class"), '"classes"'),
        (lambda: parallel.over_networks(abs, backend="pmp"), '"pmap"'),
        (lambda: parallel.over_mesh(abs, parallel.device_mesh(2)), "shard_batches"),
        (
            lambda: parallel.over_mesh(
                jax.jit(jnp.abs), parallel.device_mesh(2, axis="any")
            ),
            "jitted already",
        ),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(errors.InputError, match=words):
        make()
