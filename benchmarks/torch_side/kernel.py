# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Outer steps of FRePo, ours and PyTorch's.

The loss is that of kernel ridge regression on the features of one network, which then
takes a step of Adam on the pictures. Pictures and labels move by gradient descent.
PyTorch's is eager ("loop") and, where it can be, compiled ("compiled"). Both sides
start from the same network, pictures and real batch.
"""

from typing import NamedTuple

import jax
import optax
import torch
import turns

import distill_jax as dj
from distill_jax import base
from torch_side import network as torch_network
from torch_side import outer as torch_outer
from torch_side.network import NUM_CLASSES, embed

__all__ = ["CASES", "Case", "prepare"]

NUM_REAL = 256
RIDGE = 1e-3  # times the mean diagonal of the kernel
LEARNING_RATE = {"x": 1.0, "y": 0.1}
NETWORK_RATE = 3e-4


class Case(NamedTuple):
    """What is measured; names are as ``frepo-32-10``."""

    method: str
    width: int
    num_per_class: int


CASES = [Case("frepo", *rest) for rest in ((32, 1), (32, 10))]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    task = torch_network.random_task(case.width)
    objective = dj.objectives.kernel_regression(
        task,
        num_networks=1,
        training=dj.objectives.MemberTraining(10**6, NETWORK_RATE),
        ridge=RIDGE,
    )
    method = dj.distill(
        objective,
        decoder=dj.transforms.learn_labels(dj.plain_decoder(), kind="centred"),
        optimizer={name: optax.sgd(rate) for name, rate in LEARNING_RATE.items()},
    )
    few = torch_network.random_examples(10 * case.num_per_class)
    few = jax.tree.map(lambda leaf: leaf[few.y.argmax(axis=1).argsort()], few)
    real = torch_network.random_examples(NUM_REAL)
    side_fn = lambda state, form: TorchRegression(case, state, real, form)
    return torch_outer.outer_contest(
        case, method, few, real, side_fn, forms=("loop", *torch_network.COMPILED)
    )


class TorchRegression:
    """The outer loop: pictures, labels, the network, and their optimisers."""

    def __init__(self, case: Case, state: base.State, real: base.Examples, form: str):
        params = jax.tree.map(lambda leaf: leaf[0], state.inner.variables.params)
        params = torch_network.torch_params(params, case.width)
        self.params = {name: leaf.requires_grad_() for name, leaf in params.items()}
        learned = state.latent.learned
        self.x = torch_network.pictures(learned["x"]).requires_grad_()
        self.y = torch.tensor(jax.device_get(learned["y"]), requires_grad=True)
        self.x_real = torch_network.pictures(real.x)
        self.y_real = torch.tensor(jax.device_get(real.y)) - 1 / NUM_CLASSES
        groups = [
            {"params": [getattr(self, name)], "lr": rate}
            for name, rate in LEARNING_RATE.items()
        ]
        self.optimizer = torch.optim.SGD(groups)
        self.network_optimizer = torch.optim.Adam(self.params.values(), lr=NETWORK_RATE)
        self.loss_fn, self.error_fn = regression_loss, network_error
        if form == "compiled":
            self.loss_fn = torch_network.compiled(self.loss_fn)
            self.error_fn = torch_network.compiled(self.error_fn)

    def run(self, count: int) -> float:
        """Takes outer steps; the loss of the last."""
        loss = 0.0
        for _ in range(count):
            self.optimizer.zero_grad()
            params = {name: leaf.detach() for name, leaf in self.params.items()}
            value = self.loss_fn(params, self.x, self.y, self.x_real, self.y_real)
            value.backward()
            loss = value.item()
            self.optimizer.step()

            self.network_optimizer.zero_grad()
            self.error_fn(self.params, self.x.detach(), self.y.detach()).backward()
            self.network_optimizer.step()
        return loss


def regression_loss(params, x, y, x_real, y_real) -> torch.Tensor:
    """The squared error of the regression less the margin of the labels."""
    real, synthetic = embed(params, x_real), embed(params, x)
    kernel = synthetic @ synthetic.T
    jitter = RIDGE * kernel.trace() / len(kernel)
    factor = torch.linalg.cholesky(kernel + jitter * torch.eye(len(kernel)))
    predicted = (real @ synthetic.T) @ torch.cholesky_solve(y, factor)
    error = 0.5 * (predicted - y_real).square().sum(1).mean()
    top = y.topk(2, dim=1).values
    return error - (top[:, 0] - top[:, 1]).clamp(max=1 / NUM_CLASSES).mean()


def network_error(params, x, y) -> torch.Tensor:
    """What the network minimises."""
    return 0.5 * (torch_network.logits(params, x) - y).square().sum(1).mean()
