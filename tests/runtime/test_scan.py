# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from distill_jax import base, errors
from distill_jax.runtime import host_loop, scan

KEY = jax.random.key(toy.KEY_SEED)


@pytest.fixture(scope="module")
def start():
    recipe = toy.recipe()
    key_initial, key_init = jax.random.split(KEY)
    seed = recipe.initial_fn(key_initial, toy.DATA)
    return recipe, jax.jit(recipe.method.init)(key_init, seed), jnp.asarray(toy.DATA.x)


@pytest.fixture(scope="module")
def run(start):
    return scan.scan_steps(start[0].method, start[0].sampler, num_steps=60)


@pytest.mark.parametrize("counts", [(20, 20, 20), (7, 53), (1, 59), (59, 1)])
def test_pieces_of_any_size_give_the_same_bits(start, run, counts):
    _, state, source = start
    whole, infos = run(KEY, state, source)
    losses = []
    for count in counts:
        state, piece = run(KEY, state, source, count)
        losses.append(np.asarray(piece.loss)[:count])
        assert np.isnan(piece.loss[count:]).all()
        assert (np.asarray(piece.metrics["count"])[count:] == 0).all()
    toy.assert_same(whole, state)
    np.testing.assert_array_equal(np.concatenate(losses), infos.loss)


def test_capacity_does_not_change_the_bits(start, run):
    recipe, state, source = start
    whole, _ = run(KEY, state, source)
    single = scan.scan_steps(recipe.method, recipe.sampler, num_steps=1)
    for _ in range(60):
        state, _ = single(KEY, state, source)
    toy.assert_same(whole, state)


def test_keys_are_folded_out_of_the_step_as_the_design_says(start, run):
    recipe, state, source = start
    looped, infos = run(KEY, state, source, 5)
    for step in range(5):
        key_batch, key_step = jax.random.split(jax.random.fold_in(KEY, step))
        batch = recipe.sampler(key_batch, state.step, source)
        state, info = recipe.method.step(key_step, state, batch)
        np.testing.assert_allclose(info.loss, infos.loss[step], rtol=1e-5)
    np.testing.assert_allclose(
        state.latent.learned["x"], looped.latent.learned["x"], rtol=1e-4, atol=1e-6
    )


def test_one_compilation_serves_every_count(start):
    recipe, state, source = start
    traces = []

    def counted(key, state, batch):
        traces.append(1)
        return recipe.method.step(key, state, batch)

    method = recipe.method._replace(step=counted)
    run = scan.scan_steps(method, recipe.sampler, num_steps=8)
    state, _ = run(KEY, state, source)
    num_traces = len(traces)
    for count in (1, 3, 8, jnp.int32(2)):
        state, _ = run(KEY, state, source, count)
    assert len(traces) == num_traces


def test_a_weakly_typed_state_gives_what_a_restored_one_gives():
    method = base.Method(
        init=lambda key, seed: base.State(jnp.int32(0), None, None, jnp.asarray(1.0)),
        step=lambda key, state, batch: (
            state._replace(step=state.step + 1, inner=state.inner * batch.mean() / 3),
            base.Info(loss=state.inner, metrics={}),
        ),
        read=lambda state: state.inner,
    )
    run = scan.scan_steps(method, lambda key, step, source: source, num_steps=4)
    batch = jnp.ones(3, jnp.bfloat16)
    weak = method.init(None, None)
    assert weak.inner.weak_type
    strong = weak._replace(inner=jnp.array(np.float32(1.0)))
    assert not strong.inner.weak_type
    toy.assert_same(run(KEY, weak, batch)[0], run(KEY, strong, batch)[0])


def test_compiled_steps_donate_and_agree(start, run):
    recipe, state, source = start
    mine = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
    program = scan.compile_steps(
        recipe.method, recipe.sampler, num_steps=60, arguments=(KEY, mine, source)
    )
    assert program.seconds > 0
    assert program.peak_bytes > 0
    after, _ = program.run(KEY, mine, source, 25)
    assert mine.latent.learned["x"].is_deleted()
    after, _ = program.run(KEY, after, source, 35)
    toy.assert_same(run(KEY, state, source)[0], after)


def test_compiled_steps_take_a_sharded_source(start, run):
    recipe, state, source = start
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    source_sharded = jax.device_put(source, jax.sharding.NamedSharding(mesh, spec))
    mine = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), state)
    program = scan.compile_steps(
        recipe.method,
        recipe.sampler,
        num_steps=60,
        arguments=(KEY, mine, source_sharded),
    )
    for count in (20, 40):
        mine, infos = program.run(KEY, mine, source_sharded, count)
    del infos
    np.testing.assert_allclose(
        mine.latent.learned["x"],
        run(KEY, state, source)[0].latent.learned["x"],
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("as_function", [True, False])
def test_the_host_loop_fed_the_same_batches_gives_the_same_bits(start, as_function):
    recipe, state, _ = start
    batches = np.random.default_rng(1).normal(size=(12, 16, 6)).astype(np.float32)
    run = scan.scan_steps(
        recipe.method, lambda key, step, source: source[step], num_steps=12
    )
    expected, infos = run(KEY, state, jnp.asarray(batches))
    fed = (lambda step: batches[step]) if as_function else iter(batches)
    first, one = host_loop.loop(KEY, recipe.method, state, fed, num_steps=5)
    second, two = host_loop.loop(KEY, recipe.method, first, fed, num_steps=7)
    toy.assert_same(expected, second)
    np.testing.assert_array_equal(np.concatenate([one.loss, two.loss]), infos.loss)


def test_the_host_loop_draws_no_batch_more_than_it_uses(start):
    recipe, state, _ = start
    drawn = []

    def batches(step):
        drawn.append(step)
        return np.ones((16, 6), np.float32)

    state, _ = host_loop.loop(KEY, recipe.method, state, batches, num_steps=3)
    host_loop.loop(KEY, recipe.method, state, batches, num_steps=2)
    assert drawn == [0, 1, 2, 3, 4]


def test_refusals_are_sentences(start, run):
    recipe, state, source = start
    with pytest.raises(errors.InputError, match="`num_steps` must be at least 1, got"):
        scan.scan_steps(recipe.method, recipe.sampler, num_steps=0)(KEY, state, source)
    with pytest.raises(errors.InputError, match="between 0 and the 60 steps"):
        run(KEY, state, source, 61)
    with pytest.raises(errors.InputError, match="`num_steps` must be at least 1, got"):
        host_loop.loop(KEY, recipe.method, state, iter([]), num_steps=0)
    short = iter([np.ones((16, 6), np.float32)] * 2)
    with pytest.raises(errors.InputError, match="ran out after 2 of 3 steps"):
        host_loop.loop(KEY, recipe.method, state, short, num_steps=3)

    def vector_step(key, state, batch):
        state, info = recipe.method.step(key, state, batch)
        return state, info._replace(metrics={"vector": jnp.ones(3)})

    method = recipe.method._replace(step=vector_step)
    with pytest.raises(errors.InputError, match=r"\['vector'\].*of shape \(3,\)"):
        scan.scan_steps(method, recipe.sampler, num_steps=2)(KEY, state, source)
