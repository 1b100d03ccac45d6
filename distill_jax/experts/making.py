# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains the experts of a buffer, or takes those that are there."""

import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich import console as rich_console
from rich import progress as rich_progress

from distill_jax import base, data, errors, tasks
from distill_jax.compute import compiling, parallel, processes
from distill_jax.experts import appraisal as appraisals
from distill_jax.experts import files, folders, snapshots, training
from distill_jax.experts import plan as plans
from distill_jax.training import pool as pools
from distill_jax.types import Key

__all__ = ["make_buffer", "random_buffer", "seconds_of"]

_GROUP_SIZE = 8  # Experts trained at once on an accelerator.


def make_buffer(
    plan: plans.ExpertPlan,
    task: base.Task,
    dataset: data.Dataset,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> snapshots.Buffer:
    """Trains the experts of a plan, or takes those that a folder holds already.

    ``parallel.over_mesh(make_buffer, mesh)`` trains some of them on each device.

    Args:
      plan: what to train and what to keep.
      task: a classification task.
      dataset: its training split is learned, its validation split judged on.
      folder: where the buffer is or is to be; None keeps it in memory, or with the run
        that it is made for. A plan may ask for more experts than there are: the missing
        ones are trained. Another process that trains in the folder is waited for.
      progress: whether to show progress; ``None`` where there is a terminal.

    Returns:
      The :class:`~distill_jax.experts.Buffer`.

    Raises:
      InputError: when the folder holds other experts (of another plan, network or data
        set), a file is damaged, or the disk is full.
      DivergedError: when the training of an expert diverged; those before it are kept.

    Example:
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> plan = dj.experts.ExpertPlan(num_experts=2, num_epochs=3)
      >>> buffer = make_buffer(plan, task, digits)
      >>> len(buffer.snapshots), buffer.snapshots[0].shape[0], buffer.accuracy.shape
      (2, 4, (2, 4))

    Reference:
      George Cazenavette et al., "Dataset Distillation by Matching Training
      Trajectories", 2022, section 3.1.
    """
    template = tasks.network_shapes(task)
    facts = files.facts_of(plan, task, dataset)
    path = folders.folder_of(folder, facts)
    rows = {} if path is None else files.read_rows(path, facts, plan)
    in_memory: dict[int, np.ndarray] = {}
    if _missing(plan, rows):
        with folders.alone_in(path):  # Who was there first may have trained them.
            rows = {} if path is None else files.read_rows(path, facts, plan)
            in_memory = _train(plan, task, dataset, path, facts, rows, progress)
    names = [files.expert_name(expert) for expert in range(plan.num_experts)]
    size = sum(leaf.size for leaf in jax.tree.leaves(template))
    return snapshots.Buffer(
        plan=plan,
        snapshots=[
            in_memory[expert]
            if path is None
            else files.read_snapshots(path, expert, plan, size)
            for expert in range(plan.num_experts)
        ],
        accuracy=np.array([rows[name]["accuracy"] for name in names], float),
        entropy=np.array([rows[name]["entropy"] for name in names], float),
        template=template,
        context=files.read_contexts(task, [rows[name] for name in names]),
    )


def random_buffer(plan: plans.ExpertPlan, task: base.Task) -> snapshots.Buffer:
    """Random numbers in the shapes of the experts of a plan, to see what they take.

    Args:
      plan: of the experts that are not trained.
      task: a classification task.

    Returns:
      A :class:`~distill_jax.experts.Buffer`; its accuracies and entropies are NaN.

    Example:
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> plan = dj.experts.ExpertPlan(num_experts=2, num_epochs=3)
      >>> random_buffer(plan, task).snapshots[1].shape
      (4, 610)
    """
    template = tasks.network_shapes(task)
    size = sum(leaf.size for leaf in jax.tree.leaves(template))
    rng = np.random.default_rng(plan.seed)
    shape = len(plan.kept()), size
    unknown = np.full((plan.num_experts, plan.num_epochs + 1), np.nan)
    return snapshots.Buffer(
        plan=plan,
        snapshots=[
            0.1 * rng.standard_normal(shape, np.float32).astype(plan.dtype)
            for _ in range(plan.num_experts)
        ],
        accuracy=unknown,
        entropy=unknown,
        template=template,
        context=jax.vmap(task.sample_context)(
            jax.random.split(jax.random.key(plan.seed), plan.num_experts)
        ),
    )


def seconds_of(plan: plans.ExpertPlan, task: base.Task, dataset: data.Dataset) -> float:
    """Estimates how long all experts of a plan take, from one epoch of one of them.

    Args:
      plan: of the experts.
      task: a classification task.
      dataset: that they would learn.

    Returns:
      Seconds, without compilation, one expert after the other.

    Example:
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> seconds_of(plans.ExpertPlan(num_experts=2), task, digits) > 0
      True
    """
    one_epoch = dataclasses.replace(plan.training(), num_epochs=1)

    def one(key, source):
        return training.train_expert(key, task, source, one_epoch)

    args = jax.random.key(plan.seed), data.to_source(dataset)
    compiled = compiling.ahead_of_time(one, *args)
    start = time.perf_counter()
    jax.block_until_ready(compiled(*args))
    return (time.perf_counter() - start) * plan.num_epochs * plan.num_experts


def _missing(plan: plans.ExpertPlan, rows: Mapping[str, Any]) -> list[int]:
    return [e for e in range(plan.num_experts) if files.expert_name(e) not in rows]


def _train(
    plan: plans.ExpertPlan,
    task: base.Task,
    dataset: data.Dataset,
    path: pathlib.Path | None,
    facts: Mapping[str, Any],
    rows: dict[str, dict[str, Any]],
    progress: bool | None,
) -> dict[int, np.ndarray]:
    """Trains the experts that have no row; those without a folder are returned."""
    missing = _missing(plan, rows)
    processes.barrier("all know which experts are missing")
    is_shown = sys.stderr.isatty() if progress is None else progress
    in_memory: dict[int, np.ndarray] = {}
    train = compiling.jit(_trainer(plan, task))
    splits = data.to_source(dataset), data.to_source(dataset, "validation")
    with _bar(plan.num_experts, len(missing), is_shown) as advance:
        for group in _groups(missing):
            keys = jnp.stack([_key(plan, expert) for expert in group])
            flat, appraisals, contexts = jax.device_get(train(keys, *splits))
            _check_finite(flat, group, plan)
            for place, expert in enumerate(dict.fromkeys(group)):
                rows[files.expert_name(expert)] = {
                    name: [_rounded(float(value)) for value in values[place]]
                    for name, values in appraisals._asdict().items()
                }
                rows[files.expert_name(expert)] |= files.context_row(contexts, place)
                if path is None:
                    in_memory[expert] = flat[place]
                elif processes.is_first():
                    files.write_expert(path, expert, flat[place], facts, rows)
                advance()
    return in_memory


def _trainer(plan: plans.ExpertPlan, task: base.Task):
    """(keys [G], training split, judge) -> rows [G, K, P], appraisals, contexts."""
    epochs = np.array(plan.kept())

    def one(key, source, judge):
        expert, context = training.train_learner(key, task, source, plan)
        appraisal = appraisals.appraise(
            task,
            expert,
            judge.x,
            judge.y,
            normalizer=judge.normalizer,
            context=context,
        )
        leaves = jax.tree.leaves(training.at_epoch(expert, epochs))
        flat = [leaf.reshape(len(epochs), -1) for leaf in leaves]
        return jnp.concatenate(flat, axis=1).astype(plan.dtype), appraisal, context

    def train(keys, source, judge):
        return pools.map_networks(lambda key: one(key, source, judge), keys)

    return train


def _check_finite(flat: np.ndarray, group: list[int], plan: plans.ExpertPlan) -> None:
    """Raises for snapshots [G, K, P] that no student can be matched with."""
    is_good = np.isfinite(flat).all(axis=2)
    if not is_good.all():
        place, number = np.argwhere(~is_good)[0]
        raise errors.DivergedError(
            f"The parameters of expert {group[place]} are not finite (in {plan.dtype}) "
            f"after epoch {plan.kept()[number]}, since its training diverged; lower "
            f"the learning rate of the experts ({plan.learning_rate:.3g})."
        )


def _rounded(value: float) -> float | None:
    """A number as the file has it; null where it is none."""
    return round(value, 6) if np.isfinite(value) else None


def _key(plan: plans.ExpertPlan, expert: int) -> Key:
    return jax.random.fold_in(jax.random.key(plan.seed), expert)


def _groups(missing: list[int]) -> list[list[int]]:
    """Experts that are trained at once; the last group is filled up with repetitions.

    One at a time on each device on the CPU, which it keeps busy.
    """
    size = 1 if jax.default_backend() == "cpu" else min(_GROUP_SIZE, len(missing) or 1)
    size *= parallel.num_devices("networks")
    groups = [missing[at : at + size] for at in range(0, len(missing), size)]
    return [group + [group[-1]] * (size - len(group)) for group in groups]


def _bar(total: int, num_missing: int, is_shown: bool):
    """A progress bar over experts, as a context that gives a function to advance it."""
    console = rich_console.Console(stderr=True)
    bar = rich_progress.Progress(console=console, disable=not is_shown)

    class _Advancing:
        def __enter__(self):
            bar.__enter__()
            done = total - num_missing
            number = bar.add_task("Training experts", total=total, completed=done)
            return lambda: bar.advance(number)

        def __exit__(self, *args):
            bar.__exit__(*args)

    return _Advancing()
