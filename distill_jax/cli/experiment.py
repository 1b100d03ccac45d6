# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a config to the public API: an `Experiment` is all that a command needs.

After :func:`build` nobody reads the config.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from distill_jax import (
    base,
    data,
    deprecations,
    errors,
    evaluation,
    experts,
    methods,
    runtime,
)
from distill_jax.cli import problems, settings
from distill_jax.cli.data_sets import load_for
from distill_jax.compute import devices, recipes
from distill_jax.evaluation import protocol as protocols

__all__ = [
    "EvaluationSettings",
    "Experiment",
    "Summary",
    "build",
    "load_for",
    "summary_of",
]

# What decides nothing about the steps that are taken.
_NOT_TRACED = {
    "kind",
    "title",
    "seed",
    "evaluate",
    "log_every",
    "checkpoint_every",
    "tensorboard",
}

# The least that a count can be.
_LEAST = {
    "num_steps": 1,
    "num_per_class": 1,
    "log_every": 1,
    "checkpoint_every": 1,
    "num_devices": 0,
    "evaluate.num_runs": 1,
    "evaluate.num_curve_points": 0,
    "evaluate.num_curve_runs": 1,
    "evaluate.num_checkpoints": 1,
    "evaluate.num_real_steps": 1,
    "evaluate.num_expert_epochs": 1,
}


class Summary(NamedTuple):
    """What a report says of an experiment before its numbers."""

    title: str
    method: str
    num_per_class: int  # learned examples of each class
    num_steps: int
    config: Mapping[str, Any]  # as it is stored; shown and compared, never read


class EvaluationSettings(NamedTuple):
    """How much is evaluated, while distilling and at the end."""

    num_runs: int  # fresh networks of the final evaluation
    num_checkpoints: int  # points of training at which test accuracy is noted
    num_curve_points: int  # evaluations during distillation, on validation
    num_curve_runs: int  # fresh networks of each of them
    use_arms: bool  # whether the result is compared with other arms
    num_real_steps: int  # training steps on all real data
    expert: experts.Training  # of the expert of the arm of soft labels


class Experiment(NamedTuple):
    """What a config stands for."""

    summary: Summary
    dataset: data.Dataset
    task: base.Task
    recipe: base.Recipe
    num_images: (
        int  # of each class, that a network sees: several may lie in one example
    )
    seed: int
    log_every: int
    checkpoint_every: int
    use_tensorboard: bool
    evaluation: EvaluationSettings
    side_by_side: Any  # how the networks of evaluations are trained
    trace_cache: runtime.TraceCache | None  # where what it traces is kept


def build(config: Any) -> Experiment:
    """Loads the data and makes the task and the recipe of a config.

    Args:
      config: one that started as :func:`distill_jax.cli.settings.default`.

    Returns:
      An :class:`Experiment`.

    Raises:
      InputError: when a field cannot work.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> build(config).dataset.spec.name
      'digits'
    """
    settings.check(config)
    problems.check_counts(config, _LEAST)
    dataset = problems.load(config, "the curve and the expert's epoch")
    task, inner_task = _tasks(config, dataset)
    recipe = _recipe(config, inner_task)
    evaluation_settings = _evaluation(config.evaluate, recipe.protocol)
    trace_cache = _trace_cache(config, dataset)
    mesh = devices.mesh_for(
        recipe,
        dataset,
        num_devices=config.num_devices,
        axis=config.spread,
        recall=trace_cache and trace_cache.value,
    )
    if mesh is not None:
        recipe = recipes.spread_recipe(recipe, dataset, mesh)
    is_single = config.num_devices == 1
    return Experiment(
        summary=summary_of(config),
        dataset=dataset,
        task=task,
        recipe=recipe,
        num_images=config.num_per_class * config.method.get("factor", 1) ** 2,
        seed=config.seed,
        log_every=config.log_every,
        checkpoint_every=(
            max(1, config.num_steps // 10)
            if config.checkpoint_every is None
            else config.checkpoint_every
        ),
        use_tensorboard=config.tensorboard,
        evaluation=evaluation_settings,
        side_by_side="auto" if is_single else devices.side_by_side(task, mesh),
        trace_cache=trace_cache,
    )


def summary_of(config: Any) -> Summary:
    """Returns what a report says of a config.

    Args:
      config: as :func:`build` takes it.

    Returns:
      A :class:`Summary`.

    Example:
      >>> from distill_jax.cli import settings
      >>> summary_of(settings.default()).title
      'dm on digits'
    """
    return Summary(
        title=config.title or f"{config.method.name} on {config.data.name}",
        method=config.method.name,
        num_per_class=config.num_per_class,
        num_steps=config.num_steps,
        config=config.to_dict(),
    )


def method_options(config: Any) -> dict[str, Any]:
    """Is the former name of :func:`distill_jax.methods.options_of`.

    Args:
      config: with a section ``method``.

    Returns:
      Names and values.

    Example:
      >>> import warnings
      >>> from distill_jax.cli import settings
      >>> with warnings.catch_warnings(action="ignore"):
      ...     method_options(settings.default())["factor"]
      1
    """
    deprecations.warn("`method_options(config)`", "`methods.options_of(config.method)`")
    return methods.options_of(config.method)


def _tasks(config: Any, dataset: data.Dataset) -> tuple[base.Task, base.Task]:
    """The task of the evaluation, and the one that is distilled for."""
    network = config.network.to_dict()
    task = problems.task_of(network, dataset)
    changes = config.inner_network.to_dict()
    if config.precision is not None:
        changes["precision"] = config.precision
    if {**network, **changes} == network:
        return task, task
    return task, problems.task_of(network, dataset, changes)


def _recipe(config: Any, task: base.Task) -> base.Recipe:
    """Calls the named method with the options of the config."""
    description = {"name": "", **config.method.to_dict()}
    description["num_per_class"] = config.num_per_class
    if "num_steps" in methods.parameters_of(description["name"]):
        description["num_steps"] = config.num_steps
    if description.get("bend") is not None:
        raise errors.InputError(
            "A config names things and cannot hold functions, so `bend` is no option "
            f"of its section `method`; call `dj.methods.{description['name']}(..., "
            "bend=...)` from Python."
        )
    recipe = methods.build(task, description)
    protocol = problems.protocol_with(recipe.protocol, config.protocol)
    return recipe._replace(protocol=protocol)


def _evaluation(section: Any, protocol: protocols.Protocol) -> EvaluationSettings:
    """The section `evaluate` of a config."""
    return EvaluationSettings(
        num_runs=section.num_runs,
        num_checkpoints=section.num_checkpoints,
        num_curve_points=section.num_curve_points,
        num_curve_runs=section.num_curve_runs,
        use_arms=section.arms,
        num_real_steps=section.num_real_steps,
        expert=evaluation.usual_expert(
            protocol,
            num_epochs=section.num_expert_epochs,
            learning_rate=section.expert_learning_rate,
        ),
    )


def _trace_cache(config: Any, dataset: data.Dataset) -> runtime.TraceCache | None:
    """The trace cache of all runs that take the same steps."""
    fields = {k: v for k, v in config.to_dict().items() if k not in _NOT_TRACED}
    return runtime.trace_cache_for({**fields, "data set": dataset.spec.fingerprint})
