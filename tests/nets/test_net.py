# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The adapters: Linen modules, NNX modules, plain functions; and `load_flat`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from distill_jax import errors, nets


class _Linen(linen.Module):
    flag: str = "train"

    @linen.compact
    def __call__(self, x, train: bool = False):
        x = linen.Dense(8)(x)
        x = linen.BatchNorm(use_running_average=not train, momentum=0.5)(x)
        x = linen.Dropout(0.5, deterministic=not train)(x)
        self.sow("intermediates", "penultimate", x)
        return linen.Dense(3)(x)


class _Deterministic(linen.Module):
    @linen.compact
    def __call__(self, x, deterministic: bool):
        return linen.Dense(3)(linen.Dropout(0.5, deterministic=deterministic)(x))


class _Nnx(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(4, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.5, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.dense = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        x = self.dropout(self.norm(self.hidden(x)))
        self.sow(nnx.Intermediate, "penultimate", x)
        return self.dense(x)


NETS = {
    "linen": lambda: nets.from_flax(_Linen()),
    "nnx": lambda: nets.from_nnx(_Nnx),
}


@pytest.mark.parametrize("kind", NETS)
def test_adapted_modules_keep_statistics_and_draw_dropout_from_the_key(kind):
    net = NETS[kind]()
    variables = net.init(jax.random.key(0), (4,))
    x = jax.random.normal(jax.random.key(1), (16, 4)) + 2
    train = jax.jit(net.apply_train)
    logits, stats = train(variables, jax.random.key(2), x)
    again, _ = train(variables, jax.random.key(2), x)
    other, _ = train(variables, jax.random.key(3), x)
    assert logits.shape == (16, 3)
    np.testing.assert_array_equal(logits, again)
    assert not np.allclose(logits, other)
    assert jax.tree.structure(stats) == jax.tree.structure(variables.stats)
    before, after = jax.tree.leaves(variables.stats), jax.tree.leaves(stats)
    assert any(not np.allclose(a, b) for a, b in zip(before, after, strict=True))

    inference = jax.jit(net.apply)(variables, x)
    np.testing.assert_array_equal(inference, jax.jit(net.apply)(variables, x))
    moved = net.apply(variables._replace(stats=stats), x)
    assert not np.allclose(inference, moved)
    assert net.features(variables, x)["penultimate"].shape == (16, 8)


@pytest.mark.parametrize("kind", NETS)
def test_adapted_modules_differ_by_key_and_map_over_keys(kind):
    net = NETS[kind]()
    keys = jax.random.split(jax.random.key(0), 3)
    variables = jax.vmap(lambda key: net.init(key, (4,)))(keys)
    logits = jax.vmap(net.apply, (0, None))(variables, jnp.ones((2, 4)))
    assert logits.shape == (3, 2, 3)
    assert not np.allclose(logits[0], logits[1])


@pytest.mark.parametrize("kind", NETS)
def test_gradients_reach_all_parameters_of_adapted_modules(kind):
    net = NETS[kind]()
    variables = net.init(jax.random.key(0), (4,))
    x = jax.random.normal(jax.random.key(1), (16, 4))

    def loss_fn(params):
        now = variables._replace(params=params)
        return jnp.sum(net.apply_train(now, jax.random.key(2), x)[0] ** 3)

    grads = jax.grad(loss_fn)(variables.params)
    assert jax.tree.structure(grads) == jax.tree.structure(variables.params)
    assert all(jnp.any(leaf != 0) for leaf in jax.tree.leaves(grads))


def test_a_module_may_ask_for_deterministic():
    net = nets.from_flax(_Deterministic(), description={"name": "mine"})
    variables = net.init(jax.random.key(0), (4,))
    x = jnp.ones((5, 4))
    np.testing.assert_array_equal(net.apply(variables, x), net.apply(variables, x))
    noisy, stats = net.apply_train(variables, jax.random.key(1), x)
    assert stats == {}
    assert not np.allclose(noisy, net.apply(variables, x))
    assert net.description == {"name": "mine"}


@pytest.mark.parametrize(
    "net",
    [
        nets.from_flax(linen.Dense(3)),
        nets.from_nnx(lambda rngs: nnx.Linear(4, 3, rngs=rngs)),
        nets.from_functions(
            lambda key, shape: jnp.ones((*shape, 3)), lambda params, x: x @ params
        ),
    ],
    ids=["linen", "nnx", "functions"],
)
def test_missing_features_are_said_in_a_sentence(net):
    variables = net.init(jax.random.key(0), (4,))
    assert net.apply_train(variables, jax.random.key(1), jnp.ones((2, 4)))[1] == {}
    with pytest.raises(errors.InputError, match='names no features "penultimate"'):
        net.features(variables, jnp.ones((2, 4)))


def test_plain_functions_may_give_features():
    net = nets.from_functions(
        lambda key, shape: jnp.ones((*shape, 3)),
        lambda params, x: x @ params,
        lambda params, x: {"penultimate": x},
        description={"name": "linear"},
    )
    variables = net.init(jax.random.key(0), (4,))
    x = jnp.ones((2, 4))
    logits, _ = net.apply_train(variables, jax.random.key(1), x)
    np.testing.assert_array_equal(logits, net.apply(variables, x))
    np.testing.assert_array_equal(net.features(variables, x)["penultimate"], x)
    assert net.description["name"] == "linear"


def test_load_flat_reads_only_what_begins_with_the_prefix():
    flat = {"params/a/b": np.ones(2), "grad/a/b": np.zeros(2), "loss": np.zeros(())}
    assert nets.load_flat(flat, prefix="params/")["a"]["b"].tolist() == [1, 1]
    with pytest.raises(errors.InputError, match=r'None of the 3 names .*"theta/"'):
        nets.load_flat(flat, prefix="theta/")
