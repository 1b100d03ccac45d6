# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tells what a study will take before it is begun: cells, time, memory, disk."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

import distill_jax as dj
from distill_jax.studies import cells as cells_lib
from distill_jax.studies import estimates, records

__all__ = ["StudyPlan", "needs_of_run", "plan_of"]

_BYTES_OF_RECORD = 1000  # Where there is none to be measured.


class StudyPlan(NamedTuple):
    """What a study will take."""

    num_cells: int
    num_finished: int
    num_unknown: int  # cells of which nobody can say how long they take
    seconds_left: float  # of the others that are not finished
    peak_bytes: int  # of the largest cell that tells it
    memory_bytes: int | None  # that the device has; None where no cell tells
    disk_bytes: int  # of all rows, and of what the cells leave behind

    @property
    def fits(self) -> bool:
        """Whether the memory of the device is enough, as far as is known."""
        return self.memory_bytes is None or self.peak_bytes <= self.memory_bytes


def plan_of(
    cells: Sequence[cells_lib.Cell], folder: pathlib.Path | None = None
) -> StudyPlan:
    """Tells what the cells of a study will take; none of them is run.

    The time of a cell is that of finished cells of the same description, else what the
    cell itself forecasts, once for each description, else that of all finished cells.

    Args:
      cells: of the study.
      folder: where the study is or will be, to count what is finished there.

    Returns:
      A :class:`StudyPlan`.

    Raises:
      InputError: when cells cannot be told apart, or the file in the folder was
        changed.

    Example:
      >>> needs = lambda: estimates.Needs(4.0, 2.0, 1000, 8000)
      >>> cells = [cells_lib.Cell(f"seed {s}", print, {"n": 1}, s, needs)
      ...          for s in range(4)]
      >>> plan = plan_of(cells)
      >>> plan.num_cells, plan.num_finished, round(plan.seconds_left, 1), plan.fits
      (4, 0, 14.4, True)
    """
    folder = folder or pathlib.Path("nowhere")
    finished = cells_lib.read_results(cells, folder).finished
    kinds: dict[str, list[cells_lib.Cell]] = {}
    for cell in cells:
        if cell.name not in finished:
            kinds.setdefault(estimates.kind_of(cell.description), []).append(cell)
    timed = {estimates.kind_of(record.description) for record in finished.values()}
    seconds, num_unknown, disk_bytes, needs = 0.0, 0, 0, []
    for kind, group in kinds.items():
        if kind not in timed and (forecast := group[0].needs) is not None:
            needs.append(forecast())
            disk_bytes += needs[-1].disk_bytes * len(group)
            time = _seconds_of_group(needs[-1], len(group))
        else:
            descriptions = [cell.description for cell in group]
            time = estimates.seconds_left(descriptions, finished.values())
        seconds += time or 0.0
        num_unknown += len(group) if time is None else 0
    return StudyPlan(
        num_cells=len(cells),
        num_finished=len(finished),
        num_unknown=num_unknown,
        seconds_left=seconds,
        peak_bytes=max((need.peak_bytes for need in needs), default=0),
        memory_bytes=min((need.memory_bytes for need in needs), default=None),
        disk_bytes=disk_bytes + _bytes_of_records(folder, len(finished), len(cells)),
    )


def needs_of_run(
    task: dj.Task,
    recipe: dj.Recipe,
    dataset: Any,
    *,
    num_steps: int,
    num_runs: int,
) -> estimates.Needs:
    """Forecasts a cell that distils a set and trains fresh networks on it.

    The loop is compiled and some of its steps are timed, and one network is trained on
    the set as it is at the start.

    Args:
      task: of the evaluation.
      recipe: what is run.
      dataset: that it is run on.
      num_steps: of the run.
      num_runs: fresh networks of the evaluation.

    Returns:
      The :class:`Needs` of one cell.

    Example:
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = dj.methods.dm(task, num_per_class=1, batch_size=8)
      >>> recipe = recipe._replace(protocol=dj.evaluation.Protocol(num_steps=5))
      >>> needs_of_run(task, recipe, digits, num_steps=5, num_runs=2).peak_bytes > 0
      True
    """
    key = jax.random.key(0)
    forecast = dj.runtime.forecast(recipe, dataset, num_steps=num_steps, key=key)
    needs = estimates.Needs(
        compile_seconds=forecast.compile_seconds,
        run_seconds=forecast.run_seconds,
        peak_bytes=forecast.peak_bytes,
        memory_bytes=forecast.memory_bytes,
    )
    if forecast.run_seconds is None:
        return needs
    state = recipe.method.init(key, recipe.initial_fn(key, dataset))
    evaluation = dj.evaluate(
        task,
        recipe.method.read(state),
        dataset,
        protocol=recipe.protocol,
        num_runs=1,
        key=key,
        split="validation",
        allow_diverged=True,
    )
    return needs._replace(
        compile_seconds=forecast.compile_seconds + evaluation.compile_seconds,
        run_seconds=forecast.run_seconds + num_runs * evaluation.run_seconds,
    )


def _seconds_of_group(needs: estimates.Needs, num_cells: int) -> float | None:
    """Of cells that differ in the seed alone, and share what is compiled."""
    if needs.run_seconds is None:
        return None
    reading = estimates.RELOADING * needs.compile_seconds
    first = needs.compile_seconds + needs.run_seconds
    return first + (num_cells - 1) * (reading + needs.run_seconds)


def _bytes_of_records(folder: pathlib.Path, num_finished: int, num_cells: int) -> int:
    """Of ``cells.jsonl`` at the end, from what it has now."""
    path = folder / records.FILE_NAME
    if not num_finished:
        return num_cells * _BYTES_OF_RECORD
    return path.stat().st_size * num_cells // num_finished
