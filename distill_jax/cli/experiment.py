# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a config to the public API, and from what a run left behind to its report.

This file, the settings and the command line are all that knows a config.
"""

import dataclasses
import inspect
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, data, errors, evaluation, methods, nets, runtime, tasks
from distill_jax.compute import devices, parallel, processes
from distill_jax.evaluation import protocol as protocols
from distill_jax.runtime import record
from distill_jax.runtime import workdir as workdirs
from distill_jax.storage import distilled
from distill_jax.types import Key

__all__ = [
    "Experiment",
    "build",
    "distil",
    "load_for",
    "method_options",
    "to_synthetic",
]


# What decides nothing about the steps that are taken.
_NOT_TRACED = {
    "title",
    "seed",
    "evaluate",
    "log_every",
    "checkpoint_every",
    "tensorboard",
}


class Experiment(NamedTuple):
    """What a config stands for."""

    dataset: data.Dataset
    task: base.Task
    recipe: base.Recipe
    mapping: Any  # how the networks of evaluations are put side by side
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
    _check_counts(config)
    dataset = load_for(config)
    if not len(dataset.validation.y):
        raise errors.InputError(
            "`data.validation_fraction` is 0, but the curve and the expert's epoch are "
            "taken from the validation split; give it a part, such as 0.1."
        )
    network = {**config.network.to_dict(), "num_classes": dataset.spec.num_classes}
    task = tasks.classification(nets.build(network), dataset.spec)
    inner_network = {**network, **config.inner_network.to_dict()}
    if config.precision is not None:
        inner_network["precision"] = config.precision
    inner = task
    if inner_network != network:
        inner = tasks.classification(nets.build(inner_network), dataset.spec)
    recipe = _recipe(config, inner)
    _expert(config)
    trace_cache = _trace_cache(config, dataset)
    mesh = devices.mesh_for(
        recipe,
        dataset,
        num_devices=config.num_devices,
        axis=config.spread,
        recall=trace_cache and trace_cache.value,
    )
    if mesh is not None:
        recipe = parallel.spread_recipe(recipe, dataset, mesh)
    is_single = config.num_devices == 1
    mapping = "auto" if is_single else devices.evaluation_mapping(task, mesh)
    return Experiment(dataset, task, recipe, mapping, trace_cache)


def load_for(config: Any) -> data.Dataset:
    """Loads the data set of a config.

    Args:
      config: with a section ``data``.

    Returns:
      The data set.

    Raises:
      InputError: when it cannot be loaded.

    Example:
      >>> from distill_jax.cli import settings
      >>> load_for(settings.default()).spec.shape
      (8, 8, 1)
    """
    return data.load(
        config.data.name,
        config.data.data_dir,
        normalization=config.data.normalization,
        validation_fraction=config.data.validation_fraction,
    )


def distil(
    config: Any,
    workdir: pathlib.Path,
    *,
    progress: bool | None = None,
) -> None:
    """Distils, stores the set, evaluates it beside the other arms, stores the results.

    Everything lands in ``workdir``; what an earlier, interrupted call has done there
    is taken up, and what it has finished is not done again.

    Args:
      config: what to do.
      workdir: where its files go.
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
      ...     distil(config, pathlib.Path(folder), progress=False)
      ...     sorted(path.name for path in pathlib.Path(folder).glob("*.json"))
      ['config.json', 'distilled.json', 'results.json']
    """
    experiment = build(config)
    key_run, key_curve, key_arms = jax.random.split(jax.random.key(config.seed), 3)
    points = config.evaluate.num_curve_points
    state, history = runtime.run(
        experiment.recipe,
        experiment.dataset,
        num_steps=config.num_steps,
        key=key_run,
        workdir=workdir,
        config=config.to_dict(),
        checkpoint_every=(
            max(1, config.num_steps // 10)
            if config.checkpoint_every is None
            else config.checkpoint_every
        ),
        log_every=config.log_every,
        evaluate_fn=_curve(experiment, config, key_curve) if points else None,
        evaluate_every=max(1, config.num_steps // points) if points else None,
        progress=progress,
        tensorboard=config.tensorboard,
        trace_cache=experiment.trace_cache,
    )
    # Before any process may write it.
    is_done = processes.agree((workdir / "results.json").exists())
    if is_done:
        return
    synthetic = record.owned(jax.device_get(experiment.recipe.method.read(state)))
    results = _judge(experiment, synthetic, config, key_arms, progress)
    during = lambda name: sum(row[name] for row in history.evaluations)
    compiling = results["seconds"].pop("compile the evaluation")
    results["seconds"] = {
        "distil": history.run_seconds,
        "evaluate meanwhile": during("run_seconds"),
        **results["seconds"],
        "compile": history.compile_seconds + during("compile_seconds") + compiling,
    }
    results["environment"] = _environment()
    if processes.is_first():
        _to_distilled(experiment, synthetic, config, results).save(workdir)
        _write_json(workdir / "results.json", results)
    processes.barrier("the results are written")


def method_options(config: Any) -> dict[str, Any]:
    """The options of a config's method, with the defaults of those it does not set.

    Args:
      config: with a section ``method``.

    Returns:
      Names and values; None where the method looks up what was published.

    Raises:
      InputError: when there is no such method.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.default()
      >>> config.method = {"name": "dm", "batch_size": 8}
      >>> options = method_options(config)
      >>> options["batch_size"], options["factor"]
      (8, 1)
    """
    known = _parameters(config.method.name)
    defaults = {
        name: parameter.default
        for name, parameter in known.items()
        if parameter.default is not parameter.empty
    }
    given = {name: value for name, value in config.method.items() if name in known}
    return defaults | given


def to_synthetic(stored: distilled.DistilledSet) -> base.Synthetic:
    """The arrays of a stored set as a learner takes them.

    Args:
      stored: a distilled set.

    Returns:
      A :class:`~distill_jax.base.Synthetic` on the device.

    Example:
      >>> stored = distilled.DistilledSet(x=np.zeros((2, 3)), y=np.eye(2))
      >>> to_synthetic(stored).x.shape
      (2, 3)
    """
    put = lambda value: None if value is None else jnp.asarray(value)
    return base.Synthetic(
        x=jnp.asarray(stored.x),
        y=jnp.asarray(stored.y),
        weight=put(stored.weight),
        learning_rate=put(stored.learning_rate),
    )


def _check_counts(config: Any) -> None:
    """Raises for a count that cannot be, before anything is done."""
    least = {
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
    }
    for name, lowest in least.items():
        value = config
        for part in name.split("."):
            value = value[part]
        if value is not None and value < lowest:
            raise errors.InputError(f"`{name}` must be at least {lowest}, got {value}.")


def _trace_cache(config: Any, dataset: data.Dataset) -> runtime.TraceCache | None:
    """The trace cache of all runs that take the same steps."""
    told = config.to_dict()
    description = {k: v for k, v in told.items() if k not in _NOT_TRACED}
    return runtime.trace_cache_for(
        {**description, "data set": dataset.spec.fingerprint}
    )


def _expert(config: Any) -> evaluation.ExpertSettings:
    """How the expert of the arm of soft labels is trained."""
    return evaluation.ExpertSettings(
        num_epochs=config.evaluate.num_expert_epochs,
        learning_rate=config.evaluate.expert_learning_rate,
    )


def _recipe(config: Any, task: base.Task) -> base.Recipe:
    """Calls the named method with the options of the config."""
    options = config.method.to_dict()
    name = options.pop("name", "")
    known = _parameters(name)
    options["num_per_class"] = config.num_per_class
    if "num_steps" in known:
        options["num_steps"] = config.num_steps
    for option in options:
        if option not in known:
            raise errors.InputError(
                f'The method "{name}" has no option "{option}". '
                f"{errors.nearest(option, known)}"
            )
    recipe = methods.NAMES[name](task, **options)
    return recipe._replace(protocol=_protocol(recipe.protocol, config.protocol))


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    """What a named method takes."""
    if name not in methods.NAMES:
        hint = errors.nearest(str(name), methods.NAMES)
        raise errors.InputError(f'There is no method "{name}". {hint}')
    return inspect.signature(methods.NAMES[name]).parameters


def _protocol(protocol: protocols.Protocol, overrides: Any) -> protocols.Protocol:
    """The protocol of a method with what a config says otherwise."""
    given = {name: value for name, value in overrides.items() if value is not None}
    for length, other in (("num_steps", "num_epochs"), ("num_epochs", "num_steps")):
        if length in given:
            given.setdefault(other, None)
    return dataclasses.replace(protocol, **given)


def _curve(experiment: Experiment, config: Any, key: Key):
    """The evaluation on the validation split that is plotted during distillation."""

    def evaluate(step: int, synthetic: base.Synthetic) -> Mapping[str, float]:
        del step  # The same networks every time: the curve compares the sets.
        result = evaluation.evaluate(
            experiment.task,
            synthetic,
            experiment.dataset,
            protocol=experiment.recipe.protocol,
            num_runs=config.evaluate.num_curve_runs,
            key=key,
            split="validation",
            mapping=experiment.mapping,
        )
        return {
            "accuracy_mean": result.mean,
            "accuracy_sd": result.sd,
            "run_seconds": result.run_seconds,
            "compile_seconds": result.compile_seconds,
        }

    return evaluate


def _judge(
    experiment: Experiment,
    synthetic: base.Synthetic,
    config: Any,
    key: Key,
    progress: bool | None,
) -> dict[str, Any]:
    """The arms as rows of a table, the score, and the seconds they took."""
    is_shown = sys.stderr.isatty() if progress is None else progress
    if is_shown:
        print("Evaluating ...", file=sys.stderr)
    fields, dataset = config.evaluate, experiment.dataset
    shared = {
        "num_runs": fields.num_runs,
        "num_checkpoints": fields.num_checkpoints,
        "mapping": experiment.mapping,
    }
    problem = (key, experiment.task, synthetic, dataset, experiment.recipe.protocol)
    if fields.arms:
        arms = evaluation.arms(
            *problem,
            len(synthetic.y) // dataset.spec.num_classes,
            num_real_steps=fields.num_real_steps,
            expert=_expert(config),
            **shared,
        )
    else:
        arms = [evaluation.synthetic_arm(*problem, **shared)]
    rows = [arm.to_row() for arm in arms]
    own = sum((row["seconds"] for row in rows if row["is_distilled"]), start=0.0)
    seconds = {"evaluate": own}
    if fields.arms:
        seconds["evaluate the other arms"] = sum(row["seconds"] for row in rows) - own
    seconds["compile the evaluation"] = sum(arm.compile_seconds for arm in arms)
    scores = _scores(arms) if fields.arms else {}
    return {"arms": rows, "scores": scores, "seconds": seconds}


def _scores(arms: list[evaluation.Arm]) -> dict[str, str]:
    """The label-robust score, mean and 95 % interval over runs."""
    runs = {arm.name: arm.evaluation.accuracies for arm in arms}
    score = evaluation.fairness.label_robust_score(
        runs["real-hard"],
        runs["synthetic-hard"],
        runs["synthetic-any"],
        runs["random-any"],
    )
    mean, ci95 = evaluation.interval(score)
    spread = f" (95 % interval ± {ci95:.3f})" if np.isfinite(ci95) else ""
    return {"Label-robust score": f"{mean:.3f}{spread}"}


def _environment() -> dict[str, Any]:
    """What the numbers depend on apart from the config."""
    device = jax.devices()[0]
    return {
        "device": f"{len(jax.devices())} x {device.device_kind}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "peak_bytes": runtime.peak_memory(),
    }


def _to_distilled(
    experiment: Experiment,
    synthetic: base.Synthetic,
    config: Any,
    results: Mapping[str, Any],
) -> distilled.DistilledSet:
    """The deliverable, with all that is needed to use it."""
    spec, protocol = experiment.dataset.spec, experiment.recipe.protocol
    rate = synthetic.learning_rate
    return distilled.DistilledSet(
        x=np.asarray(synthetic.x),
        y=np.asarray(synthetic.y),
        weight=None if synthetic.weight is None else np.asarray(synthetic.weight),
        learning_rate=None if rate is None else float(rate),
        targets=protocol.targets,
        normalizer=spec.normalizer._asdict(),
        recipe={
            "loss": experiment.task.retarget(protocol.targets).facts.loss,
            "network": dict(experiment.task.facts.network),
            "protocol": dataclasses.asdict(protocol),
        },
        data_fingerprint=spec.fingerprint,
        data={
            "name": spec.name,
            "shape": spec.shape,
            "class_names": spec.class_names,
            "normalization": spec.normalization,
        },
        config=config.to_dict(),
        results=results,
    )


def _write_json(path: pathlib.Path, content: Any) -> None:
    with workdirs.writing(path.parent):
        workdirs.replace_file(path, json.dumps(content, indent=1, allow_nan=False))
