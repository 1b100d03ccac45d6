# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The layers of networks in numpy and float64, written from their definitions."""

import types

import jax
import numpy as np
import pytest


def conv(x, params, padding, stride=1):
    kernel = np.asarray(params["kernel"], np.float64)
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (1, 2))
    windows = windows[:, ::stride, ::stride]  # [B, h, w, channels, rows, columns]
    out = np.einsum("bhwcij,ijco->bhwo", windows, kernel)
    return out + np.asarray(params.get("bias", 0.0))


def norm(x, params, stats=None, *, axes=(1, 2)):
    """Over space, or over the batch too, or with given statistics."""
    mean = x.mean(axes, keepdims=True) if stats is None else np.asarray(stats["mean"])
    var = x.var(axes, keepdims=True) if stats is None else np.asarray(stats["var"])
    x = (x - mean) / np.sqrt(var + 1e-5)
    return x * np.asarray(params["scale"]) + np.asarray(params["bias"])


def pool(x, reduce_fn):
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    corners = [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    return reduce_fn(np.stack(corners), axis=0)


def dense(x, params):
    return x @ np.asarray(params["kernel"]) + np.asarray(params["bias"])


@pytest.fixture
def draw():
    """Variables and examples of a network, by numpy: compiling `init` takes longer."""

    def of(net, shape, num_rows=2):
        rng = np.random.default_rng(0)
        template = jax.eval_shape(lambda: net.init(jax.random.key(0), shape))
        value = lambda leaf: (
            rng.uniform(0.5, 1.5, leaf.shape)
            * rng.choice([-1, 1], leaf.shape)
            / max(leaf.size / leaf.shape[-1], 1) ** 0.5
        )
        params = jax.tree.map(value, template.params)
        stats = jax.tree_util.tree_map_with_path(
            lambda path, leaf: np.full(leaf.shape, float(path[-1].key == "var")),
            template.stats,
        )
        return template._replace(params=params, stats=stats), rng.normal(
            size=(num_rows, *shape)
        )

    return of


@pytest.fixture
def reference():
    """The layers by name."""
    return types.SimpleNamespace(conv=conv, norm=norm, pool=pool, dense=dense)


@pytest.fixture
def check_gradient():
    """Compares a derivative along a random direction with finite differences."""

    def check(loss_fn, params, grads, seed=0, step=1e-6):
        rng = np.random.default_rng(seed)
        direction = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), params)
        at = lambda t: jax.tree.map(
            lambda leaf, d: np.asarray(leaf) + t * d, params, direction
        )
        numeric = (loss_fn(at(step)) - loss_fn(at(-step))) / (2 * step)
        slopes = jax.tree.map(lambda g, d: np.sum(np.asarray(g) * d), grads, direction)
        np.testing.assert_allclose(sum(jax.tree.leaves(slopes)), numeric, rtol=1e-5)

    return check
