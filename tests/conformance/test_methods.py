# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every named method is put through every property of the contract.

A new method joins by one line in `RECIPES`; that the table is complete is a test too.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import base, bilevel, methods, runtime, transforms
from distill_jax.compute import parallel, recipes
from distill_jax.runtime import checkpoint


@functools.cache
def digits():
    return dj.data.load("digits")


@functools.cache
def task(kind="mlp"):
    nets = {
        "mlp": lambda: dj.nets.mlp(10, hidden=(8,)),
        "convnet": lambda: dj.nets.convnet(10, width=4, depth=2),
        "shallow": lambda: dj.nets.convnet(10, width=2, depth=1),
    }
    return dj.tasks.classification(nets[kind](), digits().spec)


def averaged_dm(**more) -> base.Recipe:
    recipe = methods.dm(
        task(), num_per_class=1, batch_size=8, augmentation="none", **more
    )
    return recipe._replace(method=transforms.moving_average(recipe.method, 0.9))


# Small enough for every row of trajectory matching.
SHORT_PATHS = {
    "num_student_steps": 3,
    "num_expert_epochs": 1,
    "last_start": 3,
    "batch_size": 8,
    "learning_rate": 1.0,
    "rate_learning_rate": 1e-5,
    "initial_rate": 0.05,
    "num_experts_per_step": 4,
    "experts": {"num_experts": 4},
}


# The ridge is large where it appears: with the paper's 1e-6 and features of so few
# dimensions, two orders of summation give two different solutions in float32.
RECIPES = {
    "auto": lambda **more: methods.auto(
        task(),
        num_per_class=1,
        num_steps=60,
        warm_share=0.5,
        batch_size=32,
        num_networks=3,
        num_inner_steps=4,
        window=2,
        ridge=1e-2,
        **more,
    ),
    "dc": lambda **more: methods.dc(
        task(),
        num_per_class=2,
        batch_size=4,
        num_matches=3,
        num_epochs=2,
        **more,
    ),
    "dcc": lambda **more: methods.dcc(
        task(),
        num_per_class=2,
        batch_size=4,
        num_matches=4,
        num_epochs=1,
        warm_up=(5, 2),
        **more,
    ),
    "dsa": lambda **more: methods.dsa(
        task(),
        num_per_class=2,
        batch_size=4,
        num_matches=3,
        num_epochs=1,
        num_networks=2,
        augmentation="rotate",
        **more,
    ),
    "dsac": lambda **more: methods.dsac(
        task(),
        num_per_class=1,
        batch_size=4,
        num_matches=2,
        num_epochs=1,
        augmentation="crop",
        **more,
    ),
    "idc": lambda **more: methods.idc(
        task("shallow"),
        num_per_class=1,
        batch_size=4,
        num_matches=3,
        num_train_examples=32,
        augmentation="cutout",
        train_augmentation="crop",
        **more,
    ),
    "cafe": lambda **more: methods.cafe(
        task(),
        num_per_class=2,
        num_steps=60,
        batch_size=8,
        num_queries=8,
        max_epochs=12,
        **more,
    ),
    "dm": lambda **more: methods.dm(
        task("convnet"),
        num_per_class=2,
        batch_size=8,
        augmentation="color_crop_cutout_scale_rotate",
        **more,
    ),
    "dm_factorised": lambda **more: methods.dm(
        task(),
        num_per_class=1,
        batch_size=8,
        factor=2,
        augmentation="none",
        **more,
    ),
    "dm_averaged": averaged_dm,
    "mtt": lambda **more: methods.mtt(
        task(),
        num_per_class=2,
        augmentation="crop",
        **SHORT_PATHS,
        **more,
    ),
    "ftd": lambda **more: methods.ftd(
        task(),
        num_per_class=1,
        augmentation="none",
        decay=0.9,
        **SHORT_PATHS,
        **more,
    ),
    "tesla": lambda **more: methods.tesla(
        task(),
        num_per_class=1,
        augmentation="none",
        assigns_labels=True,
        rate_kind="plain",
        **SHORT_PATHS,
        **more,
    ),
    "datm": lambda **more: methods.datm(
        task(),
        num_per_class=1,
        augmentation="none",
        window=(1, 30),
        label_learning_rate=1.0,
        threshold=100.0,
        **SHORT_PATHS,
        **more,
    ),
    "label_bptt": lambda **more: methods.label_bptt(
        task(),
        num_per_class=1,
        num_inner_steps=5,
        window=2,
        windows="forward",
        num_steps=60,
        learning_rate=0.1,
        batch_size=32,
        label_kind="logits",
        network_optimizer="sgd",
        network_learning_rate=0.1,
        clip=2.0,
        decay=0.9,
        **more,
    ),
    "label_mtt": lambda **more: methods.label_mtt(
        task(),
        num_per_class=1,
        augmentation="none",
        label_start="experts",
        **{**SHORT_PATHS, "learning_rate": 0.01},
        **more,
    ),
    "label_ridge": lambda **more: methods.label_ridge(
        task(),
        num_per_class=2,
        batch_size=32,
        num_networks=3,
        ridge=1e-2,
        **more,
    ),
    "bptt": lambda **more: methods.bptt(
        task(),
        num_per_class=2,
        num_inner_steps=3,
        batch_size=32,
        augmentation="crop",
        **more,
    ),
    "rat_bptt": lambda **more: methods.rat_bptt(
        task(),
        num_per_class=2,
        num_inner_steps=5,
        window=2,
        batch_size=32,
        network_batch_size=8,
        num_networks=2,
        network_optimizer="sgd",
        network_learning_rate=0.1,
        **more,
    ),
    "rcig": lambda **more: methods.rcig(
        task(),
        num_per_class=1,
        batch_size=32,
        num_networks=3,
        num_implicit=2,
        **more,
    ),
    "frepo": lambda **more: methods.frepo(
        task(),
        num_per_class=2,
        num_steps=60,
        batch_size=32,
        num_networks=4,
        max_age=7,
        ridge=1e-2,
        **more,
    ),
    "frepo_active": lambda **more: methods.frepo(
        task(),
        num_per_class=1,
        num_steps=60,
        batch_size=32,
        num_networks=3,
        num_active=2,
        ridge=1e-2,
        **more,
    ),
    "kip": lambda **more: methods.kip(
        task(),
        num_per_class=2,
        num_steps=60,
        batch_size=32,
        ridge=1e-2,
        **more,
    ),
    "kip_labels": lambda **more: methods.kip(
        task(),
        num_per_class=1,
        num_steps=60,
        ridge=1e-2,
        use_learned_labels=True,
        **more,
    ),
}


@functools.cache
def recipe(name) -> base.Recipe:
    return RECIPES[name]()


@functools.cache
def source(name):
    return recipe(name).source_fn(digits())


@functools.cache
def initial(name, seed=0):
    seed_examples = recipe(name).initial_fn(jax.random.key(7), digits())
    return jax.jit(recipe(name).method.init)(jax.random.key(seed), seed_examples)


@functools.cache
def batch(name):
    return jax.jit(recipe(name).sampler)(jax.random.key(3), jnp.zeros(()), source(name))


@functools.cache
def scanned(name):
    return runtime.scan_steps(recipe(name).method, recipe(name).sampler, num_steps=60)


@functools.cache
def final(name):
    state, infos = scanned(name)(jax.random.key(5), initial(name), source(name))
    return state, infos


@functools.cache
def step(name):
    return jax.jit(recipe(name).method.step)


def leaves(tree):
    """Leaves as numpy arrays; random keys as their data."""
    is_key = lambda leaf: jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return [
        np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
        for leaf in jax.tree.leaves(tree)
    ]


def assert_bitwise(one, two):
    for a, b in zip(leaves(one), leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_close(one, two, tolerance):
    for a, b in zip(leaves(one), leaves(two), strict=True):
        scale = max(float(np.abs(a).max(initial=0.0)), 1e-3)
        assert np.abs(a - b).max(initial=0.0) / scale <= tolerance


@functools.cache
def shapes_of_a_step(name):
    """What a step returns, by tracing alone: the state, the info."""
    arguments = jax.random.key(0), initial(name), batch(name)
    return jax.eval_shape(step(name), *arguments)


def long_except(representatives):
    """Every method; those that share their mathematics with another one are long."""
    assert representatives < set(RECIPES)
    long = pytest.mark.long(timeout=600)
    rows = [
        pytest.param(name, marks=() if name in representatives else long)
        for name in sorted(RECIPES)
    ]
    return pytest.mark.parametrize("name", rows)


every_method = pytest.mark.parametrize("name", sorted(RECIPES))
# One of each family, and what is built differently within it: several networks at
# once, a pool, experts, labels that are learned, a window at a random place.
compiled_for_steps = long_except({"dc", "dm_factorised", "kip_labels", "mtt", "bptt"})
compiled_for_devices = long_except({"dc", "dm_factorised", "frepo", "mtt", "bptt"})


def test_the_table_holds_every_named_method():
    of_method = lambda name: any(f"{row}_".startswith(f"{name}_") for row in RECIPES)
    assert [name for name in methods.NAMES if not of_method(name)] == []


@every_method
def test_contract(name):
    state = initial(name)
    assert isinstance(recipe(name), base.Recipe)
    assert isinstance(state, base.State)
    assert int(state.step) == 0
    new_state, info = shapes_of_a_step(name)
    assert isinstance(new_state, base.State)
    assert isinstance(info, base.Info)
    assert info.loss.shape == ()
    assert all(metric.shape == () for metric in info.metrics.values())
    synthetic = recipe(name).method.read(state)
    assert synthetic.y.shape[0] == synthetic.x.shape[0]
    bilevel.check_class_major(base.Examples(synthetic.x, synthetic.y))


def identity(objective):
    return objective


def rebuilt(objective):
    """As a transform makes an objective: a loss of its own around the other."""

    def loss(synthetic, key, inner, batch):
        return objective.loss(synthetic, key, inner, batch)

    return objective._replace(loss=loss)


def lowered(name, recipe):
    """The program of a step, as text; what is logged beside it does not count."""

    def state_and_loss(*arguments):
        state, info = recipe.method.step(*arguments)
        return state, info.loss

    arguments = jax.random.key(0), initial(name), batch(name)
    return jax.jit(state_and_loss).lower(*arguments).as_text()


@every_method
def test_bending_by_nothing_gives_the_same_program(name):
    calls = []

    def called(objective):
        calls.append(objective)
        return rebuilt(objective)

    plain = lowered(name, recipe(name))
    assert lowered(name, RECIPES[name](bend=identity)) == plain
    assert lowered(name, RECIPES[name](bend=[rebuilt, called])) == plain
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["dsa", "auto", "datm"])
def test_bending_by_nothing_gives_the_same_bits(name):
    bent = RECIPES[name](bend=[identity, rebuilt])
    arguments = jax.random.key(0), initial(name), batch(name)
    expected_state, expected = step(name)(*arguments)
    state, info = jax.jit(bent.method.step)(*arguments)
    assert_bitwise(state, expected_state)
    metrics = {**info.metrics}
    np.testing.assert_array_equal(metrics.pop("matching_loss"), info.loss)
    assert_bitwise((info.loss, metrics), (expected.loss, dict(expected.metrics)))


@every_method
def test_structure_shapes_and_dtypes_are_kept(name):
    state = initial(name)
    new_state, _ = shapes_of_a_step(name)
    # What `jax.jit` asks before it compiles anew: with these kept, one compilation
    # serves all steps.
    describe = lambda tree: jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)), tree
    )
    assert jax.tree.structure(state) == jax.tree.structure(new_state)
    assert describe(state) == describe(new_state)


@compiled_for_steps
def test_one_compilation_serves_all_steps(name):
    state = initial(name)
    for number in range(3):
        state, _ = step(name)(jax.random.key(number), state, batch(name))
    assert step(name)._cache_size() == 1


@every_method
@pytest.mark.parametrize("pieces", [(20, 20, 20), (59, 1), (1, 59)])
def test_sixty_steps_in_one_go_equal_sixty_in_pieces_bitwise(name, pieces):
    state = initial(name)
    losses = []
    for count in pieces:
        state, infos = scanned(name)(jax.random.key(5), state, source(name), count)
        losses.append(np.asarray(infos.loss)[:count])
    whole_state, whole_infos = final(name)
    assert_bitwise(state, whole_state)
    np.testing.assert_array_equal(np.concatenate(losses), np.asarray(whole_infos.loss))


@compiled_for_steps
def test_vmap_over_seeds_equals_a_loop_over_seeds(name):
    method, drawn = recipe(name).method, batch(name)
    keys = jax.random.split(jax.random.key(11), 2)
    states = [initial(name, seed) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *rows: jnp.stack(rows), *states)
    together = jax.jit(jax.vmap(method.step, in_axes=(0, 0, None)))
    together_state, together_info = together(keys, stacked, drawn)
    for row, key in enumerate(keys):
        state, info = step(name)(key, states[row], drawn)
        take = lambda leaf, row=row: leaf[row]
        assert_close(info.loss, together_info.loss[row], 1e-4)
        assert_close(
            method.read(state), method.read(jax.tree.map(take, together_state)), 1e-3
        )


def double(tree):
    """In float64, where other sums of the same numbers agree to many digits."""
    is_real = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.floating)
    return jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64) if is_real(leaf) else leaf, tree
    )


def two_steps(step, state, batch):
    """What is learned, and the losses."""
    losses = []
    for number in range(2):
        state, info = step(jax.random.key(number), state, batch)
        losses.append(info.loss)
    assert losses[0].dtype == jnp.float64
    return jax.device_get((state.latent, jnp.stack(losses)))


def everywhere(tree, mesh):
    """As a second call would find it: on the mesh, which its types then name."""
    return jax.device_put(tree, jax.NamedSharding(mesh, jax.sharding.PartitionSpec()))


@compiled_for_devices
def test_many_devices_give_the_numbers_of_one(name):
    assert len(jax.devices()) >= 8, "the tests force eight CPU devices"
    step, state, plain = recipe(name).method.step, initial(name), batch(name)

    # A batch is sharded over four. Examples are its second axis where it is per class;
    # segments have experts.
    four = parallel.device_mesh(4)
    is_segment = isinstance(plain, base.Segment)
    axis = 0 if is_segment else base.matched(plain).y.ndim - 2
    sampler = jax.jit(recipes.shard_batches(recipe(name).sampler, four, axis=axis))
    args = jax.random.key(3), jnp.zeros(()), source(name)
    sharded = sampler(*everywhere(args, four))
    for leaf in jax.tree.leaves(sharded):
        assert len(leaf.sharding.device_set) == 4
        assert not leaf.sharding.is_fully_replicated

    with jax.enable_x64(True):
        state, plain, sharded = double(state), double(plain), double(sharded)
        expected = two_steps(jax.jit(step), state, plain)
        found = two_steps(jax.jit(step), everywhere(state, four), sharded)
        assert_close(expected, found, 1e-6)

        # Work is spread over eight.
        eight = parallel.device_mesh(8, axis="any")
        spread = jax.jit(parallel.over_mesh(step, eight))
        found = two_steps(spread, everywhere(state, eight), plain)
        assert_close(expected, found, 1e-6)


@every_method
def test_a_checkpoint_restores_every_leaf(name, tmp_path):
    state, _ = final(name)
    store = checkpoint.Checkpoints(tmp_path / "checkpoints")
    store.save(60, state)
    restored = store.restore(jax.eval_shape(lambda: state))
    assert_bitwise(state, restored)
    assert jax.tree.structure(state) == jax.tree.structure(restored)


@every_method
def test_no_key_is_used_twice(name):
    given = recipe(name).initial_fn(jax.random.key(7), digits()), source(name)
    with jax.debug_key_reuse(True):

        def run(key, seed_examples, source):
            key_init, key_batch, key_step = jax.random.split(key, 3)
            state = recipe(name).method.init(key_init, seed_examples)
            drawn = recipe(name).sampler(key_batch, state.step, source)
            return recipe(name).method.step(key_step, state, drawn)

        jax.jit(run).trace(jax.random.key(0), *given)


@every_method
def test_sixty_steps_stay_finite_and_change_what_is_learned(name):
    state, infos = final(name)
    assert np.isfinite(np.asarray(infos.loss)).all()
    for leaf in leaves(state):
        assert np.isfinite(leaf).all()
    for before, after in zip(
        leaves(initial(name).latent.learned), leaves(state.latent.learned), strict=True
    ):
        assert np.abs(before - after).max() > 0
