# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run of a config will need, and what to change where it does not fit."""

import time
from typing import Any, NamedTuple

import jax

from distill_jax import base, data, evaluation, runtime
from distill_jax import experts as experts_lib
from distill_jax.cli import experiment
from distill_jax.compute import compiling
from distill_jax.experts import training
from distill_jax.methods import initial_examples
from distill_jax.report import tables

__all__ = [
    "Alternative",
    "Preview",
    "alternatives",
    "preview_of",
    "runnable",
    "to_lines",
]

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

    forecast: runtime.Forecast
    expert_seconds: float | None  # of the training of experts, where there are some
    evaluate_seconds: float  # of the networks trained on the distilled set


class Alternative(NamedTuple):
    """One change of a config, and the memory it would take then."""

    override: str
    peak_bytes: int


def preview_of(config: Any, *, memory_bytes: int | None = None) -> Preview:
    """Compiles what a config would run, and takes the time of a little of it.

    Experts are not trained: one epoch of one of them is timed, and random snapshots
    stand for theirs.

    Args:
      config: as :func:`distill_jax.cli.experiment.distil` takes it.
      memory_bytes: of the device that is meant; by default of this one.

    Returns:
      A :class:`Preview`.

    Raises:
      InputError: when a field cannot work.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> preview_of(config).forecast.fits
      True
    """
    built = experiment.build(config)
    told = _forecast(built, config, memory_bytes)
    fields = config.evaluate
    num_networks = fields.num_curve_points * fields.num_curve_runs + fields.num_runs
    seconds = _seconds_of_network(built, config) if told.fits else 0.0
    return Preview(told, _expert_seconds(built), num_networks * seconds)


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
    usual = experiment.method_options(config)
    found = []
    for name, saving in _SAVINGS.items():
        value = saving(usual.get(name)) if name in usual else None
        if value is None:
            continue
        changed = config.copy_and_resolve_references()
        with changed.unlocked():
            changed.method[name] = value
        told = _forecast(experiment.build(changed), changed, memory_bytes=0)
        found.append(Alternative(f"--config.method.{name}={value}", told.peak_bytes))
    return sorted(found, key=lambda each: each.peak_bytes)


def runnable(built: experiment.Experiment, config: Any) -> base.Recipe:
    """A recipe that needs no experts: random snapshots stand for theirs.

    Args:
      built: from :func:`distill_jax.cli.experiment.build`.
      config: what it was built from.

    Returns:
      The recipe, with real pictures as the seed where the experts would choose it.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> built = experiment.build(config)
      >>> runnable(built, config) is built.recipe
      True
    """
    if built.recipe.experts is None:
        return built.recipe
    num_images = config.num_per_class * config.method.get("factor", 1) ** 2
    return built.recipe._replace(
        source_fn=lambda dataset: experts_lib.random_buffer(
            built.recipe.experts, built.task
        ).to_source(),
        initial_fn=initial_examples.initial_fn("real", num_images),
    )


def to_lines(preview: Preview, others: list[Alternative]) -> list[str]:
    """The preview in words, a line each.

    Args:
      preview: from :func:`preview_of`.
      others: from :func:`alternatives`, where it does not fit.

    Returns:
      Lines for a person.

    Example:
      >>> told = runtime.Forecast(100, 3.0, 2_000_000, 1000, 8_000_000_000, 50.0)
      >>> for line in to_lines(Preview(told, None, 4.0), []):
      ...     print(line)
      compile     3 s
      memory      2 MB of 8 GB on each device, 1 kB of it the data
      speed       50 steps/s
      distilling  2 s for 100 steps
      evaluating  about 4 s for the networks on the distilled set
    """
    size, duration = tables.format_bytes, tables.format_seconds
    told = preview.forecast
    lines = [
        f"compile     {duration(told.compile_seconds)}",
        f"memory      {size(told.peak_bytes)} of {size(told.memory_bytes)} on each "
        f"device, {size(told.source_bytes)} of it the data",
    ]
    if preview.expert_seconds is not None:
        lines.append(
            f"experts     about {duration(preview.expert_seconds)}, unless they are "
            "there already"
        )
    if told.run_seconds is not None:
        return [
            *lines,
            f"speed       {told.steps_per_second:.3g} steps/s",
            f"distilling  {duration(told.run_seconds)} for {told.num_steps} steps",
            f"evaluating  about {duration(preview.evaluate_seconds)} for the networks "
            "on the distilled set",
        ]
    lines.append("It does not fit. What would take less:")
    for each in others:
        note = ", which fits" if each.peak_bytes <= told.memory_bytes else ""
        lines.append(f"  {size(each.peak_bytes):>8}  {each.override}{note}")
    return [*lines, "  or a smaller network."]


def _forecast(
    built: experiment.Experiment, config: Any, memory_bytes: int | None
) -> runtime.Forecast:
    key, _, _ = jax.random.split(jax.random.key(config.seed), 3)
    return runtime.forecast(
        runnable(built, config),
        built.dataset,
        num_steps=config.num_steps,
        key=key,
        memory_bytes=memory_bytes,
    )


def _expert_seconds(built: experiment.Experiment) -> float | None:
    """Of all experts, from one epoch of one."""
    plan = built.recipe.experts
    if plan is None:
        return None
    source = data.to_source(built.dataset)

    options = {**plan.training(), "num_epochs": 1}

    def one(key, source):
        return training.train_expert(key, built.task, source, **options)

    args = jax.random.key(plan.seed), source
    compiled = compiling.ahead_of_time(one, *args)
    start = time.perf_counter()
    jax.block_until_ready(compiled(*args))
    return (time.perf_counter() - start) * plan.num_epochs * plan.num_experts


def _seconds_of_network(built: experiment.Experiment, config: Any) -> float:
    """To train one network on a set as it is at the start, and to judge it."""
    recipe = runnable(built, config)
    key = jax.random.key(config.seed)
    state = compiling.jit(recipe.method.init)(
        key, recipe.initial_fn(key, built.dataset)
    )
    return evaluation.evaluate(
        built.task,
        recipe.method.read(state),
        built.dataset,
        protocol=recipe.protocol,
        num_runs=1,
        key=key,
        split="validation",
        mapping=built.mapping,
    ).run_seconds
