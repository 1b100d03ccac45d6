# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Epochs of ordinary training by SGD, ours and PyTorch's.

PyTorch's side is the usual loop ("loop"), and once more with a compiled loss
("compiled"). Both sides start from the same network and see the same mini-batches;
without augmentation.
"""

import functools
import time
from typing import NamedTuple

import jax
import numpy as np
import optax
import torch
import turns

from distill_jax import base
from distill_jax.compute import compiling
from distill_jax.training import loop, minibatches
from torch_side import network as torch_network
from torch_side.network import mean_loss

__all__ = ["CASES", "Case", "prepare"]

# At five times this rate 20 steps double rounding so often that one of both sides is
# 1 % away from the parameters in float64.
RATE = 0.002


class Case(NamedTuple):
    """What is measured; names are as ``train-32-20-64``."""

    method: str
    width: int
    num_steps: int  # of an epoch
    batch_size: int
    pictures: str = "grey"


CASES = [
    *(Case("train", width, 20, 64) for width in (32, 128)),
    *(Case("train", width, 20, 64, "colour") for width in (32, 128)),
    *(Case("experts", width, 10, 256) for width in (32, 128)),
]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    num_examples = case.num_steps * case.batch_size
    task = torch_network.random_task(case.width, case.pictures)
    real = torch_network.random_examples(num_examples, case.pictures)
    start = torch_network.drawn_params(task, 0)
    order = jax.random.permutation(jax.random.key(3), num_examples)

    def epoch(params, real):
        after = loop.fit(
            jax.random.key(0),
            base.Variables(params, {}),
            task,
            real,
            optimizer=optax.sgd(RATE),
            num_steps=case.num_steps,
            batching=minibatches.Batching(case.batch_size, order=order[None]),
        )
        return jax.tree.map(lambda leaf: leaf[-1], after.params)

    epoch, (start, real) = turns.over_devices(epoch, start, real)
    began = time.perf_counter()
    compiled = compiling.ahead_of_time(epoch, start, real)
    compile_seconds = time.perf_counter() - began

    def ours(count: int):
        params = start
        for _ in range(count):
            params = compiled(params, real)
        return jax.block_until_ready(params)

    x, y = torch_network.pictures(real.x), torch_network.classes(real.y)
    rows = torch.tensor(np.array(order)).long().split(case.batch_size)

    def theirs(count: int, loss_fn=mean_loss) -> torch_network.Params:
        params = torch_network.torch_params(start, case.width)
        leaves = [leaf.requires_grad_() for leaf in params.values()]
        optimizer = torch.optim.SGD(leaves, lr=RATE)
        for _ in range(count):
            for chosen in rows:
                optimizer.zero_grad()
                loss_fn(params, x[chosen], y[chosen]).backward()
                optimizer.step()
        return params

    fns = {"loop": theirs}
    for form in torch_network.COMPILED:
        fns[form] = functools.partial(theirs, loss_fn=torch_network.compiled(mean_loss))
    begin = torch_network.torch_params(start, case.width)
    mine = torch_network.torch_params(ours(1), case.width)
    for form, fn in fns.items():
        sides = mine, fn(1)
        losses = (mean_loss(params, x, y).item() for params in sides)
        moves = (torch_network.flat(p) - torch_network.flat(begin) for p in sides)
        turns.check_agreement(case, form, *losses, *moves)
    unit = f"epochs of {num_examples} pictures"
    return turns.Contest(unit, {"jax": ours, **fns}, compile_seconds)
