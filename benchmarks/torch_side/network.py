# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The ConvNet-3 of the benchmarks in PyTorch, with the parameters of ours."""

import shutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch.nn import functional
from torch.utils import flop_counter

import distill_jax as dj
from distill_jax import base, types

__all__ = [
    "COMPILED",
    "NUM_CLASSES",
    "SHAPES",
    "Params",
    "classes",
    "compiled",
    "drawn_params",
    "embed",
    "flat",
    "fresh_params",
    "logits",
    "mean_loss",
    "num_gflop",
    "pictures",
    "random_examples",
    "random_task",
    "torch_params",
]

# The form that needs a compiler of C++, where there is one.
COMPILED = ("compiled",) if shutil.which("c++") else ()
NUM_CLASSES = 10
SHAPES = {"grey": (28, 28, 1), "colour": (32, 32, 3)}

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


def flat(params: Params) -> np.ndarray:
    """All numbers of a network in a row."""
    return np.concatenate([np.ravel(leaf.detach().numpy()) for leaf in params.values()])


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
    """The features of [B, 1, 28, 28] or [B, 3, 32, 32], flattened."""
    padding = 3 if x.shape[1] == 1 else 1  # Grey pictures become as large as colour.
    for block in range(3):
        kernel, bias = params[f"conv{block}/kernel"], params[f"conv{block}/bias"]
        x = functional.conv2d(x, kernel, bias, padding=padding)
        scale, shift = params[f"norm{block}/scale"], params[f"norm{block}/bias"]
        x = functional.group_norm(x, x.shape[1], scale, shift)
        x = functional.avg_pool2d(functional.relu(x), 2)
        padding = 1
    return x.flatten(1)


def logits(params: Params, x: torch.Tensor) -> torch.Tensor:
    """[B, C]."""
    return functional.linear(
        embed(params, x), params["dense/kernel"], params["dense/bias"]
    )


def mean_loss(params: Params, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy."""
    return functional.cross_entropy(logits(params, x), y)


def pictures(x: jax.Array) -> torch.Tensor:
    """[B, H, W, C] as [B, C, H, W]."""
    return torch.tensor(np.asarray(x).transpose(0, 3, 1, 2).copy())


def classes(y: jax.Array) -> torch.Tensor:
    """Rows [B, C] as the number of the class [B]."""
    return torch.tensor(np.asarray(y).argmax(axis=1))


def compiled(fn: Callable) -> Callable:
    """The function as PyTorch's compiler makes it for each shape apart."""
    return torch.compile(fn, dynamic=False)


def num_gflop(fn: Callable[[], Any]) -> float:
    """What the products and convolutions of a program of PyTorch cost, derivatives too.

    Each multiplication and each addition of the plain sums counts; a program that gets
    along with fewer (tiles) is credited with all of them.

    Example:
      >>> a = torch.ones(100, 200)
      >>> num_gflop(lambda: a @ a.T)  # 2 * 100 * 200 * 100
      0.004
    """
    with flop_counter.FlopCounterMode(display=False) as counter:
        fn()
    return counter.get_total_flops() / 1e9


def random_task(width: int, kind: str = "grey") -> base.Task:
    """Our side of the same network, on random pictures of a kind."""
    names = (*"0123456789",)
    spec = dj.data.DataSpec("random", SHAPES[kind], NUM_CLASSES, names, None, "")
    net = dj.nets.convnet(NUM_CLASSES, width=width)
    return dj.tasks.classification(net, spec)


def random_examples(num: int, kind: str = "grey") -> base.Examples:
    """Random pictures of all classes in turn."""
    rng = np.random.default_rng(num)
    x = rng.normal(size=(num, *SHAPES[kind])).astype(np.float32)
    y = np.eye(NUM_CLASSES, dtype=np.float32)[np.arange(num) % NUM_CLASSES]
    return base.Examples(jnp.asarray(x), jnp.asarray(y))


def drawn_params(task: base.Task, seed: int) -> types.PyTree:
    """The parameters of a fresh network of ours."""
    context = task.sample_context(jax.random.key(0))
    return task.init(jax.random.key(seed), context).params
