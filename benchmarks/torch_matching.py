# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Outer steps of DC and DM, ours and PyTorch's.

PyTorch's side is written the way the published scripts are, eager and with one pass
for each class ("loop"), and once more with all classes together ("together": `vmap`
over classes for DC, one forward pass for DM). Both sides start from the same networks,
pictures and real batches.
"""

import time
from typing import NamedTuple

import jax
import numpy as np
import torch
import torch_network
import turns
from torch_network import NUM_CLASSES, SHAPE, embed, mean_loss

import distill_jax as dj
from distill_jax import base

__all__ = ["CASES", "Case", "prepare"]


class Case(NamedTuple):
    """What is measured; names are as ``dc-32-256-10``."""

    method: str
    width: int
    batch_size: int  # real examples of each class
    num_per_class: int


CASES = [
    Case(method, width, batch_size, num_per_class)
    for width in (32, 128)
    for method in ("dc", "dm")
    for batch_size in (64, 256)
    for num_per_class in (1, 10)
]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    rng = np.random.default_rng(0)
    batch = random_batch(rng, case.batch_size)
    seed = random_batch(rng, case.num_per_class)
    merge = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
    seed = base.Examples(merge(seed.x), merge(seed.y))
    state, run, compile_seconds = jax_side(case, seed, batch)
    sides = {form: TorchSide(case, state, batch, form) for form in ("loop", "together")}
    check_agreement(case, state, run, sides)
    fns = {form: side.run for form, side in sides.items()}
    fns = {"jax": lambda count: run(state, count), **fns}
    return turns.Contest("steps", fns, compile_seconds)


def random_batch(rng: np.random.Generator, num: int) -> base.Examples:
    """``num`` random pictures of each class, ``[C, num, ...]``."""
    x = rng.normal(size=(NUM_CLASSES, num, *SHAPE)).astype(np.float32)
    y = np.eye(NUM_CLASSES, dtype=np.float32)[:, None].repeat(num, axis=1)
    return base.Examples(jax.numpy.asarray(x), jax.numpy.asarray(y))


def jax_side(case: Case, seed: base.Examples, batch: base.Examples):
    """``(state, run)``; ``run(state, count)`` waits for the result."""
    task = torch_network.random_task(case.width)
    if case.method == "dc":
        recipe = dj.methods.dc(
            task, num_per_class=case.num_per_class, num_matches=10**6, num_epochs=1
        )
    else:
        recipe = dj.methods.dm(
            task, num_per_class=case.num_per_class, augmentation="none"
        )
    state = jax.jit(recipe.method.init)(jax.random.key(1), seed)
    key = jax.random.key(2)
    compiled, compile_seconds = compile_steps(recipe.method, (key, state, batch))

    def run(state: base.State, count: int):
        return jax.block_until_ready(compiled(key, state, batch, count))

    return state, run, compile_seconds


def compile_steps(method: base.Method, arguments: tuple):
    """The library's loop over the one batch, and the seconds it took to compile."""
    sampler = lambda key, step, source: source
    run = dj.runtime.scan_steps(method, sampler, num_steps=100)
    start = time.perf_counter()
    jax.block_until_ready(run(*arguments, 0))
    return run, time.perf_counter() - start


def distance(real: tuple, synthetic: tuple) -> torch.Tensor:
    """The sum over kernels and output units of one minus the cosine."""
    total = torch.zeros(())
    for g, s in zip(real, synthetic, strict=True):
        if g.ndim < 2:
            continue
        g, s = g.flatten(1), s.flatten(1)
        size = g.norm(dim=1) * s.norm(dim=1) + 1e-6
        total = total + (1 - (g * s).sum(1) / size).sum()
    return total


class TorchSide:
    """One outer loop: what it learns, its optimiser, and its network."""

    def __init__(self, case: Case, state: base.State, batch: base.Examples, form: str):
        variables = state.inner.variables if case.method == "dc" else state.inner
        params = jax.tree.map(lambda leaf: leaf[0], variables.params)
        self.params = torch_network.torch_params(params, case.width)
        self.x = torch_network.pictures(state.latent.learned["x"]).requires_grad_()
        self.y = torch.arange(NUM_CLASSES).repeat_interleave(case.num_per_class)
        self.x_real = [torch_network.pictures(each) for each in batch.x]
        rate = 0.1 if case.method == "dc" else 1.0
        self.optimizer = torch.optim.SGD([self.x], lr=rate, momentum=0.5)
        losses = {
            ("dc", "loop"): self.dc_loop,
            ("dc", "together"): self.dc_together,
            ("dm", "loop"): self.dm_loop,
            ("dm", "together"): self.dm_together,
        }
        self.backward = losses[case.method, form]
        self.is_trained = case.method == "dc"

    def run(self, count: int) -> float:
        """Takes outer steps; the loss of the last."""
        loss = 0.0
        for _ in range(count):
            self.optimizer.zero_grad()
            loss = self.backward()
            self.optimizer.step()
            renew = self.train if self.is_trained else self.draw
            self.params = renew()
        return loss

    def draw(self) -> torch_network.Params:
        """Another random network."""
        return torch_network.fresh_params(self.params)

    def train(self) -> torch_network.Params:
        """One step of the network on all pictures."""
        params = {name: leaf.requires_grad_() for name, leaf in self.params.items()}
        loss = mean_loss(params, self.x.detach(), self.y)
        grads = torch.autograd.grad(loss, list(params.values()))
        with torch.no_grad():
            return {
                name: leaf - 0.01 * grad
                for (name, leaf), grad in zip(params.items(), grads, strict=True)
            }

    def dc_loop(self) -> float:
        """The gradient of the distance, class by class."""
        params = {name: leaf.requires_grad_() for name, leaf in self.params.items()}
        leaves = list(params.values())
        total = torch.zeros(())
        for label, x_real in enumerate(self.x_real):
            y_real = torch.full((len(x_real),), label)
            real = torch.autograd.grad(mean_loss(params, x_real, y_real), leaves)
            chosen = self.y == label
            loss = mean_loss(params, self.x[chosen], self.y[chosen])
            synthetic = torch.autograd.grad(loss, leaves, create_graph=True)
            total = total + distance(real, synthetic)
        total.backward(inputs=[self.x])
        return total.item()

    def dc_together(self) -> float:
        """The same with `vmap` over classes."""
        params = {name: leaf.detach() for name, leaf in self.params.items()}
        gradient = torch.func.vmap(torch.func.grad(mean_loss), in_dims=(None, 0, 0))
        x_real = torch.stack(self.x_real)
        y_real = torch.arange(NUM_CLASSES)[:, None].expand(-1, x_real.shape[1])
        real = gradient(params, x_real, y_real)
        x = self.x.unflatten(0, (NUM_CLASSES, -1))
        synthetic = gradient(params, x, self.y.view(NUM_CLASSES, -1))
        trees = tuple(real.values()), tuple(synthetic.values())
        total = torch.func.vmap(distance)(*trees).sum()
        total.backward()
        return total.item()

    def dm_loop(self) -> float:
        """The squared distance of mean features, class by class."""
        total = torch.zeros(())
        for label, x_real in enumerate(self.x_real):
            with torch.no_grad():
                real = embed(self.params, x_real).mean(0)
            synthetic = embed(self.params, self.x[self.y == label]).mean(0)
            total = total + ((real - synthetic) ** 2).sum()
        total.backward()
        return total.item()

    def dm_together(self) -> float:
        """The same with one forward pass for all classes."""
        means = lambda f: f.unflatten(0, (NUM_CLASSES, -1)).mean(1)
        with torch.no_grad():
            real = means(embed(self.params, torch.cat(self.x_real)))
        total = ((real - means(embed(self.params, self.x))) ** 2).sum()
        total.backward()
        return total.item()


def check_agreement(case: Case, state: base.State, run, sides: dict) -> None:
    """Raises unless a step gives the same loss and the same pictures on all sides."""
    after, infos = run(state, 1)
    loss = float(infos.loss[0])
    moved = np.asarray(after.latent.learned["x"] - state.latent.learned["x"])
    for form, side in sides.items():
        before = side.x.detach().numpy().copy()
        other = side.run(1)
        other_moved = (side.x.detach().numpy() - before).transpose(0, 2, 3, 1)
        turns.check_agreement(case, form, loss, other, moved, other_moved)
