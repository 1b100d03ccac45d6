# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``distill-jax plan``: tells what a run or a study will take, and what takes less."""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

import distill_jax as dj
from distill_jax.cli import disk, flags, startup

if TYPE_CHECKING:
    from distill_jax.cli.experiment import Experiment

__all__ = [
    "COMMAND",
    "Alternative",
    "Preview",
    "alternatives",
    "preview_of",
    "runnable",
    "to_lines",
]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    flags.add_config(parser)
    parser.add_argument(
        "--memory_gib",
        type=flags.number(0, kind=float),
        metavar="GIB",
        help="of the device that is meant; by default of this one",
    )
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="of a study that was begun: what is finished there is counted",
    )
    flags.add_quiet(parser, is_shown=False)


def _run(values: argparse.Namespace) -> None:
    """Prints what a run or a study will take."""
    config = flags.required(values, "config", "digits_frepo")
    startup.prepare()
    from distill_jax.cli import experiment, kinds, plan_study, study

    gib = values.memory_gib
    memory_bytes = None if gib is None else int(gib * 2**30)
    if kinds.kind_of(config) == "study":
        workdir = values.workdir and pathlib.Path(values.workdir)
        made = study.build(config)
        print("\n".join(plan_study.lines_of(made, workdir, memory_bytes)))
        return
    if kinds.kind_of(config) == "label":
        from distill_jax.cli import labelling, plan_labels

        labels = labelling.build(config)
        print(f"{labels.title}, {labels.images.words}:")
        print("\n".join(plan_labels.to_lines(plan_labels.plan_of(labels))))
        return
    built = experiment.build(config)
    preview = preview_of(built, memory_bytes=memory_bytes)
    others = [] if preview.forecast.fits else alternatives(config)
    print(f"{built.summary.title}, {built.summary.num_per_class} per class:")
    print("\n".join(to_lines(preview, others)))


COMMAND = flags.Command(
    name="plan",
    summary="Tells what a run or a study will take: time, memory, disk.",
    examples="""\
  distill-jax plan --config=digits_frepo
  distill-jax plan --config=digits_frepo --memory_gib=8
      on a device with so much memory; where a run does not fit, what takes less
  distill-jax plan --config=digits_frepo_against_dm --workdir=runs/study
      of a study, what is left of it""",
    add_flags=_add_flags,
    run=_run,
    kinds=("distill", "label", "study"),
)

# Options that take less memory: what they are set to, given what they are.
_SAVINGS = {
    "remat": lambda value: None if value in ("step", "sqrt") else "step",
    "network_batch_size": lambda value: value // 2 if value and value > 1 else None,
    "batch_size": lambda value: value // 2 if value and value > 1 else None,
    "num_experts_per_step": lambda value: value // 2 if value and value > 1 else None,
    "num_networks": lambda value: value // 2 if value and value > 1 else None,
    "window": lambda value: (
        value // 2 if isinstance(value, int) and value > 1 else None
    ),
}


class Preview(NamedTuple):
    """The forecast of a config's run and what comes before and after it."""

    forecast: dj.runtime.Forecast
    expert_seconds: float | None  # of the training of experts, where there are some
    evaluate_seconds: float  # of the networks trained on the distilled set
    run_bytes: int = 0  # on the disk: two checkpoints and the distilled set
    expert_bytes: int = 0  # on the disk, where experts are kept in a folder


class Alternative(NamedTuple):
    """One change of a config, and the memory it would take then."""

    override: str
    peak_bytes: int


def preview_of(built: Experiment, *, memory_bytes: int | None = None) -> Preview:
    """Compiles what an experiment would run, and takes the time of a little of it.

    Experts are not trained: one epoch of one of them is timed, and random snapshots
    stand for theirs.

    Args:
      built: from :func:`distill_jax.cli.experiment.build`.
      memory_bytes: of the device that is meant; by default of this one.

    Returns:
      A :class:`Preview`.

    Example:
      >>> from distill_jax.cli import experiment, settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> preview_of(experiment.build(config)).forecast.fits
      True
    """
    forecast, counts = _forecast(built, memory_bytes), built.evaluation
    num_networks = counts.num_curve_points * counts.num_curve_runs + counts.num_runs
    seconds = _seconds_of_network(built) if forecast.fits else 0.0
    return Preview(
        forecast,
        _expert_seconds(built),
        num_networks * seconds,
        run_bytes=disk.bytes_of_run(built, runnable(built)),
        expert_bytes=disk.bytes_of_experts(built),
    )


def alternatives(config: Any) -> list[Alternative]:
    """What else could be asked for, with the memory of each, the smallest first.

    Args:
      config: one that does not fit.

    Returns:
      Single changes of fields of the config that take less memory than it does; each
      is compiled.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> [each.override for each in alternatives(config)]
      ['--config.method.batch_size=128']
    """
    from distill_jax.cli import experiment

    usual = dj.methods.options_of(config.method)
    smaller = []
    for name, saving in _SAVINGS.items():
        value = saving(usual.get(name)) if name in usual else None
        if value is None:
            continue
        changed = config.copy_and_resolve_references()
        with changed.unlocked():
            changed.method[name] = value
        peak_bytes = _forecast(experiment.build(changed), memory_bytes=0).peak_bytes
        smaller.append(Alternative(f"--config.method.{name}={value}", peak_bytes))
    return sorted(smaller, key=lambda alternative: alternative.peak_bytes)


def runnable(built: Experiment) -> dj.Recipe:
    """A recipe that needs no experts: random snapshots stand for theirs.

    Args:
      built: from :func:`distill_jax.cli.experiment.build`.

    Returns:
      The recipe, with real pictures as the seed where the experts would choose it.

    Example:
      >>> from distill_jax.cli import experiment, settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> built = experiment.build(config)
      >>> runnable(built) is built.recipe
      True
    """
    if built.recipe.experts is None:
        return built.recipe
    return built.recipe._replace(
        source_fn=lambda dataset: dj.experts.random_buffer(
            built.recipe.experts, built.task
        ).to_source(),
        initial_fn=dj.methods.initial_fn("real", built.num_images),
    )


def to_lines(preview: Preview, others: list[Alternative]) -> list[str]:
    """Says a preview in words, a line each.

    Args:
      preview: from :func:`preview_of`.
      others: from :func:`alternatives`, where it does not fit.

    Returns:
      Lines for a person.

    Example:
      >>> forecast = dj.runtime.Forecast(100, 3.0, 2_000_000, 1000, 8_000_000_000, 50.0)
      >>> for line in to_lines(Preview(forecast, None, 4.0), []):
      ...     print(line)
      compile     3 s
      memory      2 MB of 8 GB on each device, 1 kB of it the data
      speed       50 steps/s
      distilling  2 s for 100 steps
      evaluating  about 4 s for the networks on the distilled set
      disk        about 0 B
    """
    tables, forecast = dj.report.tables, preview.forecast
    size, duration = tables.format_bytes, tables.format_seconds
    lines = [
        f"compile     {duration(forecast.compile_seconds)}",
        f"memory      {size(forecast.peak_bytes)} of {size(forecast.memory_bytes)} on "
        f"each device, {size(forecast.source_bytes)} of it the data",
    ]
    if preview.expert_seconds is not None:
        lines.append(
            f"experts     about {duration(preview.expert_seconds)}, unless they are "
            "there already"
        )
    if forecast.run_seconds is not None:
        return [
            *lines,
            f"speed       {forecast.steps_per_second:.3g} steps/s",
            f"distilling  {duration(forecast.run_seconds)} for {forecast.num_steps} "
            "steps",
            f"evaluating  about {duration(preview.evaluate_seconds)} for the networks "
            "on the distilled set",
            _disk_line(preview),
        ]
    lines.append("It does not fit. What would take less:")
    for other in others:
        note = ", which fits" if other.peak_bytes <= forecast.memory_bytes else ""
        lines.append(f"  {size(other.peak_bytes):>8}  {other.override}{note}")
    return [*lines, "  or a smaller network."]


def _forecast(built: Experiment, memory_bytes: int | None) -> dj.runtime.Forecast:
    """Of the run with the keys that it will have."""
    import jax

    key, _, _ = jax.random.split(jax.random.key(built.seed), 3)
    return dj.runtime.forecast(
        runnable(built),
        built.dataset,
        num_steps=built.summary.num_steps,
        key=key,
        memory_bytes=memory_bytes,
    )


def _expert_seconds(built: Experiment) -> float | None:
    """Of all experts, from one epoch of one."""
    plan = built.recipe.experts
    if plan is None:
        return None
    return dj.experts.seconds_of(plan, built.task, built.dataset)


def _disk_line(preview: Preview) -> str:
    """What a run leaves on the disk."""
    size = dj.report.tables.format_bytes
    line = f"disk        about {size(preview.run_bytes)}"
    if preview.expert_bytes:
        line += f", and {size(preview.expert_bytes)} where the experts are kept"
    return line


def _seconds_of_network(built: Experiment) -> float:
    """To train one network on a set as it is at the start, and to judge it."""
    import jax

    recipe = runnable(built)
    key = jax.random.key(built.seed)
    state = dj.compute.compiling.jit(recipe.method.init)(
        key, recipe.initial_fn(key, built.dataset)
    )
    return dj.evaluate(
        built.task,
        recipe.method.read(state),
        built.dataset,
        protocol=recipe.protocol,
        num_runs=1,
        key=key,
        split="validation",
        side_by_side=built.side_by_side,
        allow_diverged=True,
    ).run_seconds
