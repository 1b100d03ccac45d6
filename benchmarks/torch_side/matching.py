# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Outer steps of DC and DM, ours and PyTorch's.

PyTorch's side is written the way the published scripts are, eager and with one pass
for each class ("loop"), and once more with all classes together ("together": `vmap`
over classes for DC, one forward pass for DM, which is compiled too). Both sides start
from the same networks, pictures and real batches.
"""

from typing import NamedTuple

import jax
import numpy as np
import torch
import turns

import distill_jax as dj
from distill_jax import base
from torch_side import network as torch_network
from torch_side import outer as torch_outer
from torch_side.network import NUM_CLASSES, embed, mean_loss

__all__ = ["CASES", "Case", "prepare"]


class Case(NamedTuple):
    """What is measured; names are as ``dc-32-256-10``."""

    method: str
    width: int
    batch_size: int  # real examples of each class
    num_per_class: int
    pictures: str = "grey"


FORMS = {
    "dc": ("loop", "together"),  # What was compiled has no second derivatives.
    "dm": ("loop", "together", *torch_network.COMPILED),
}
CASES = [
    *(
        Case(method, width, batch_size, num_per_class)
        for width in (32, 128)
        for method in ("dc", "dm")
        for batch_size in (64, 256)
        for num_per_class in (1, 10)
    ),
    *(
        Case(method, width, 64, 1, "colour")
        for width in (32, 128)
        for method in ("dc", "dm")
    ),
]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    task = torch_network.random_task(case.width, case.pictures)
    if case.method == "dc":
        recipe = dj.methods.dc(
            task, num_per_class=case.num_per_class, num_matches=10**6, num_epochs=1
        )
    else:
        recipe = dj.methods.dm(
            task, num_per_class=case.num_per_class, augmentation="none"
        )
    rng = np.random.default_rng(0)
    batch = random_batch(rng, case.batch_size, case.pictures)
    seed = random_batch(rng, case.num_per_class, case.pictures)
    merge = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
    seed = base.Examples(merge(seed.x), merge(seed.y))
    side_fn = lambda state, form: TorchSide(case, state, batch, form)
    return torch_outer.outer_contest(
        case, recipe.method, seed, batch, side_fn, forms=FORMS[case.method]
    )


def random_batch(rng: np.random.Generator, num: int, kind: str) -> base.Examples:
    """``num`` random pictures of each class, ``[C, num, ...]``."""
    shape = (NUM_CLASSES, num, *torch_network.SHAPES[kind])
    x = rng.normal(size=shape).astype(np.float32)
    y = np.eye(NUM_CLASSES, dtype=np.float32)[:, None].repeat(num, axis=1)
    return base.Examples(jax.numpy.asarray(x), jax.numpy.asarray(y))


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


def means(params: torch_network.Params, x: torch.Tensor) -> torch.Tensor:
    """The mean features of each class, whose pictures stand together."""
    return embed(params, x).unflatten(0, (NUM_CLASSES, -1)).mean(1)


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
            ("dm", "compiled"): self.dm_together,
        }
        self.backward = losses[case.method, form]
        self.is_trained = case.method == "dc"
        is_compiled = form == "compiled"
        self.means_fn = torch_network.compiled(means) if is_compiled else means

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
        with torch.no_grad():
            real = self.means_fn(self.params, torch.cat(self.x_real))
        total = ((real - self.means_fn(self.params, self.x)) ** 2).sum()
        total.backward()
        return total.item()
