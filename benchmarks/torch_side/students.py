# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Grids of students: a few images of each class, many tables of labels, many seeds.

Perceptrons are trained on images of Digits-100, 256 at most in every step, and tested
on 2000. PyTorch's side trains one student after the other ("loop"), the same
with one thread ("single"), since products this small may not pay for two, or with a
compiled loss ("compiled"), and all together by `vmap` over students ("together"). Both
sides start from the same students, see the same mini-batches and count right answers
by class.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import turns
from torch.nn import functional

import distill_jax as dj
from distill_jax import base
from distill_jax.compute import devices
from distill_jax.training import minibatches
from torch_side import network as torch_network

__all__ = ["CASES", "Case", "prepare"]

HIDDEN, DATA = 128, "digits100"


class Case(NamedTuple):
    """What is measured; names are as ``students-12-3-100-600``."""

    method: str
    num_tables: int
    num_seeds: int
    num_images: int
    num_steps: int

    def protocol(self) -> dj.evaluation.Protocol:
        """How the students of "A Label is Worth a Thousand Images" are trained."""
        return dj.evaluation.Protocol(
            learning_rate=0.05,
            schedule="staircase",
            decay_rate=0.3,
            num_steps=self.num_steps,
        )


CASES = [Case("students", 12, 3, 100, 600), Case("students", 12, 3, 1000, 600)]


def prepare(case: Case) -> turns.Contest:
    """Both sides, after a check that they agree."""
    data = dj.data.load(DATA)
    net = dj.nets.mlp(data.spec.num_classes, hidden=(HIDDEN,))
    task = dj.tasks.classification(net, data.spec)
    images, tables = _images_and_tables(case, data)
    key = jax.random.key(0)

    def evaluate(**options) -> dj.evaluation.Grid:
        return dj.evaluation.evaluate_grid(
            key,
            task,
            base.Examples(images, tables),
            data,
            case.protocol(),
            num_seeds=case.num_seeds,
            side_by_side=devices.side_by_side(task),
            **options,
        )

    def ours(count: int):
        grid = None
        for _ in range(count):
            grid = evaluate()
        return grid

    compile_seconds = evaluate().compile_seconds
    starts = [_start(task, each) for each in jax.random.split(key, case.num_seeds)]
    batches = [_batches(case, each) for each in jax.random.split(key, case.num_seeds)]
    fns = {
        form: TorchStudents(case, starts, batches, images, tables, data, form).run
        for form in ("loop", "single", "together", *torch_network.COMPILED)
    }
    kept = evaluate(num_kept=1)
    assert kept.trained is not None
    ends = jax.tree.map(lambda leaf: leaf[:, -1], kept.trained.variables.params)
    begin = _flat(starts * case.num_tables)
    moved = _flat([jax.tree.map(lambda leaf: leaf[i], ends) for i in range(len(begin))])
    for form, fn in fns.items():
        right, params = fn(1)
        _check(case, form, kept, right, moved - begin, params - begin)
    num = case.num_tables * case.num_seeds
    unit = f"grids of {num} students of {case.num_images} images"
    return turns.Contest(unit, {"jax": ours, **fns}, compile_seconds)


class TorchStudents:
    """Students to be trained, the images and labels they learn, and the test set."""

    def __init__(
        self, case: Case, starts: list, batches: list, images, tables, data, form: str
    ):
        self.case, self.form, self.batches = case, form, batches
        self.starts = [_torch_params(each) for each in starts]
        self.x, self.tables = _rows(images), torch.tensor(np.array(tables))
        test = dj.data.normalize(data.spec.normalizer, data.test.x)
        self.x_test, self.y_test = _rows(test), data.test.y
        self.loss_fn = _mean_loss
        if form == "compiled":
            self.loss_fn = torch_network.compiled(_mean_loss)

    def run(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Right answers [L, S, C], and the parameters of all students, flat."""
        outcome = np.empty(0), np.empty(0)
        num_threads = torch.get_num_threads()
        torch.set_num_threads(1 if self.form == "single" else num_threads)
        for _ in range(count):
            outcome = self.together() if self.form == "together" else self.loop()
        torch.set_num_threads(num_threads)
        return outcome

    def loop(self) -> tuple[np.ndarray, np.ndarray]:
        """One student after the other."""
        right, ends = [], []
        for y in self.tables:
            for start, batches in zip(self.starts, self.batches, strict=True):
                params = {k: leaf.clone().requires_grad_() for k, leaf in start.items()}
                self.train(params, self.loss_of(y, batches))
                with torch.no_grad():
                    right.append(self.count(_logits(params, self.x_test)))
                ends.append(torch_network.flat(params))
        return self.in_table(right), np.stack(ends)

    def loss_of(self, y: torch.Tensor, batches: list[torch.Tensor]):
        """(parameters, step) -> the loss of a mini-batch."""
        if not batches:
            return lambda params, step: self.loss_fn(params, self.x, y)
        return lambda params, step: self.loss_fn(
            params, self.x[batches[step]], y[batches[step]]
        )

    def together(self) -> tuple[np.ndarray, np.ndarray]:
        """All students at once, in stacks of parameters."""
        num_tables, num_seeds = len(self.tables), len(self.starts)
        stack = lambda k: torch.stack([start[k] for start in self.starts] * num_tables)
        params = {k: stack(k).requires_grad_() for k in self.starts[0]}
        y = self.tables.repeat_interleave(num_seeds, dim=0)
        is_whole = not self.batches[0]
        in_dims = (0, None if is_whole else 0, 0)
        losses_fn = torch.func.vmap(_mean_loss, in_dims=in_dims)

        def loss_fn(params: torch_network.Params, step: int) -> torch.Tensor:
            if is_whole:
                return losses_fn(params, self.x, y).sum()
            rows = torch.stack([each[step] for each in self.batches] * num_tables)
            labels = y.gather(1, rows[..., None].expand(-1, -1, y.shape[2]))
            return losses_fn(params, self.x[rows], labels).sum()

        self.train(params, loss_fn)
        with torch.no_grad():
            logits_fn = torch.func.vmap(_logits, in_dims=(0, None))
            logits = logits_fn(params, self.x_test)
        own = [{k: leaf[i] for k, leaf in params.items()} for i in range(len(y))]
        ends = [torch_network.flat(each) for each in own]
        return self.in_table([self.count(each) for each in logits]), np.stack(ends)

    def train(self, params: torch_network.Params, loss_fn) -> None:
        """The protocol, in place."""
        protocol = self.case.protocol()
        optimizer = torch.optim.SGD(
            params.values(),
            lr=protocol.learning_rate,
            momentum=protocol.momentum,
            weight_decay=protocol.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.StepLR(
            optimizer, (self.case.num_steps - 1) // 4, protocol.decay_rate
        )
        for step in range(self.case.num_steps):
            optimizer.zero_grad()
            loss_fn(params, step).backward()
            optimizer.step()
            schedule.step()

    def count(self, logits: torch.Tensor) -> np.ndarray:
        """[C] right answers."""
        is_right = logits.argmax(dim=1).numpy() == self.y_test
        return np.bincount(self.y_test[is_right], minlength=logits.shape[1])

    def in_table(self, right: list[np.ndarray]) -> np.ndarray:
        """[L, S, C]."""
        return np.stack(right).reshape(len(self.tables), len(self.starts), -1)


def _images_and_tables(case: Case, data: dj.data.Dataset) -> tuple[jax.Array, ...]:
    """Images [M, ...], and labels [L, M, C] from soft to nearly hard."""
    num_classes = data.spec.num_classes
    per_class = case.num_images // num_classes
    key_images, key_labels = jax.random.split(jax.random.key(1))
    index = dj.selection.random_subsets(key_images, data, per_class, num_draws=1)[0]
    images = dj.data.normalize(data.spec.normalizer, data.train.x[index])
    hard = jax.nn.one_hot(data.train.y[index], num_classes)
    noise = jax.random.normal(key_labels, hard.shape)
    sharpness = jnp.linspace(1.0, 6.0, case.num_tables)[:, None, None]
    logits = sharpness * (noise + 2 * hard)[None]
    return images, jax.nn.softmax(logits)


def _start(task: base.Task, key: jax.Array):
    """The untrained student of a seed, as `evaluation.train` draws it."""
    key_context, key_init, _ = jax.random.split(key, 3)
    return task.init(key_init, task.sample_context(key_context)).params


def _batches(case: Case, key: jax.Array) -> list[torch.Tensor]:
    """The rows of every mini-batch of a seed; nothing where all are one batch."""
    batch_size = case.protocol().batch_size
    if case.num_images <= batch_size:
        return []
    key_order, _ = jax.random.split(jax.random.split(key, 3)[2])
    rows, weight = minibatches.mini_batches(
        key_order,
        num_examples=case.num_images,
        batch_size=batch_size,
        num_steps=case.num_steps,
    )
    return [
        torch.tensor(np.array(own)[np.array(w) > 0]).long()
        for own, w in zip(rows, weight, strict=True)
    ]


def _torch_params(tree) -> torch_network.Params:
    """The same perceptron; kernels are [in, out] on both sides."""
    return {
        f"{name}/{kind}": torch.tensor(np.array(leaf))
        for name, leaves in sorted(tree.items())
        for kind, leaf in sorted(leaves.items())
    }


def _flat(trees: list) -> np.ndarray:
    return np.stack([torch_network.flat(_torch_params(each)) for each in trees])


def _rows(x: jax.Array) -> torch.Tensor:
    return torch.tensor(np.array(x).reshape(len(x), -1))


def _logits(params: torch_network.Params, x: torch.Tensor) -> torch.Tensor:
    hidden = torch.addmm(params["dense0/bias"], x, params["dense0/kernel"])
    return torch.addmm(
        params["dense/bias"], functional.relu(hidden), params["dense/kernel"]
    )


def _mean_loss(params: torch_network.Params, x: torch.Tensor, y: torch.Tensor):
    return functional.cross_entropy(_logits(params, x), y)


def _check(case, form, grid, right, moved, other_moved) -> None:
    """Raises unless both sides moved the students alike and count nearly alike."""
    total = grid.counts["test"].sum()
    accuracy, other = grid.right["test"].sum() / total, right.sum() / total
    off = abs(accuracy - other) / other
    off_moved = np.linalg.norm(moved - other_moved) / np.linalg.norm(other_moved)
    largest = np.abs(grid.right["test"] - right).max()
    print(
        f"{form}: students moved alike but for {off_moved:.1e}, and the right answers "
        f"of a class differ by {largest} at most.",
        flush=True,
    )
    if not (off < 10 * turns.TOLERANCE and off_moved < turns.UPDATE_TOLERANCE):
        raise RuntimeError(f"{case}, {form}: the two sides do not do the same work.")
