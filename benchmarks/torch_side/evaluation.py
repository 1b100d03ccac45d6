# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Evaluations of a distilled set, ours and PyTorch's.

Networks are trained on a few pictures, all of them in every step, and give the logits
of real ones. PyTorch's side trains one network after the other ("loop"), the same with
a compiled loss ("compiled"), and all together by `vmap` over networks ("together").
Both sides start from the same networks; without augmentation.
"""

import time
from typing import NamedTuple

import jax
import numpy as np
import optax
import torch
import turns

from distill_jax import base, evaluation
from distill_jax.compute import compiling
from distill_jax.training import loop as loop_lib
from distill_jax.training import pool
from torch_side import network as torch_network
from torch_side.network import mean_loss

__all__ = ["CASES", "Case", "prepare"]

NUM_NETWORKS, NUM_STEPS = 5, 30
NUM_REAL, CHUNK_SIZE = 1000, 250  # of real pictures PyTorch takes so many at a time
LEARNING_RATE = 0.01
PROTOCOL = evaluation.Protocol(num_steps=NUM_STEPS, learning_rate=LEARNING_RATE)


class Case(NamedTuple):
    """What is measured; names are as ``evaluate-32-10``."""

    method: str
    width: int
    num_per_class: int


CASES = [Case("evaluate", *rest) for rest in ((32, 1), (32, 10), (128, 1))]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    task = torch_network.random_task(case.width)
    few = torch_network.random_examples(10 * case.num_per_class)
    real = torch_network.random_examples(NUM_REAL)
    starts = [torch_network.drawn_params(task, seed) for seed in range(NUM_NETWORKS)]
    stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *starts)

    def judge(starts, few, x):
        def one(start):
            variables, _ = evaluation.train(
                jax.random.key(0),
                task,
                few,
                PROTOCOL,
                variables=base.Variables(start, {}),
            )
            end = jax.tree.map(lambda leaf: leaf[-1], variables)
            return end.params, loop_lib.predict_logits(task, end, x)

        return pool.map_networks(one, starts)

    judge, (stacked, few, real) = turns.over_devices(judge, stacked, few, real)
    began = time.perf_counter()
    compiled = compiling.ahead_of_time(judge, stacked, few, real.x)
    compile_seconds = time.perf_counter() - began

    def ours(count: int):
        outcome = None
        for _ in range(count):
            outcome = compiled(stacked, few, real.x)
        return jax.block_until_ready(outcome)

    fns = {
        form: TorchEvaluation(case, starts, few, real.x, form).run
        for form in ("loop", "together", *torch_network.COMPILED)
    }
    begin = _flat([torch_network.torch_params(each, case.width) for each in starts])
    params, logits = ours(1)
    ends = [jax.tree.map(lambda leaf: leaf[i], params) for i in range(NUM_NETWORKS)]
    moved = _flat([torch_network.torch_params(e, case.width) for e in ends]) - begin
    loss = _test_loss(np.asarray(logits), real.y)
    for form, fn in fns.items():
        params, logits = fn(1)
        other = _test_loss(logits.numpy(), real.y)
        turns.check_agreement(case, form, loss, other, moved, _flat(params) - begin)
    unit = f"evaluations by {NUM_NETWORKS} networks"
    return turns.Contest(unit, {"jax": ours, **fns}, compile_seconds)


class TorchEvaluation:
    """Networks to be trained, the pictures they learn, and those they are tested on."""

    def __init__(self, case: Case, starts: list, few: base.Examples, x_real, form: str):
        self.starts = [torch_network.torch_params(each, case.width) for each in starts]
        self.x, self.y = torch_network.pictures(few.x), torch_network.classes(few.y)
        self.x_real = torch_network.pictures(x_real).split(CHUNK_SIZE)
        self.loss_fn, self.logits_fn = mean_loss, torch_network.logits
        if form == "compiled":
            self.loss_fn = torch_network.compiled(self.loss_fn)
            self.logits_fn = torch_network.compiled(self.logits_fn)
        self.judge = self.together if form == "together" else self.loop

    def run(self, count: int) -> tuple[list[torch_network.Params], torch.Tensor]:
        """Evaluates; the parameters at the end, and the logits [R, N, C]."""
        outcome = [], torch.empty(0)
        for _ in range(count):
            outcome = self.judge()
        return outcome

    def loop(self) -> tuple[list[torch_network.Params], torch.Tensor]:
        """One network after the other."""
        ends, logits = [], []
        for start in self.starts:
            params = {k: leaf.clone().requires_grad_() for k, leaf in start.items()}
            optimizer = _optimizer(params)
            for _ in range(NUM_STEPS):
                optimizer.zero_grad()
                self.loss_fn(params, self.x, self.y).backward()
                optimizer.step()
            with torch.no_grad():
                parts = [self.logits_fn(params, x) for x in self.x_real]
            logits.append(torch.cat(parts))
            ends.append(params)
        return ends, torch.stack(logits)

    def together(self) -> tuple[list[torch_network.Params], torch.Tensor]:
        """All networks at once, in stacks of parameters."""
        stack = lambda name: torch.stack([start[name] for start in self.starts])
        params = {name: stack(name).requires_grad_() for name in self.starts[0]}
        optimizer = _optimizer(params)
        losses_fn = torch.func.vmap(mean_loss, in_dims=(0, None, None))
        for _ in range(NUM_STEPS):
            optimizer.zero_grad()
            losses_fn(params, self.x, self.y).sum().backward()
            optimizer.step()
        logits_fn = torch.func.vmap(torch_network.logits, in_dims=(0, None))
        with torch.no_grad():
            logits = torch.cat([logits_fn(params, x) for x in self.x_real], dim=1)
        take = lambda i: {name: leaf[i] for name, leaf in params.items()}
        return [take(i) for i in range(NUM_NETWORKS)], logits


def _optimizer(params: torch_network.Params) -> torch.optim.Optimizer:
    """That of the protocol."""
    return torch.optim.SGD(
        params.values(),
        lr=LEARNING_RATE,
        momentum=PROTOCOL.momentum,
        weight_decay=PROTOCOL.weight_decay,
    )


def _flat(networks: list[torch_network.Params]) -> np.ndarray:
    return np.concatenate([torch_network.flat(params) for params in networks])


def _test_loss(logits: np.ndarray, y: jax.Array) -> float:
    return float(optax.softmax_cross_entropy(logits, y).mean())
