# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Outer steps of MTT and epochs of experts, ours and PyTorch's.

PyTorch's MTT is written with `autograd.grad(..., create_graph=True)` as the published
script is ("loop"), and once more as nested `torch.func.grad` ("functional"). Both sides
start from the same pictures, networks and orders of examples; without augmentation.
"""

import time
from typing import NamedTuple

import jax
import numpy as np
import optax
import torch
import torch_network
import turns
from torch_network import mean_loss

import distill_jax as dj
from distill_jax import base
from distill_jax.inner import learn

__all__ = ["CASES", "Case", "prepare"]

RATE = 0.02  # of the student
LEARNING_RATE = 10.0  # of the pictures
NUM_EXAMPLES = 2560  # of an epoch of experts, in mini-batches of 256


class Case(NamedTuple):
    """What is measured; names are as ``mtt-32-20-10``."""

    method: str  # or "experts"
    width: int
    num_steps: int  # of the student or of the expert
    num_per_class: int


CASES = [
    *(Case("mtt", *rest) for rest in ((32, 20, 1), (32, 20, 10), (128, 20, 1))),
    *(Case("experts", width, 10, 256) for width in (32, 128)),
]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    task = torch_network.random_task(case.width)
    return (_experts if case.method == "experts" else _mtt)(case, task)


# --- MTT.


def _mtt(case: Case, task: base.Task) -> turns.Contest:
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
    state = jax.jit(recipe.method.init)(jax.random.key(1), few)
    stack = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)
    segment = base.Segment(stack(start), stack(target))
    run = dj.runtime.scan_steps(
        recipe.method, lambda key, step, source: source, num_steps=100
    )
    key = jax.random.key(2)
    began = time.perf_counter()
    jax.block_until_ready(run(key, state, segment, 0))
    compile_seconds = time.perf_counter() - began

    sides = {
        form: TorchStudent(case, few, start, target, form)
        for form in ("loop", "functional")
    }
    after, infos = run(key, state, segment, 1)
    moved = np.asarray(after.latent.learned["x"] - state.latent.learned["x"])
    for form, side in sides.items():
        before = side.x.detach().numpy().copy()
        loss = side.run(1)
        other = (side.x.detach().numpy() - before).transpose(0, 2, 3, 1)
        turns.check_agreement(case, form, float(infos.loss[0]), loss, moved, other)
    fns = {form: side.run for form, side in sides.items()}
    ours = lambda count: jax.block_until_ready(run(key, state, segment, count))
    return turns.Contest("steps", {"jax": ours, **fns}, compile_seconds)


class TorchStudent:
    """An outer loop of MTT: pictures, their learning rate, and the optimiser."""

    def __init__(self, case, few, start, target, form: str):
        self.num_steps = case.num_steps
        self.start = torch_network.torch_params(start, case.width)
        self.target = torch_network.torch_params(target, case.width)
        self.x = torch_network.pictures(few.x).requires_grad_()
        self.y = torch.tensor(np.asarray(few.y).argmax(axis=1))
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


# --- Experts.


def _experts(case: Case, task: base.Task) -> turns.Contest:
    real = torch_network.random_examples(NUM_EXAMPLES)
    start = torch_network.drawn_params(task, 0)
    order = jax.random.permutation(jax.random.key(3), NUM_EXAMPLES)
    batch_size = NUM_EXAMPLES // case.num_steps

    @jax.jit
    def epoch(params, x, y):
        after = learn.fit(
            jax.random.key(0),
            base.Variables(params, {}),
            task,
            base.Examples(x, y),
            optimizer=optax.sgd(0.01),
            num_steps=case.num_steps,
            batch_size=batch_size,
            order=order[None],
        )
        return jax.tree.map(lambda leaf: leaf[-1], after.params)

    began = time.perf_counter()
    compiled = epoch.lower(start, real.x, real.y).compile()
    compile_seconds = time.perf_counter() - began

    def ours(count: int):
        params = start
        for _ in range(count):
            params = compiled(params, real.x, real.y)
        return jax.block_until_ready(params)

    x = torch_network.pictures(real.x)
    y = torch.tensor(np.asarray(real.y).argmax(axis=1))
    rows = torch.tensor(np.array(order)).long().split(batch_size)

    def theirs(count: int) -> torch_network.Params:
        params = torch_network.torch_params(start, case.width)
        leaves = [leaf.requires_grad_() for leaf in params.values()]
        optimizer = torch.optim.SGD(leaves, lr=0.01)
        for _ in range(count):
            for chosen in rows:
                optimizer.zero_grad()
                mean_loss(params, x[chosen], y[chosen]).backward()
                optimizer.step()
        return params

    flat = lambda params: np.concatenate(
        [np.ravel(leaf.detach().numpy()) for leaf in params.values()]
    )
    begin = flat(torch_network.torch_params(start, case.width))
    mine = flat(torch_network.torch_params(ours(1), case.width))
    other = flat(theirs(1))
    distances = np.linalg.norm(mine - begin), np.linalg.norm(other - begin)
    turns.check_agreement(case, "loop", *distances, mine - begin, other - begin)
    unit = f"epochs of {NUM_EXAMPLES}"
    return turns.Contest(unit, {"jax": ours, "loop": theirs}, compile_seconds)
