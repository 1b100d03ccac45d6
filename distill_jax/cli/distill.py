# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``distill-jax distill``: distils, evaluates, compares, and writes a report."""

from __future__ import annotations

import argparse
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import distill_jax as dj
from distill_jax import errors
from distill_jax.cli import flags, startup

if TYPE_CHECKING:
    from distill_jax.cli.experiment import Experiment
    from distill_jax.types import Key

__all__ = ["COMMAND", "run_config", "run_experiment"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    flags.add_config(parser)
    flags.add_workdir(parser)
    flags.add_quiet(parser)
    startup.add_flags(parser)


def _run(values: argparse.Namespace) -> None:
    """Distils, evaluates and reports."""
    config = flags.required(values, "config", "digits_frepo")
    workdir = flags.required_path(values, "workdir", "runs/digits")
    startup.prepare()
    from distill_jax.cli import experiment, finished_run, report

    is_first = startup.join(values)
    is_quiet = values.quiet or not is_first
    built = experiment.build(config)
    run_experiment(built, workdir, progress=False if is_quiet else None)
    if is_first:
        summary, dataset = built.summary, built.dataset
        report.write(finished_run.gather(workdir, summary, dataset), workdir)


COMMAND = flags.Command(
    name="distill",
    summary="Distils, evaluates, compares, and writes a report.",
    examples="""\
  distill-jax distill --config=digits_frepo --workdir=runs/digits
      writes runs/digits/report.html; the same command again resumes a run that was
      interrupted
  distill-jax distill --config=digits_frepo:runlocal --workdir=runs/small
      a run of a minute on a laptop
  distill-jax distill --config=digits_frepo --config.num_per_class=1 --workdir=runs/one
      with one field of the config overridden""",
    add_flags=_add_flags,
    run=_run,
    resumes=True,
)


def run_config(
    config: Any, workdir: pathlib.Path, *, progress: bool | None = None
) -> None:
    """Builds the experiment of a config and runs it.

    Args:
      config: as :func:`distill_jax.cli.experiment.build` takes it.
      workdir: where the files of the run go.
      progress: whether to show progress; ``None`` where there is a terminal.

    Raises:
      InputError: when a field cannot work, or the folder holds another run.
      NonFiniteError: when the loss is no longer finite.
      Interrupted: after a signal.

    Example:
      >>> import tempfile
      >>> from distill_jax.cli import settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> config.num_steps, config.evaluate.arms = 2, False
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     run_config(config, pathlib.Path(folder), progress=False)
      ...     sorted(path.name for path in pathlib.Path(folder).glob("*.json"))
      ['config.json', 'distilled.json', 'results.json']
    """
    from distill_jax.cli import experiment

    run_experiment(experiment.build(config), workdir, progress=progress)


def run_experiment(
    built: Experiment, workdir: pathlib.Path, *, progress: bool | None = None
) -> None:
    """Distils, stores the set, judges it beside the other arms, stores the results.

    Everything lands in ``workdir``: the set before it is judged, each arm as it ends.
    What an earlier, interrupted call has done there is taken up, and what it has
    finished is not done again, unless it is damaged.

    Args:
      built: from :func:`distill_jax.cli.experiment.build`.
      workdir: where the files of the run go.
      progress: whether to show progress; ``None`` where there is a terminal.

    Raises:
      InputError: when the folder holds another run, or another process is at work in
        it.
      DivergedError: when all networks that learn from the set diverge; it is stored.
      NonFiniteError: when the loss is no longer finite.
      Interrupted: after a signal.
    """
    from distill_jax.runtime import workdir as workdirs

    with workdirs.locked(workdir):
        _run_alone(built, workdir, progress)


def _run_alone(built: Experiment, workdir: pathlib.Path, progress: bool | None) -> None:
    """The whole of it, while nobody else is at work in the folder."""
    import jax

    from distill_jax.cli import cases, judging, kinds, outputs
    from distill_jax.compute import processes
    from distill_jax.runtime import record

    if processes.is_first():
        kinds.bring_up(workdir, built.summary.config)
    key_run, key_curve, key_arms = jax.random.split(jax.random.key(built.seed), 3)
    state, history = _distil(built, workdir, key_run, key_curve, progress)
    synthetic = record.owned(jax.device_get(built.recipe.method.read(state)))
    kept: list[judging.Judging] = []  # Of the first process.

    def begin() -> int | None:
        make = lambda: outputs.to_distilled(built, synthetic, {})
        case, seconds = cases.case_of(built), _seconds_of(history)
        kept.append(judging.Judging(case, workdir, make, seconds))
        return kept[0].begin()

    missing = processes.by_first(begin)
    if missing is None:
        return
    on_arm = kept[0].add if kept else None
    judging.judge(built, synthetic, key_arms, missing, on_arm, progress)
    if kept:
        kept[0].end()
    processes.barrier("the results are written")


def _seconds_of(history: dj.runtime.History) -> dict[str, float]:
    """What the run has spent, by what it did."""
    during = lambda name: sum(row[name] for row in history.evaluations)
    return {
        "distil": history.run_seconds,
        "evaluate meanwhile": during("run_seconds"),
        "compile": history.compile_seconds + during("compile_seconds"),
    }


def _distil(
    built: Experiment,
    workdir: pathlib.Path,
    key_run: Key,
    key_curve: Key,
    progress: bool | None,
) -> tuple[dj.State, dj.runtime.History]:
    """Runs the method, with a point of the curve now and then."""
    points, num_steps = built.evaluation.num_curve_points, built.summary.num_steps
    evaluation = dj.runtime.EvaluationOptions()
    if points:
        every = max(1, num_steps // points)
        evaluation = dj.runtime.EvaluationOptions(_curve(built, key_curve), every)
    return dj.run(
        built.recipe,
        built.dataset,
        num_steps=num_steps,
        key=key_run,
        workdir=workdir,
        config=dict(built.summary.config),
        checkpoint_every=built.checkpoint_every,
        evaluation=evaluation,
        logging=dj.runtime.LoggingOptions(
            built.log_every, progress, built.use_tensorboard
        ),
        trace_cache=built.trace_cache,
    )


def _curve(built: Experiment, key: Key) -> Callable[..., Mapping[str, float]]:
    """The evaluation on the validation split that is plotted during distillation."""
    from distill_jax.evaluation import checks

    metric = dj.tasks.metrics_of(built.task)[1][0].name
    unknown = {f"{metric}_{end}": math.nan for end in ("mean", "sd")}
    nothing = {"num_diverged": 0, "run_seconds": 0.0, "compile_seconds": 0.0}

    def evaluate(step: int, synthetic: dj.Synthetic) -> Mapping[str, float]:
        try:
            checks.check_synthetic(synthetic, built.dataset, built.recipe.protocol)
        except errors.InputError as error:
            # A step that cannot be judged now, such as one whose learned learning rate
            # fell below zero, may be followed by others that can.
            errors.warn(f"The set of step {step} is not evaluated. {error}")
            return {**unknown, **nothing}
        # The same networks every time: the curve compares the sets.
        result = dj.evaluate(
            built.task,
            synthetic,
            built.dataset,
            protocol=built.recipe.protocol,
            num_runs=built.evaluation.num_curve_runs,
            key=key,
            split="validation",
            side_by_side=built.side_by_side,
            allow_diverged=True,  # The distillation goes on.
        )
        row = result.to_row()
        names = [f"{result.metric.name}_{end}" for end in ("mean", "sd")]
        return {
            **{name: row[name] for name in names},
            "num_diverged": result.num_diverged,
            "run_seconds": result.run_seconds,
            "compile_seconds": result.compile_seconds,
        }

    return evaluate
