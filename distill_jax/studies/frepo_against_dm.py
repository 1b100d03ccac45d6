# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compares FRePo with DM at several sizes: a small study that shows how one is made.

Both methods distil the same data for the same network, and fresh networks are trained
on either set for as many steps. A cell is one method at one size with one seed; seeds
are what the intervals are over, and pair the methods.

Reference:
  Yongchao Zhou, Ehsan Nezhadarya, Jimmy Ba, "Dataset Distillation using Neural Feature
  Regression", 2022, which compares the two on CIFAR-10.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax

import distill_jax as dj
from distill_jax import errors
from distill_jax.studies import cells as cells_lib
from distill_jax.studies import planning, study, summaries
from distill_jax.types import Key

__all__ = ["make"]

_METHODS: dict[str, dict[str, Any]] = {
    "dm": {"augmentation": "none", "batch_size": 64},
    "frepo": {
        "optimizer": "adam",
        "learning_rate": 1e-2,
        "ridge": 1e-3,
        "batch_size": 256,
    },
}
_NAMES = {"dm": "DM", "frepo": "FRePo", "method": "Method"}


def make(
    *,
    data_name: str = "digits",
    data_dir: str | None = None,
    sizes: Sequence[int] = (1, 2, 3),
    num_seeds: int = 6,
    num_steps: int = 1000,
    num_training_steps: int = 300,
    num_runs: int = 2,
    hidden: Sequence[int] = (256,),
) -> study.Study:
    """Makes the study.

    Args:
      data_name: of the data set.
      data_dir: the folder of the data sets.
      sizes: images per class, at least two.
      num_seeds: runs of each method at each size.
      num_steps: of each run.
      num_training_steps: of each fresh network.
      num_runs: fresh networks of each set.
      hidden: the width of each layer of the network.

    Returns:
      The :class:`Study`.

    Raises:
      InputError: for counts below 1, or a single size.

    Example:
      >>> len(make(sizes=(1, 2), num_seeds=3).cells)
      12
    """
    errors.check_counts(num_seeds=num_seeds, num_steps=num_steps, num_runs=num_runs)
    sizes = sorted(set(sizes))
    for size in sizes:
        errors.check_counts(of="`sizes`", size=size)
    if len(sizes) < 2:
        raise errors.InputError(
            f"`sizes` is {tuple(sizes)}; pass at least two, since the study asks what "
            "more images change."
        )
    dataset = dj.data.load(data_name, data_dir)
    fixed = {
        "data": dataset.spec.fingerprint,
        "network": {"name": "mlp", "hidden": list(hidden)},
        "num_steps": num_steps,
        "num_training_steps": num_training_steps,
        "num_runs": num_runs,
    }
    groups = [
        _group(
            dataset,
            {**fixed, "size": size, "method": method, "options": options},
            num_seeds,
        )
        for size in sizes
        for method, options in _METHODS.items()
    ]
    return study.Study(
        title=f"FRePo against DM on {data_name}",
        # A seed of all groups before the next: an early look has a bit of everything.
        cells=[cell for cells in zip(*groups, strict=True) for cell in cells],
        sections_of=functools.partial(_sections, sizes=sizes),
        facts={
            "Data set": dj.data.describe(dataset),
            "Network": dj.nets.network_words(fixed["network"]),
            "Distillation": f"{num_steps} steps of either method",
            "Evaluation": f"{num_runs} fresh networks of each set, "
            f"{num_training_steps} steps by the optimiser of the method's paper",
        },
    )


def _group(
    dataset: dj.data.Dataset, description: Mapping[str, Any], num_seeds: int
) -> list[cells_lib.Cell]:
    """The cells of one method at one size, which share what is compiled."""
    task, recipe = _recipe(dataset, description)
    counts = {name: description[name] for name in ("num_steps", "num_runs")}
    method, size = _NAMES[description["method"]], description["size"]

    def run(key: Key) -> list[dict[str, Any]]:
        key_distil, key_evaluate = jax.random.split(key)
        state, _ = dj.run(
            recipe,
            dataset,
            num_steps=counts["num_steps"],
            key=key_distil,
            logging=dj.runtime.LoggingOptions(progress=False),
            trace_cache=dj.runtime.trace_cache_for(description),
        )
        evaluation = dj.evaluate(
            task,
            recipe.method.read(state),
            dataset,
            protocol=recipe.protocol,
            num_runs=counts["num_runs"],
            key=key_evaluate,
        )
        return [{"accuracy": accuracy} for accuracy in evaluation.accuracies]

    return [
        cells_lib.Cell(
            name=f"{method}, {size} per class, seed {seed}",
            run=run,
            description=description,
            seed=seed,
            needs=lambda: planning.needs_of_run(task, recipe, dataset, **counts),
        )
        for seed in range(num_seeds)
    ]


def _recipe(
    dataset: dj.data.Dataset, description: Mapping[str, Any]
) -> tuple[dj.Task, dj.Recipe]:
    """The task and the recipe of a method at a size."""
    spec = dataset.spec
    network = {**description["network"], "num_classes": spec.num_classes}
    task = dj.tasks.classification(dj.nets.build(network), spec)
    method = {
        "name": description["method"],
        **description["options"],
        "num_per_class": description["size"],
    }
    if "num_steps" in dj.methods.parameters_of(method["name"]):
        method["num_steps"] = description["num_steps"]
    recipe = dj.methods.build(task, method)
    protocol = dataclasses.replace(
        recipe.protocol,
        num_epochs=None,
        num_steps=description["num_training_steps"],
        warmup_steps=0,
        augmentation="none",
    )
    if description["method"] == "frepo":
        protocol = dataclasses.replace(protocol, learning_rate=1e-3)
    return task, recipe._replace(protocol=protocol)


def _sections(
    rows: Sequence[Mapping[str, Any]], *, sizes: Sequence[int]
) -> list[dj.report.Section]:
    """The claims, with the numbers and the figure that they rest on."""
    lead = {size: _lead(rows, size) for size in sizes}
    small, large = sizes[0], sizes[-1]
    both = [seed for seed in lead[small] if seed in lead[large]]
    claims = [
        summaries.claim_of(
            f"FRePo is better than DM at {small} per class.",
            lead[small],
            above=0.0,
            unit="points",
            paper="20.8 points on CIFAR-10 at 1 per class, with a ConvNet (46.8 and "
            "26.0 %)",
        ),
        summaries.claim_of(
            f"Its lead is smaller at {large} per class than at {small}.",
            [lead[small][seed] - lead[large][seed] for seed in both],
            above=0.0,
            unit="points",
            paper="4.2 points smaller on CIFAR-10 at 10 per class (65.5 and 48.9 %)",
        ),
    ]
    return [
        dj.report.Section(
            "Claims",
            "A claim holds where the whole 95 % interval of the differences between "
            "pairs of equal seeds lies above zero. The interval is true for a number "
            "of seeds that was chosen beforehand, not for one that was raised until a "
            "claim held.",
            claims=claims,
        ),
        _accuracy_section(rows),
    ]


def _accuracy_section(rows: Sequence[Mapping[str, Any]]) -> dj.report.Section:
    """The table and the figure of all accuracies."""
    sizes = sorted({row["size"] for row in rows})
    table = summaries.table_of(
        rows,
        "accuracy",
        label="Accuracy by method and images per class",
        down="method",
        across="size",
        scale=100,
        names={**_NAMES, **{size: f"{size} per class" for size in sizes}},
        is_fraction=True,
    )
    lines = summaries.lines_of(
        rows,
        "accuracy",
        by="method",
        x="size",
        scale=100,
        names=_NAMES,
        is_fraction=True,
    )
    chart = dj.report.charts.line_chart(
        lines, x_label="images per class", y_label="accuracy %", is_log_x=True
    )
    return dj.report.Section(
        "Accuracy",
        "In percent on test data at the end of training; ± is the 95 % interval "
        "over seeds.",
        tables=[table],
        figures=[
            dj.report.Figure(
                "accuracy",
                chart,
                caption="Bars are 95 % intervals over seeds.",
                alt="Accuracy of both methods over images per class",
            )
        ],
    )


def _lead(rows: Sequence[Mapping[str, Any]], size: int) -> dict[Any, float]:
    """How many points FRePo is ahead of DM at a size, seed by seed."""
    differences = summaries.paired_differences(
        [row for row in rows if row["size"] == size],
        "accuracy",
        by="method",
        first="frepo",
        second="dm",
    )
    return {seed: 100 * difference for seed, difference in differences.items()}
