# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``distill-jax distill``: distils, evaluates, compares, and writes a report."""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import distill_jax as dj
from distill_jax import errors
from distill_jax.cli import flags, outputs, startup

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
    """Distils, stores the set, evaluates it beside the other arms, stores the results.

    Everything lands in ``workdir``; what an earlier, interrupted call has done there
    is taken up, and what it has finished is not done again.

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

    from distill_jax.cli import kinds
    from distill_jax.compute import processes
    from distill_jax.runtime import record

    if processes.is_first():
        kinds.bring_up(workdir, built.summary.config)
    key_run, key_curve, key_arms = jax.random.split(jax.random.key(built.seed), 3)
    state, history = _distil(built, workdir, key_run, key_curve, progress)
    # Before any process may write it.
    is_done = processes.agree((workdir / "results.json").exists())
    if is_done:
        return
    synthetic = record.owned(jax.device_get(built.recipe.method.read(state)))
    try:
        results = _judge(built, synthetic, key_arms, progress)
    except dj.errors.DivergedError:
        if processes.is_first():  # It took hours, and needs another protocol only.
            outputs.to_distilled(built, synthetic, {}).save(workdir)
        raise
    during = lambda name: sum(row[name] for row in history.evaluations)
    compiling = results["seconds"].pop("compile the evaluation")
    results["seconds"] = {
        "distil": history.run_seconds,
        "evaluate meanwhile": during("run_seconds"),
        **results["seconds"],
        "compile": history.compile_seconds + during("compile_seconds") + compiling,
    }
    results["environment"] = outputs.environment()
    if processes.is_first():
        outputs.to_distilled(built, synthetic, results).save(workdir)
        outputs.write_json(workdir / "results.json", results)
    processes.barrier("the results are written")


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


def _judge(
    built: Experiment, synthetic: dj.Synthetic, key: Key, progress: bool | None
) -> dict[str, Any]:
    """The arms as rows of a table, the score, and the seconds they took."""
    is_shown = sys.stderr.isatty() if progress is None else progress
    if is_shown:
        print("Evaluating ...", file=sys.stderr)
    settings, dataset = built.evaluation, built.dataset
    run_options = dj.evaluation.RunOptions(
        settings.num_real_steps, settings.num_checkpoints, built.side_by_side
    )
    problem = (key, built.task, synthetic, dataset, built.recipe.protocol)
    if settings.use_arms:
        arms = dj.evaluation.arms(
            *problem,
            num_runs=settings.num_runs,
            expert=settings.expert,
            run_options=run_options,
        )
    else:
        arms = [
            dj.evaluation.synthetic_arm(
                *problem,
                num_runs=settings.num_runs,
                num_checkpoints=settings.num_checkpoints,
                side_by_side=built.side_by_side,
            )
        ]
    rows = [arm.to_row() for arm in arms]
    own = sum((row["seconds"] for row in rows if row["is_distilled"]), start=0.0)
    seconds = {"evaluate": own}
    if settings.use_arms:
        seconds["evaluate the other arms"] = sum(row["seconds"] for row in rows) - own
    seconds["compile the evaluation"] = sum(arm.compile_seconds for arm in arms)
    return {
        "metrics": [dataclasses.asdict(each) for each in arms[0].evaluation.metrics],
        "arms": rows,
        "scores": _scores(arms),
        "seconds": seconds,
    }


def _scores(arms: list[dj.evaluation.Arm]) -> dict[str, str]:
    """The label-robust score, mean and 95 % interval over runs, where there is one."""
    if "synthetic-hard" not in {arm.name for arm in arms}:
        return {}
    runs = {arm.name: arm.evaluation.accuracies for arm in arms}
    score = dj.evaluation.fairness.label_robust_score(
        runs["real-hard"],
        runs["synthetic-hard"],
        runs["synthetic-any"],
        runs["random-any"],
    )
    mean, ci95 = dj.evaluation.interval(score)
    spread = ""
    if math.isfinite(ci95):
        low, high = dj.evaluation.interval_of_fraction(mean, ci95)
        spread = f" (95 % interval {low:.3f} to {high:.3f})"
    return {"Label-robust score": f"{mean:.3f}{spread}"}
