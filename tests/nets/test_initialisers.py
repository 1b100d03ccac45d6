# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A network's weights: one draw, the distribution of every layer, independent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from scipy import stats

from distill_jax import nets
from distill_jax.nets import initialisers, layers


def draws_of(fn, *args):
    """How often a function draws random bits."""
    return str(jax.make_jaxpr(fn)(*args)).count("random_bits")


@pytest.mark.parametrize("name", ["convnet", "mlp", "alexnet", "vgg11", "resnet18"])
def test_a_network_is_one_draw(name):
    net = nets.build({"name": name, "num_classes": 3})
    assert draws_of(lambda key: net.init(key, (32, 32, 3)), jax.random.key(0)) == 1


def test_layers_differ_in_their_bound_alone_and_are_independent():
    net = nets.mlp(300, hidden=(300, 300))
    params = jax.jit(net.init, static_argnums=1)(jax.random.key(3), (300,)).params
    kernels = [np.ravel(leaf) for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    assert len(kernels) == 3
    for kernel in kernels:
        assert stats.kstest(kernel * 300**0.5, "uniform", (-1, 2)).pvalue > 1e-3
    for one, other in [(0, 1), (1, 2), (0, 2)]:
        assert stats.pearsonr(kernels[one], kernels[other]).pvalue > 1e-3


def test_networks_under_vmap_are_those_of_their_keys():
    net = nets.convnet(3, width=4, depth=1)
    keys = jax.random.split(jax.random.key(0), 2)
    stacked = jax.vmap(lambda key: net.init(key, (8, 8, 1)))(keys)
    alone = net.init(keys[1], (8, 8, 1))
    for many, one in zip(jax.tree.leaves(stacked), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(many[1], one, rtol=1e-6)


class Mixed(linen.Module):
    """A layer of ours beside one of Flax."""

    @linen.compact
    def __call__(self, x):
        return layers.Dense(2)(x) + linen.Dense(
            2, bias_init=linen.initializers.normal()
        )(x)


def test_what_a_module_draws_itself_stays():
    key = jax.random.key(4)
    own = linen.Dense(3)
    found = nets.from_flax(own).init(key, (4,)).params
    expected = own.init(jax.random.split(key)[0], jnp.zeros((1, 4)))["params"]
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    params = nets.from_flax(Mixed()).init(key, (4,)).params
    ours, theirs = params["Dense_0"]["kernel"], params["Dense_1"]["kernel"]
    assert np.unique(np.concatenate([np.ravel(ours), np.ravel(theirs)])).size == 16


def test_a_failure_leaves_no_trace():
    def fails(key, shape):
        initialisers.uniform(4)(key, shape)
        raise ValueError("no such network")

    with pytest.raises(ValueError, match="no such network"):
        initialisers.drawn_at_once(fails)(jax.random.key(0), (2,))
    fresh = initialisers.uniform(1)(jax.random.key(0), (5,))
    assert bool((fresh != 0).any())
