# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Outer steps of MTT, ours and PyTorch's.

PyTorch's MTT is written with `autograd.grad(..., create_graph=True)` as the published
script is ("loop"), and once more as nested `torch.func.grad` ("functional"). Both sides
start from the same pictures and networks; without augmentation.
"""

from typing import NamedTuple

import jax
import torch
import turns

import distill_jax as dj
from distill_jax import base
from torch_side import network as torch_network
from torch_side import outer as torch_outer
from torch_side.network import mean_loss

__all__ = ["CASES", "Case", "prepare"]

# Of the student. At ten times this rate rounding alone moves the update by 3 % (one
# thread in place of two).
RATE = 0.002
LEARNING_RATE = 10.0  # of the pictures


class Case(NamedTuple):
    """What is measured; names are as ``mtt-32-20-10``."""

    method: str
    width: int
    num_steps: int  # of the student
    num_per_class: int


CASES = [Case("mtt", *rest) for rest in ((32, 20, 1), (32, 20, 10), (128, 20, 1))]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    task = torch_network.random_task(case.width)
    few = torch_network.random_examples(10 * case.num_per_class)
    start = torch_network.drawn_params(task, 0)
    # Not far, so that rounding is not all there is to the update.
    target = jax.tree.map(
        lambda a, b: a + 0.05 * b, start, torch_network.drawn_params(task, 1)
    )
    recipe = dj.methods.mtt(
        task,
        num_per_class=case.num_per_class,
        num_student_steps=case.num_steps,
        num_expert_epochs=1,
        last_start=1,
        learning_rate=LEARNING_RATE,
        rate_learning_rate=1e-6,
        initial_rate=RATE,
        rate_kind="plain",
        augmentation="none",
    )
    stack = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)
    segment = base.Segment(stack(start), stack(target))
    side_fn = lambda state, form: TorchStudent(case, few, start, target, form)
    return torch_outer.outer_contest(
        case, recipe.method, few, segment, side_fn, forms=("loop", "functional")
    )


class TorchStudent:
    """An outer loop of MTT: pictures, their learning rate, and the optimiser."""

    def __init__(self, case, few, start, target, form: str):
        self.num_steps = case.num_steps
        self.start = torch_network.torch_params(start, case.width)
        self.target = torch_network.torch_params(target, case.width)
        self.x = torch_network.pictures(few.x).requires_grad_()
        self.y = torch_network.classes(few.y)
        self.rate = torch.tensor(RATE, requires_grad=True)
        groups = [
            {"params": [self.x], "lr": LEARNING_RATE},
            {"params": [self.rate], "lr": 1e-6},
        ]
        self.optimizer = torch.optim.SGD(groups, momentum=0.5)
        self.backward = self.loop if form == "loop" else self.functional

    def run(self, count: int) -> float:
        """Takes outer steps; the loss of the last."""
        loss = 0.0
        for _ in range(count):
            self.optimizer.zero_grad()
            loss = self.backward()
            self.optimizer.step()
        return loss

    def loop(self) -> float:
        """The gradient through the student's steps, kept as a graph."""
        params = {name: leaf.requires_grad_() for name, leaf in self.start.items()}
        for _ in range(self.num_steps):
            loss = mean_loss(params, self.x, self.y)
            grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            params = {
                name: leaf - self.rate * grad
                for (name, leaf), grad in zip(params.items(), grads, strict=True)
            }
        loss = self.distance(params) / self.distance(self.start)
        loss.backward(inputs=[self.x, self.rate])
        return loss.item()

    def functional(self) -> float:
        """The same by functional transformations."""
        start = {name: leaf.detach() for name, leaf in self.start.items()}
        gradient = torch.func.grad(mean_loss)

        def loss_fn(x, rate):
            params = start
            for _ in range(self.num_steps):
                grads = gradient(params, x, self.y)
                params = {k: leaf - rate * grads[k] for k, leaf in params.items()}
            return self.distance(params) / self.distance(start)

        both = torch.func.grad_and_value(loss_fn, argnums=(0, 1))
        (self.x.grad, self.rate.grad), loss = both(self.x.detach(), self.rate.detach())
        return loss.item()

    def distance(self, params: torch_network.Params) -> torch.Tensor:
        """Squared, from the target."""
        parts = [(leaf - self.target[k]).square().sum() for k, leaf in params.items()]
        return torch.stack(parts).sum()
