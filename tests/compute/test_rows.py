# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Examples travel whole: what belongs to a row reaches every place that reads rows."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, objectives, samplers, transforms
from distill_jax.augmentation import mixing, policies
from distill_jax.compute import blocks, parallel, rows
from distill_jax.inner import unroll
from distill_jax.objectives import classwise
from distill_jax.training import gradient_step, loop, minibatches

SEEN = []


def marked(number) -> dict:
    """Fields of rows that all say which row they belong to."""
    number = jnp.asarray(number)
    y = jnp.stack([number, -number], axis=-1).astype(float)
    return {"x": y, "y": y, "index": number.astype(jnp.int32), "target": 2 * y}


def agree(data) -> jax.Array:
    """[B], whether all fields of a row speak of the same row."""
    SEEN.append(tuple(name for name in data._fields if getattr(data, name) is not None))
    number = data.y[..., 0]
    fits = (data.x[..., 0] == number) & (data.target[..., 1] == -2 * number)
    has_index = "index" in data._fields and data.index is not None
    return fits & (data.index == number) if has_index else fits


def train_loss(variables, key, data, context):
    del key, context
    losses = jnp.where(agree(data), data.y[..., 0], jnp.nan)
    return variables.params["a"] * losses, variables.stats


TASK = base.Task(
    sample_context=lambda key: None,
    init=lambda key, context: base.Variables({"a": jnp.ones(())}, {}),
    train_loss=train_loss,
    test_loss=lambda variables, key, data, context: train_loss(
        variables, key, data, context
    )[0],
    predict=lambda variables, x, context: x,
    features=None,
    groups=lambda examples: examples.y,
    targets="probabilities",
    retarget=lambda kind: TASK,
)
VARIABLES = TASK.init(jax.random.key(0), None)
ROWS = base.Examples(weight=jnp.ones(7), **marked(jnp.arange(7)))
MEAN = 3.0


@pytest.fixture
def one_byte(monkeypatch):
    """Caches so small that two examples are a block."""
    monkeypatch.setattr(blocks, "_BLOCK_BYTES", 1)
    monkeypatch.setattr(blocks, "_BLOCK_SIZE", 2)


def gradient(examples):
    fn = lambda: gradient_step.gradient(jax.random.key(0), VARIABLES, TASK, examples)
    return fn()[0]["a"]


def test_a_gradient_in_blocks_sees_whole_examples(one_byte):
    assert float(gradient(ROWS)) == pytest.approx(MEAN)
    assert SEEN[-1] == ("x", "y", "weight", "index", "target")


@pytest.mark.usefixtures("one_byte")
def test_a_gradient_on_two_devices_sees_whole_examples():
    mesh = parallel.device_mesh(2, axis="examples")
    spread = jax.jit(parallel.over_mesh(lambda rows: gradient(rows), mesh))
    assert float(spread(ROWS)) == pytest.approx(MEAN)


@pytest.mark.usefixtures("one_byte")
def test_a_gradient_on_two_devices_leaves_out_what_belongs_to_no_row():
    fields = {name: getattr(ROWS, name) for name in ("x", "y", "weight", "target")}
    scalar = jnp.asarray(2.0)
    synthetic = base.Synthetic(**fields, learning_rate=scalar, temperature=scalar)
    net = dj.nets.mlp(2, hidden=(3,))
    spec = dj.data.DataSpec.of((2,), 2)
    task = dj.tasks.classification(net, spec)
    x = jnp.arange(14.0).reshape(7, 2)
    synthetic = synthetic._replace(x=x, y=jax.nn.one_hot(jnp.arange(7) % 2, 2))
    variables = task.init(jax.random.key(0), None)
    fn = lambda rows: gradient_step.gradient(jax.random.key(1), variables, task, rows)[
        0
    ]
    mesh = parallel.device_mesh(2, axis="examples")
    spread = jax.jit(parallel.over_mesh(fn, mesh))(synthetic)
    alone = fn(synthetic)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), spread, alone
    )


@pytest.mark.parametrize("batch_size", [2, 3, 7])
def test_a_training_sees_whole_examples(batch_size):
    """Of seven rows, the last mini-batches of two and three are short."""
    after = loop.fit(
        jax.random.key(1),
        VARIABLES,
        TASK,
        ROWS,
        optimizer=optax.sgd(0.5),
        num_steps=-(-7 // batch_size),
        batching=minibatches.Batching(batch_size),
    )
    assert np.isfinite(after.params["a"])
    assert after.params["a"] != VARIABLES.params["a"]


@pytest.mark.parametrize("remat", ["none", "step", "sqrt"])
def test_an_unrolled_student_sees_whole_examples(remat):
    fields = marked(jnp.arange(7))
    del fields["index"]  # Distilled rows have no place in a data set.
    synthetic = base.Synthetic(**fields)
    batches = minibatches.consecutive_batches(
        jax.random.key(0), num_examples=7, batch_size=3, num_steps=5
    )
    arguments = (jax.random.key(1), VARIABLES, TASK, synthetic)
    feed = unroll.Feed(batches=batches)
    options = {"optimizer": optax.sgd(0.1), "num_steps": 5, "feed": feed}
    derivative = unroll.Derivative(remat=remat)
    end, _ = unroll.train_student(*arguments, **options, derivative=derivative)
    led, _ = unroll.lead_student(*arguments, **options)
    assert np.isfinite(end.params["a"])
    assert float(led.params["a"]) == pytest.approx(float(end.params["a"]))


@pytest.mark.parametrize("block_size", [None, 2])
def test_sums_over_classes_see_whole_examples(block_size):
    by_class = rows.split(rows.pad(ROWS, 1), 2)

    def fn(number, block):
        return jnp.where(agree(block), block.weight * block.y[..., 0], jnp.nan).sum()

    sums = blocks.class_sums(fn, by_class, block_size=block_size)
    assert sums.tolist() == [6.0, 15.0]


def test_both_sides_of_a_match_are_whole():
    synthetic = base.Synthetic(
        weight=jnp.ones(4),
        x=ROWS.x[:4],
        y=jnp.repeat(jnp.eye(2), 2, axis=0),
        target=ROWS.target[:4],
    )
    real = rows.split(jax.tree.map(lambda leaf: leaf[:6], ROWS), 2)
    pair = base.Pair(match=real, train=None)
    task = types.SimpleNamespace(groups=lambda examples: examples.y)
    got, ours = classwise.by_class(task, synthetic, pair)
    assert got is real
    np.testing.assert_array_equal(ours.target.reshape(4, 2), synthetic.target)
    np.testing.assert_array_equal(ours.weight, np.ones((2, 2)))


def test_mixing_mixes_targets_as_it_mixes_labels():
    drawn = mixing.Mixing(jnp.arange(7)[::-1], jnp.array(0.75), None)
    for weight in (None, jnp.arange(7.0)):
        mixed = mixing.mix(drawn, ROWS._replace(weight=weight))
        np.testing.assert_allclose(mixed.target, 2 * mixed.y, rtol=1e-6)
        np.testing.assert_array_equal(mixed.index, ROWS.index)


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


def spy(objective):
    """An objective that remembers which fields its batch and its set have."""

    def loss(synthetic, key, inner, batch):
        real = base.matched(batch)
        SEEN.append((real.index is not None, synthetic.target is not None))
        return objective.loss(synthetic, key, inner, batch)

    return objective._replace(loss=loss)


def test_siamese_augmentation_and_pairs_keep_every_field(digits):
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
    matching = objectives.distribution_matching(task, num_networks=1)
    siamese = transforms.siamese(spy(matching), policies.parse("crop"))
    initial = dj.methods.initial_fn("real", 1)(jax.random.key(0), digits)
    method = dj.distill(
        siamese, decoder=dj.plain_decoder(), optimizer={"x": optax.sgd(1.0)}
    )
    sampler = samplers.pair(samplers.per_class(2), samplers.uniform(3))
    state = method.init(jax.random.key(1), initial._replace(target=2 * initial.y))
    batch = sampler(jax.random.key(2), 0, dj.data.to_source(digits))
    method.step(jax.random.key(3), state, batch._replace(train=batch.match).match)
    assert SEEN[-1] == (True, True)
    np.testing.assert_array_equal(method.read(state).target, 2 * initial.y)


def test_scores_see_the_index(digits):
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
    network = jax.vmap(lambda key: task.init(key, None))(
        jax.random.split(jax.random.key(0), 1)
    )
    by_index = lambda task, variables, examples, context: 1.0 * examples.index
    source = dj.data.to_source(digits)
    scores = dj.scores.rate(task, network, source, score=by_index, chunk_size=100)
    np.testing.assert_array_equal(scores.value, np.arange(len(source.y)))
