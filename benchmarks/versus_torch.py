# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Outer steps per second of DC and DM, against PyTorch doing the same work.

The PyTorch side is written the way the published scripts are, eager and with one pass
for each class ("loop"), and once more with all classes together ("together": `vmap`
over classes for DC, one forward pass for DM); the faster of the two counts. Both sides
start from the same networks, pictures and real batches, and a case counts only if their
losses agree to 1e-4 and the steps that the pictures take to 1 %. They then take turns.

Names of cases are method, width, real examples of each class, pictures of each class.

Command: make bench          (``--record`` writes benchmarks/results/versus_torch.json)
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
from torch.nn import functional

import distill_jax as dj
from distill_jax import base

RESULTS = pathlib.Path(__file__).parent / "results" / "versus_torch.json"
NUM_CLASSES = 10
SHAPE = (28, 28, 1)
TOLERANCE = 1e-4
# Of the pictures' update, where rounding changes the side of some ReLUs: PyTorch's own
# update in float32 is 6e-4 from that in float64.
UPDATE_TOLERANCE = 1e-2
Params = dict[str, torch.Tensor]


class Case(NamedTuple):
    """What is measured."""

    method: str
    width: int
    batch_size: int  # real examples of each class
    num_per_class: int

    @property
    def name(self) -> str:
        """As in ``dc-32-256-10``."""
        return "-".join(str(part) for part in self)


CASES = [
    Case(method, width, batch_size, num_per_class)
    for width in (32, 128)
    for method in ("dc", "dm")
    for batch_size in (64, 256)
    for num_per_class in (1, 10)
]


def random_batch(rng: np.random.Generator, num: int) -> base.Examples:
    """``num`` random pictures of each class, ``[C, num, ...]``."""
    x = rng.normal(size=(NUM_CLASSES, num, *SHAPE)).astype(np.float32)
    y = np.eye(NUM_CLASSES, dtype=np.float32)[:, None].repeat(num, axis=1)
    return base.Examples(jax.numpy.asarray(x), jax.numpy.asarray(y))


# --- The JAX side: the library as it is used, its loop included.


def jax_side(case: Case, seed: base.Examples, batch: base.Examples):
    """``(state, run)``; ``run(state, count)`` waits for the result."""
    spec = dj.data.DataSpec("random", SHAPE, NUM_CLASSES, (*"0123456789",), None, "")
    task = dj.tasks.classification(dj.nets.convnet(NUM_CLASSES, width=case.width), spec)
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


# --- The PyTorch side.


def torch_params(variables: base.Variables, width: int) -> Params:
    """The same network, with PyTorch's order of axes."""
    tree = jax.tree.map(lambda leaf: np.array(leaf[0]), variables.params)
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
    """The features of [B, 1, 28, 28], flattened."""
    for block in range(3):
        kernel, bias = params[f"conv{block}/kernel"], params[f"conv{block}/bias"]
        x = functional.conv2d(x, kernel, bias, padding=3 if block == 0 else 1)
        scale, shift = params[f"norm{block}/scale"], params[f"norm{block}/bias"]
        x = functional.group_norm(x, x.shape[1], scale, shift)
        x = functional.avg_pool2d(functional.relu(x), 2)
    return x.flatten(1)


def mean_loss(params: Params, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy."""
    logits = functional.linear(
        embed(params, x), params["dense/kernel"], params["dense/bias"]
    )
    return functional.cross_entropy(logits, y)


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
        self.params = torch_params(variables, case.width)
        self.x = _pictures(state.latent.learned["x"]).requires_grad_()
        self.y = torch.arange(NUM_CLASSES).repeat_interleave(case.num_per_class)
        self.x_real = [_pictures(each) for each in batch.x]
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
            self.params = self.train() if self.is_trained else fresh_params(self.params)
        return loss

    def train(self) -> Params:
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


def _pictures(x: Any) -> torch.Tensor:
    return torch.tensor(np.asarray(x).transpose(0, 3, 1, 2).copy())


# --- Checking and measuring.


def check_agreement(case: Case, state: base.State, run: Callable, sides: dict) -> None:
    """Raises unless a step gives the same loss and the same pictures on all sides."""
    after, infos = run(state, 1)
    loss = float(infos.loss[0])
    moved = np.asarray(after.latent.learned["x"] - state.latent.learned["x"])
    for form, side in sides.items():
        before = side.x.detach().numpy().copy()
        other = side.run(1)
        other_moved = (side.x.detach().numpy() - before).transpose(0, 2, 3, 1)
        off = abs(loss - other) / abs(other)
        off_moved = np.linalg.norm(moved - other_moved) / np.linalg.norm(moved)
        if not (off < TOLERANCE and off_moved < UPDATE_TOLERANCE):
            raise RuntimeError(
                f"{case}, {form}: losses {loss} and {other}, and the updates of the "
                f"pictures differ by {off_moved:.1e} of their size."
            )


def seconds(fn: Callable, count: int) -> float:
    """Per step."""
    start = time.perf_counter()
    fn(count)
    return (time.perf_counter() - start) / count


def measure(case: Case, *, num_pairs: int, budget: float) -> dict[str, Any]:
    """Seconds per step of all sides, taking turns, and their ratios."""
    rng = np.random.default_rng(0)
    batch = random_batch(rng, case.batch_size)
    seed = random_batch(rng, case.num_per_class)
    merge = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
    seed = base.Examples(merge(seed.x), merge(seed.y))
    state, run, compile_seconds = jax_side(case, seed, batch)
    sides = {form: TorchSide(case, state, batch, form) for form in ("loop", "together")}
    check_agreement(case, state, run, sides)
    fns = {"jax": lambda count: run(state, count)}
    fns |= {form: side.run for form, side in sides.items()}
    once = seconds(fns["loop"], 1)
    count = min(100, max(1, round(budget / num_pairs / len(fns) / once)))
    times: dict[str, list[float]] = {name: [] for name in fns}
    for _ in range(num_pairs):
        for name, fn in fns.items():
            times[name].append(seconds(fn, count))
    best = min(sides, key=lambda form: statistics.median(times[form]))
    found = {
        f"torch_{form}_over_jax": ratios(times[form], times["jax"]) for form in sides
    }
    return {
        **case._asdict(),
        "steps_per_second": {
            name: 1 / statistics.median(each) for name, each in times.items()
        },
        "best_torch": best,
        **found,
        "compile_seconds": compile_seconds,
        "steps_per_turn": count,
    }


def ratios(slow: list[float], fast: list[float]) -> dict[str, float]:
    """The median ratio of the pairs, with the smallest and the largest."""
    each = [s / f for s, f in zip(slow, fast, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


def hardware() -> str:
    """The name by which results are comparable."""
    text = pathlib.Path("/proc/cpuinfo")
    lines = text.read_text().splitlines() if text.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def main() -> None:
    """Measures all cases, prints them, and records them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the results file")
    parser.add_argument(
        "--cases", nargs="+", default=["d"], help="how names begin, as in dc-32-256-10"
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--budget", type=float, default=10.0, help="seconds per case")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    print(f"{hardware()}, jax {jax.__version__}, torch {torch.__version__}")
    load, rows = os.getloadavg()[0], []
    for case in CASES:
        if not case.name.startswith(tuple(arguments.cases)):
            continue
        row = measure(case, num_pairs=arguments.pairs, budget=arguments.budget)
        rows.append(row)
        ratio = row[f"torch_{row['best_torch']}_over_jax"]
        loop = row["torch_loop_over_jax"]
        print(
            f"{case.name}: {row['steps_per_second']['jax']:.3g} steps/s, "
            f"{loop['median']:.2f} times the loop, {ratio['median']:.2f} "
            f"({ratio['min']:.2f} to {ratio['max']:.2f}) times the best of torch; "
            f"compiled in {row['compile_seconds']:.1f} s",
            flush=True,
        )
    if arguments.record:
        content = {
            "command": "python benchmarks/versus_torch.py --record",
            "hardware": hardware(),
            "threads": os.cpu_count(),
            "load_average": load,
            "jax": jax.__version__,
            "torch": torch.__version__,
            "rows": rows,
        }
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
