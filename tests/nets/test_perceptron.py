# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The multi-layer perceptron against numpy, and what it refuses."""

import jax
import numpy as np
import pytest

from distill_jax import errors, nets


def test_mlp_matches_numpy():
    net = nets.mlp(3, hidden=(5, 4))
    variables = net.init(jax.random.key(0), (2, 3, 1))
    x = np.random.default_rng(0).normal(size=(6, 2, 3, 1)).astype(np.float32)
    params = jax.tree.map(np.asarray, variables.params)
    h = x.reshape(6, -1)
    blocks = []
    for layer in ("dense0", "dense1"):
        h = np.maximum(h @ params[layer]["kernel"] + params[layer]["bias"], 0)
        blocks.append(h)
    logits = h @ params["dense"]["kernel"] + params["dense"]["bias"]
    np.testing.assert_allclose(net.apply(variables, x), logits, rtol=1e-5, atol=1e-6)
    features = net.features(variables, x)
    np.testing.assert_allclose(features["block0"], blocks[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(features["penultimate"], h, rtol=1e-5, atol=1e-6)


def test_mlp_without_hidden_layers_is_linear():
    net = nets.mlp(3, hidden=())
    variables = net.init(jax.random.key(0), (7,))
    assert list(variables.params) == ["dense"]
    x = np.ones((2, 7), np.float32)
    np.testing.assert_array_equal(net.features(variables, x)["penultimate"], x)


def test_initial_weights_and_biases_are_uniform_by_fan_in():
    params = nets.mlp(10, hidden=(400,)).init(jax.random.key(0), (100,)).params
    kernel, bias = params["dense0"]["kernel"], params["dense0"]["bias"]
    assert 0.099 < abs(kernel).max() <= 0.1
    np.testing.assert_allclose(kernel.std(), 0.1 / 3**0.5, rtol=0.02)
    np.testing.assert_allclose(bias.std(), 0.1 / 3**0.5, rtol=0.1)


@pytest.mark.parametrize("options", [{"hidden": (0,)}, {"hidden": (8.5,)}])
def test_impossible_sizes_are_refused(options):
    with pytest.raises(errors.InputError, match="whole numbers of at least 1"):
        nets.mlp(10, **options)
    with pytest.raises(errors.InputError, match="num_classes=0"):
        nets.mlp(0)
