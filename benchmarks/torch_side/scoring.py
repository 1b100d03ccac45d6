# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores of examples by the norms of their gradients, ours and PyTorch's.

PyTorch's side takes a backward pass for each example ("loop", as the published scripts
do), or all of a part of them at once by `vmap` over a gradient ("together", and the
same compiled). Both sides score the same pictures by the same networks.
"""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import turns

from distill_jax import base, data, scores
from distill_jax.compute import compiling
from torch_side import network as torch_network
from torch_side.network import mean_loss

__all__ = ["CASES", "Case", "prepare"]

NUM_NETWORKS = 2
# The pictures are as networks see them.
SAME = data.Normalizer(np.float32(1), np.zeros(1, np.float32), np.ones(1, np.float32))


class Case(NamedTuple):
    """What is measured; names are as ``score-32-256``."""

    method: str
    width: int
    num_real: int


CASES = [Case("score", *rest) for rest in ((32, 256), (128, 64))]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    task = torch_network.random_task(case.width)
    real = torch_network.random_examples(case.num_real)
    params = [torch_network.drawn_params(task, seed) for seed in range(NUM_NETWORKS)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    source = base.Source(
        real.x, real.y, SAME, jnp.zeros((10, 1), int), jnp.ones(10, int)
    )

    def rate(stacked, source):
        return scores.rate(task, base.Variables(stacked, {}), source).value

    rate, (stacked, source) = turns.over_devices(rate, stacked, source)
    began = time.perf_counter()
    compiled = compiling.ahead_of_time(rate, stacked, source)
    compile_seconds = time.perf_counter() - began

    def ours(count: int):
        values = None
        for _ in range(count):
            values = compiled(stacked, source)
        return np.asarray(jax.block_until_ready(values))

    fns = {
        form: TorchScoring(case, params, real, form).run
        for form in ("loop", "together", *torch_network.COMPILED)
    }
    values = ours(1)
    for form, fn in fns.items():
        other = fn(1)
        turns.check_agreement(case, form, values.mean(), other.mean(), values, other)
    unit = f"scorings of {case.num_real} examples by {NUM_NETWORKS} networks"
    return turns.Contest(unit, {"jax": ours, **fns}, compile_seconds)


class TorchScoring:
    """Networks, and the pictures that they score."""

    part_size = 32  # The fastest of 16, 32, 64 and all at once.

    def __init__(self, case: Case, params: list, real: base.Examples, form: str):
        self.params = [torch_network.torch_params(each, case.width) for each in params]
        self.x, self.y = torch_network.pictures(real.x), torch_network.classes(real.y)
        self.norms = _norms
        if form == "compiled":
            self.norms = torch_network.compiled(_norms)
        self.score = self.loop if form == "loop" else self.in_parts

    def run(self, count: int) -> np.ndarray:
        """The scores, [N]."""
        values = torch.empty(0)
        for _ in range(count):
            values = torch.stack([self.score(each) for each in self.params]).mean(dim=0)
        return values.numpy()

    def loop(self, params: torch_network.Params) -> torch.Tensor:
        """One example after the other."""
        params = {k: leaf.clone().requires_grad_() for k, leaf in params.items()}
        values = []
        for i in range(len(self.x)):
            loss = mean_loss(params, self.x[i : i + 1], self.y[i : i + 1])
            gradient = torch.autograd.grad(loss, list(params.values()))
            values.append(torch.sqrt(sum((leaf**2).sum() for leaf in gradient)))
        return torch.stack(values)

    def in_parts(self, params: torch_network.Params) -> torch.Tensor:
        """Some examples at a time."""
        parts = zip(
            self.x.split(self.part_size), self.y.split(self.part_size), strict=True
        )
        return torch.cat([self.norms(params, x, y) for x, y in parts])


def _norms(params: torch_network.Params, x: torch.Tensor, y: torch.Tensor):
    """The norm of the gradient of each example, [B]."""
    loss_of_one = lambda params, x, y: mean_loss(params, x[None], y[None])
    gradient_fn = torch.func.vmap(torch.func.grad(loss_of_one), in_dims=(None, 0, 0))
    gradients = gradient_fn(params, x, y)
    return torch.sqrt(
        sum((leaf**2).flatten(1).sum(dim=1) for leaf in gradients.values())
    )
