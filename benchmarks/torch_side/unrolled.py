# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Outer steps of backpropagation through training (BPTT), ours and PyTorch's.

PyTorch's is written with `autograd.grad(..., create_graph=True)` ("loop"), and once
more as nested `torch.func.grad` ("functional"). Both sides train the same network on
the same pictures by gradient descent, judge it on the same real ones, and move the
pictures by gradient descent; without augmentation.
"""

from typing import NamedTuple

import optax
import torch
import turns

import distill_jax as dj
from distill_jax import base
from torch_side import network as torch_network
from torch_side import outer as torch_outer
from torch_side.network import mean_loss

__all__ = ["CASES", "Case", "prepare"]

NUM_REAL = 256  # real pictures that judge the network
# At ten times this rate the training of 100 random pictures is chaotic: in float64 both
# sides' gradients agree to 2e-15, in float32 each is 114 % away from those.
INNER_RATE, LEARNING_RATE = 0.002, 10.0


class Case(NamedTuple):
    """What is measured; names are as ``bptt-32-20-1``."""

    method: str
    width: int
    num_steps: int  # of the network's training, all of them differentiated
    num_per_class: int


CASES = [Case("bptt", *rest) for rest in ((32, 20, 1), (32, 20, 10), (128, 5, 1))]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    task = torch_network.random_task(case.width)
    few = torch_network.random_examples(10 * case.num_per_class)
    real = torch_network.random_examples(NUM_REAL)
    start = torch_network.drawn_params(task, 0)
    objective = dj.objectives.unrolled_training(
        task._replace(init=lambda key, context: base.Variables(start, {})),
        num_steps=case.num_steps,
        optimizer=optax.sgd(INNER_RATE),
    )
    method = dj.distill(
        objective, decoder=dj.plain_decoder(), optimizer=optax.sgd(LEARNING_RATE)
    )
    side_fn = lambda state, form: TorchUnroll(case, few, real, start, form)
    return torch_outer.outer_contest(
        case, method, few, real, side_fn, forms=("loop", "functional")
    )


class TorchUnroll:
    """The outer loop: pictures and their optimiser."""

    def __init__(self, case, few, real, start, form: str):
        self.num_steps = case.num_steps
        self.start = torch_network.torch_params(start, case.width)
        self.x = torch_network.pictures(few.x).requires_grad_()
        self.real = torch_network.pictures(real.x)
        self.y, self.y_real = (torch_network.classes(each.y) for each in (few, real))
        self.optimizer = torch.optim.SGD([self.x], lr=LEARNING_RATE)
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
        """The gradient through the training, kept as a graph."""
        params = {name: leaf.requires_grad_() for name, leaf in self.start.items()}
        for _ in range(self.num_steps):
            loss = mean_loss(params, self.x, self.y)
            grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            params = {
                name: leaf - INNER_RATE * grad
                for (name, leaf), grad in zip(params.items(), grads, strict=True)
            }
        loss = mean_loss(params, self.real, self.y_real)
        loss.backward(inputs=[self.x])
        return loss.item()

    def functional(self) -> float:
        """The same by functional transformations."""
        start = {name: leaf.detach() for name, leaf in self.start.items()}
        gradient = torch.func.grad(mean_loss)

        def loss_fn(x):
            params = start
            for _ in range(self.num_steps):
                grads = gradient(params, x, self.y)
                params = {k: leaf - INNER_RATE * grads[k] for k, leaf in params.items()}
            return mean_loss(params, self.real, self.y_real)

        self.x.grad, loss = torch.func.grad_and_value(loss_fn)(self.x.detach())
        return loss.item()
