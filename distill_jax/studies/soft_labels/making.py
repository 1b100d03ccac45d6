# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Makes the study of soft labels from its options."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import distill_jax as dj
from distill_jax import errors
from distill_jax.studies import cells as cells_lib
from distill_jax.studies import study
from distill_jax.studies.soft_labels import (
    bench as bench_lib,
)
from distill_jax.studies.soft_labels import (
    difficulty,
    ensembles,
    entries,
    epochs,
    learned,
    regimes,
    spread,
    structure,
    swaps,
    temperatures,
    zero_shot,
)

__all__ = ["EXPERIMENTS", "bench_of", "make"]

EXPERIMENTS: Mapping[str, bench_lib.Experiment] = {
    "epochs": epochs.EXPERIMENT,
    "swap": swaps.EXPERIMENT,
    "structure": structure.EXPERIMENT,
    "top_k": entries.EXPERIMENT,
    "zero_shot": zero_shot.EXPERIMENT,
    "ensembles": ensembles.EXPERIMENT,
    "temperature": temperatures.EXPERIMENT,
    "difficulty": difficulty.EXPERIMENT,
    "learned": learned.EXPERIMENT,
    "spread": spread.EXPERIMENT,
}
_NAMES = tuple(EXPERIMENTS)
_EPOCHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 40, 80)


def make(
    *,
    data_name: str = "digits100",
    data_dir: str | None = None,
    max_per_class: int | None = None,
    experiments: Sequence[str] = _NAMES,
    network: Mapping[str, Any] | None = None,
    sizes: Sequence[int] = (1, 2, 5, 10),
    chosen_epochs: Sequence[int] = (6, 8, 12, 24),
    expert: Mapping[str, Any] | None = None,
    student: Mapping[str, Any] | None = None,
    num_draws: int = 6,
) -> study.Study:
    """Makes the study.

    Args:
      data_name: of the data set.
      data_dir: the folder of the data sets.
      max_per_class: at most so many training examples of each class are kept.
      experiments: names of those that are run.
      network: of experts and students; a perceptron by default.
      sizes: images per class.
      chosen_epochs: of the expert, for each of the sizes, in experiments that do not
        vary it. Chosen beforehand; the experiment "epochs" shows what validation says.
      expert: fields of :class:`~distill_jax.experts.Training` of the experts, and the
        ``epochs`` at which they are asked.
      student: fields of :class:`~distill_jax.evaluation.Protocol` of the students, such
        as ``learning_rate`` (0.05 by default) or ``augmentation``; ``num_steps`` may
        be a number for all sizes, or one for each.
      num_draws: units: draws of images, each with an expert of its own.

    Returns:
      The :class:`Study`.

    Raises:
      InputError: for an unknown experiment, counts below 1, lists of other lengths, or
        an epoch that experts are not asked at.

    Example:
      >>> len(make(experiments=["epochs", "swap"], num_draws=3).cells)
      18
    """
    errors.check_counts(num_draws=num_draws)
    for name in experiments:
        if name not in _NAMES:
            raise errors.InputError(
                f'There is no experiment "{name}". {errors.nearest(name, _NAMES)}'
            )
    network = dict(network or {"name": "mlp", "hidden": (128,)})
    bench = bench_of(
        _dataset(data_name, data_dir, max_per_class),
        network,
        sizes=sizes,
        chosen_epochs=chosen_epochs,
        expert=expert,
        student=student,
        num_draws=num_draws,
        least_experts=5 if "ensembles" in experiments else 1,
    )
    plan, protocols = bench.plan, bench.protocols
    steps = ", ".join(
        f"{each.num_steps} steps at {size} per class"
        for size, each in protocols.items()
    )
    rate = protocols[min(protocols)].learning_rate
    return study.Study(
        title=f"What a label is worth on {data_name}",
        cells=_cells(bench, experiments, network),
        sections_of=_sections,
        facts={
            "Data set": dj.data.describe(bench.dataset),
            "Network": dj.nets.network_words(network),
            "Experts": f"{plan.num_experts}, SGD {plan.learning_rate:g}, mini-batches "
            f"of {plan.batch_size}, asked after {list(bench.epochs)} epochs",
            "Students": f"{steps}; SGD {rate:g}, times 0.3 after each quarter",
            "Units": f"{num_draws} draws of images, each with an expert of its own",
        },
    )


def bench_of(
    dataset: dj.data.Dataset,
    network: Mapping[str, Any],
    *,
    sizes: Sequence[int],
    chosen_epochs: Sequence[int],
    expert: Mapping[str, Any] | None,
    student: Mapping[str, Any] | None,
    num_draws: int,
    least_experts: int,
) -> bench_lib.Bench:
    """Makes what experiments share.

    Args:
      dataset: of the study.
      network: of experts and students.
      sizes: images per class.
      chosen_epochs: of the expert, for each of the sizes.
      expert: fields of the experts' training, and the epochs at which they are asked.
      student: fields of the students' protocol.
      num_draws: units.
      least_experts: how many there are where there are fewer units.

    Returns:
      The data, the plan of the experts and the protocols of students.

    Raises:
      InputError: as :func:`make`.
    """
    sizes, student, expert = list(sizes), dict(student or {}), dict(expert or {})
    expert_epochs = tuple(expert.pop("epochs", _EPOCHS))
    num_steps = student.pop("num_steps", (600, 600, 1000, 1500))
    steps = [num_steps] * len(sizes) if isinstance(num_steps, int) else list(num_steps)
    _check_lists(sizes, steps, chosen_epochs, expert_epochs)
    net = dj.nets.build({**network, "num_classes": dataset.spec.num_classes})
    return bench_lib.Bench(
        dataset,
        dj.tasks.classification(net, dataset.spec),
        _plan(expert, expert_epochs, max(num_draws, least_experts)),
        {
            size: _protocol(count, student, size)
            for size, count in zip(sizes, steps, strict=True)
        },
        expert_epochs,
        dict(zip(sizes, chosen_epochs, strict=True)),
        num_draws,
    )


def _dataset(
    name: str, folder: str | None, max_per_class: int | None
) -> dj.data.Dataset:
    dataset = dj.data.load(name, folder)
    if max_per_class is None:
        return dataset
    errors.check_counts(max_per_class=max_per_class)
    most = min(max_per_class, np.bincount(dataset.train.y).min())
    kept = dj.selection.random_subsets(jax.random.key(0), dataset, most, num_draws=1)
    return dj.data.select(dataset, dj.data.make_selection(dataset, kept[0]))


def _cells(bench, experiments, network) -> list[cells_lib.Cell]:
    """A unit of all experiments before the next: an early look has a bit of each."""
    cells = []
    for unit in range(bench.num_units):
        for name in experiments:
            wanted, most = EXPERIMENTS[name].sizes, EXPERIMENTS[name].num_units
            if most is not None and unit >= most:
                continue
            sizes = [n for n in bench.protocols if wanted is None or n in wanted]
            for size in sizes:
                cells.append(_cell(bench, name, size, unit, network))
    return cells


def _cell(bench, experiment: str, size: int, unit: int, network) -> cells_lib.Cell:
    """One experiment at one size in one unit."""
    plan = dataclasses.asdict(bench.plan.training())
    return cells_lib.Cell(
        name=f"{experiment}, {size} per class, draw {unit}",
        run=lambda key: EXPERIMENTS[experiment].run(bench, key, unit, size),
        description={
            "experiment": experiment,
            "size": size,
            "data": bench.dataset.spec.fingerprint,
            "network": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in network.items()
            },
            "expert": plan,
            "epochs": list(bench.epochs),
            "chosen_epoch": bench.chosen[size],
            "protocol": dataclasses.asdict(bench.protocols[size]),
            "num_students": bench.num_students,
        },
        seed=unit,
    )


def _sections(rows: bench_lib.Rows) -> list:
    """A section for each experiment that has rows, in the order of the paper."""
    found = {
        name: [row for row in rows if row["experiment"] == name] for name in EXPERIMENTS
    }
    sections = [
        EXPERIMENTS[name].section(own, found) for name, own in found.items() if own
    ]
    last = regimes.section_of(found["epochs"]) if found["epochs"] else None
    return [*sections, last] if last else sections


def _plan(
    expert: Mapping[str, Any], epochs: Sequence[int], num_experts: int
) -> dj.experts.ExpertPlan:
    """How the experts are trained: one for each unit at least."""
    usual = {"learning_rate": 0.1, "batch_size": 250, "num_epochs": max(epochs)}
    _check_fields("expert", expert, dj.experts.Training)
    fields = {**usual, **expert}
    if fields["num_epochs"] < max(epochs):
        raise errors.InputError(
            f"Experts are to be asked after {max(epochs)} epochs, but trained for "
            f"{fields['num_epochs']}; train them longer, or ask earlier."
        )
    return dj.experts.ExpertPlan(num_experts=num_experts, **fields)


def _protocol(
    num_steps: int, student: Mapping[str, Any], size: int
) -> dj.evaluation.Protocol:
    """Of students: whole batches where a class has few images."""
    usual = {
        "learning_rate": 0.05,
        "schedule": "staircase",
        "decay_rate": 0.3,
        "batch_size": 256 if size > 5 else 10_000,
        "label_mass": "free",  # Entries are left out without making rows whole.
    }
    _check_fields("student", student, dj.evaluation.Protocol)
    fields: dict[str, Any] = {**usual, **student, "num_steps": num_steps}
    return dj.evaluation.Protocol(**fields)


def _check_fields(option: str, given: Mapping[str, Any], record: type) -> None:
    known = [field.name for field in dataclasses.fields(record)]
    for name in given:
        if name not in known:
            raise errors.InputError(
                f'`{option}` has no field "{name}". {errors.nearest(name, known)}'
            )


def _check_lists(sizes, steps, chosen, epochs) -> None:
    for name, values in (("num_steps", steps), ("chosen_epochs", chosen)):
        if len(values) != len(sizes):
            raise errors.InputError(
                f"`{name}` has {len(values)} numbers for the {len(sizes)} sizes "
                f"{tuple(sizes)}; give one for each."
            )
    for size, count in zip(sizes, steps, strict=True):
        errors.check_counts(of="`sizes`", size=size)
        errors.check_counts(num_steps=count)
    for epoch in chosen:
        if epoch not in epochs:
            raise errors.InputError(
                f"The chosen epoch {epoch} is none at which experts are asked "
                f"({list(epochs)}); add it, or choose one of them."
            )
