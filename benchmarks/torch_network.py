# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The ConvNet-3 of the benchmarks in PyTorch, with the parameters of ours."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional

import distill_jax as dj
from distill_jax import base, types

__all__ = [
    "NUM_CLASSES",
    "SHAPE",
    "Params",
    "drawn_params",
    "embed",
    "fresh_params",
    "mean_loss",
    "pictures",
    "random_examples",
    "random_task",
    "torch_params",
]

NUM_CLASSES = 10
SHAPE = (28, 28, 1)

Params = dict[str, torch.Tensor]


def torch_params(tree: types.PyTree, width: int) -> Params:
    """The same network, with PyTorch's order of axes."""
    tree = jax.tree.map(np.array, tree)
    params = {}
    for name, leaves in tree.items():
        for kind, leaf in leaves.items():
            if kind == "kernel" and leaf.ndim == 4:
                leaf = leaf.transpose(3, 2, 0, 1)
            elif kind == "kernel":  # Rows are (row, column, channel) there.
                side = round((leaf.shape[0] / width) ** 0.5)
                leaf = leaf.reshape(side, side, width, -1).transpose(3, 2, 0, 1)
                leaf = leaf.reshape(leaf.shape[0], -1)
            params[f"{name}/{kind}"] = torch.tensor(np.ascontiguousarray(leaf))
    return params


def fresh_params(params: Params) -> Params:
    """A new random network of the same shapes, PyTorch's distribution."""
    drawn = {}
    for name, leaf in params.items():
        if name.startswith("norm"):
            drawn[name] = leaf
        else:
            kernel = params[name.split("/")[0] + "/kernel"]
            limit = kernel[0].numel() ** -0.5
            drawn[name] = torch.empty_like(leaf).uniform_(-limit, limit)
    return drawn


def embed(params: Params, x: torch.Tensor) -> torch.Tensor:
    """The features of [B, 1, 28, 28], flattened."""
    for block in range(3):
        kernel, bias = params[f"conv{block}/kernel"], params[f"conv{block}/bias"]
        x = functional.conv2d(x, kernel, bias, padding=3 if block == 0 else 1)
        scale, shift = params[f"norm{block}/scale"], params[f"norm{block}/bias"]
        x = functional.group_norm(x, x.shape[1], scale, shift)
        x = functional.avg_pool2d(functional.relu(x), 2)
    return x.flatten(1)


def mean_loss(params: Params, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy."""
    logits = functional.linear(
        embed(params, x), params["dense/kernel"], params["dense/bias"]
    )
    return functional.cross_entropy(logits, y)


def pictures(x: jax.Array) -> torch.Tensor:
    """[B, H, W, C] as [B, C, H, W]."""
    return torch.tensor(np.asarray(x).transpose(0, 3, 1, 2).copy())


def random_task(width: int) -> base.Task:
    """Our side of the same network, on random pictures."""
    spec = dj.data.DataSpec("random", SHAPE, NUM_CLASSES, (*"0123456789",), None, "")
    net = dj.nets.convnet(NUM_CLASSES, width=width)
    return dj.tasks.classification(net, spec)


def random_examples(num: int) -> base.Examples:
    """Random pictures of all classes in turn."""
    rng = np.random.default_rng(num)
    x = rng.normal(size=(num, *SHAPE)).astype(np.float32)
    y = np.eye(NUM_CLASSES, dtype=np.float32)[np.arange(num) % NUM_CLASSES]
    return base.Examples(jnp.asarray(x), jnp.asarray(y))


def drawn_params(task: base.Task, seed: int) -> types.PyTree:
    """The parameters of a fresh network of ours."""
    context = task.sample_context(jax.random.key(0))
    return task.init(jax.random.key(seed), context).params
