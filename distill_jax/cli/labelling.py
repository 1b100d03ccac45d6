# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a config of soft labels to the public API: all that `distill-jax label` needs.

After :func:`build` nobody reads the config.
"""

from __future__ import annotations

import numbers
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from distill_jax import base, data, errors, evaluation, experts, labels
from distill_jax.cli import label_images, problems, settings
from distill_jax.compute import devices
from distill_jax.evaluation import label_choice
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import ingredients
from distill_jax.storage import digests

__all__ = ["Labelling", "Teachers", "build", "title_of"]

# The least that a count can be.
_LEAST = {
    "num_per_class": 1,
    "num_devices": 0,
    "experts.num_experts": 1,
    "experts.num_epochs": 1,
    "labels.num_seeds": 1,
    "evaluate.num_runs": 1,
    "evaluate.num_checkpoints": 1,
    "evaluate.num_real_steps": 1,
}


class Teachers(NamedTuple):
    """Who labels: experts of a plan, or somebody whose logits lie in a file."""

    plan: experts.ExpertPlan | None
    task: base.Task  # of the experts
    folder: pathlib.Path | None  # of theirs; in that of the run where None
    said: np.ndarray | None  # [E, N, C] of a file
    facts: Mapping[str, Any]  # of the file

    @property
    def number(self) -> int:
        """How many of them label together."""
        if self.plan is not None:
            return self.plan.num_experts
        return 0 if self.said is None else len(self.said)


class Labelling(NamedTuple):
    """What a config of soft labels stands for."""

    title: str
    config: Mapping[str, Any]  # as it is stored; shown and compared, never read
    dataset: data.Dataset
    task: base.Task
    protocol: protocols.Protocol
    images: label_images.Images
    teachers: Teachers
    epochs: tuple[int, ...]  # to choose from; (0,) where there are no experts
    options: evaluation.ChoiceOptions
    seed: int
    num_runs: int  # fresh networks of each arm
    num_checkpoints: int
    num_real_steps: int
    use_arms: bool
    mesh: Any  # devices of the experts, or None


def build(config: Any) -> Labelling:
    """Loads the data and the images, and makes all that a config of labels names.

    Args:
      config: one that started as :func:`distill_jax.cli.settings.label`.

    Returns:
      A :class:`Labelling`; nothing is trained yet.

    Raises:
      InputError: when a field cannot work, a file cannot be read, a class has too few
        images, or an epoch is not kept.

    Example:
      >>> config = settings.label()
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> build(config).epochs
      (1, 2, 4, 9, 19, 40)
    """
    settings.check(config)
    problems.check_counts(config, _LEAST)
    if config.labels.chosen_on == "test":
        dataset = problems.load_for(config)
    else:
        dataset = problems.load(config, "the epoch and the temperature")
    _check_numbers(config.labels)
    task = problems.task_of(config.network.to_dict(), dataset)
    usual = protocols.soft_label_protocol(use_flip=not ingredients.is_digits(task))
    protocol = problems.protocol_with(usual, config.protocol)
    options = evaluation.ChoiceOptions(
        temperatures=tuple(config.labels.temperatures),
        num_seeds=config.labels.num_seeds,
        split=config.labels.chosen_on,
        side_by_side=(
            "auto" if config.num_devices == 1 else devices.side_by_side(task)
        ),
    )
    label_choice.check_options(dataset, protocol, options)
    images = _images(config, dataset)
    teachers = _teachers(config, dataset, images, task)
    is_several = config.num_devices != 1 and config.experts.num_experts > 1
    return Labelling(
        title=title_of(config),
        config=config.to_dict(),
        dataset=dataset,
        task=task,
        protocol=protocol,
        images=images,
        teachers=teachers,
        epochs=_epochs(config, teachers.plan),
        options=options,
        seed=config.seed,
        num_runs=config.evaluate.num_runs,
        num_checkpoints=config.evaluate.num_checkpoints,
        num_real_steps=config.evaluate.num_real_steps,
        use_arms=config.evaluate.arms,
        mesh=devices.usual_mesh("networks") if is_several else None,
    )


def title_of(config: Any) -> str:
    """Returns the heading of the report of a config of labels.

    Args:
      config: of this kind.

    Example:
      >>> title_of(settings.label())
      'Soft labels on digits'
    """
    return config.title or f"Soft labels on {config.data.name}"


def _images(config: Any, dataset: data.Dataset) -> label_images.Images:
    if config.images.path is not None:
        path = pathlib.Path(config.images.path).expanduser()
        return label_images.from_set(path, config.images.space, dataset)
    if config.images.space is not None:
        raise errors.InputError(
            f'`images.space` is "{config.images.space}", but no images are passed, and '
            "random real ones are in the space of the data set; leave it out."
        )
    key, _ = jax.random.split(jax.random.key(config.seed))
    return label_images.random_ones(key, dataset, config.num_per_class)


def _teachers(
    config: Any, dataset: data.Dataset, images: label_images.Images, task: base.Task
) -> Teachers:
    """The experts of a config, or what a file says."""
    if config.teacher is not None:
        path = pathlib.Path(config.teacher).expanduser()
        num_classes = dataset.spec.num_classes
        said = labels.read_logits(path, images.digests, num_classes=num_classes)
        facts = {"file": str(path.absolute()), "sha256": digests.of_file(path)}
        return Teachers(None, task, None, said, facts)
    section = config.experts.to_dict()
    folder, changes = section.pop("folder"), section.pop("network")
    expert_task = task
    if changes:
        expert_task = problems.task_of(config.network.to_dict(), dataset, changes)
    path = None if folder is None else pathlib.Path(folder).expanduser()
    return Teachers(experts.ExpertPlan(**section), expert_task, path, None, {})


def _check_numbers(section: Any) -> None:
    """Raises unless epochs and temperatures are numbers."""
    for name, kind, noun in (
        ("epochs", numbers.Integral, "whole numbers"),
        ("temperatures", numbers.Real, "numbers"),
    ):
        for value in section[name]:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise errors.InputError(
                    f"`labels.{name}` holds {value!r}; they are {noun}, such as (1, 4)."
                )


def _epochs(config: Any, plan: experts.ExpertPlan | None) -> tuple[int, ...]:
    """The epochs to choose from, each of which must be kept."""
    if plan is None:
        return (0,)
    kept = plan.kept()
    epochs = tuple(config.labels.epochs)
    if not epochs:
        spaced = labels.epoch_grid(plan.num_epochs)
        epochs = tuple(epoch for epoch in spaced if epoch in kept) or (kept[-1],)
    for epoch in epochs:
        if epoch not in kept:
            raise errors.InputError(
                f"Epoch {epoch} of the experts is to label, but it is not kept; they "
                f"are trained for {plan.num_epochs} epochs, of which {kept[0]} to "
                f"{kept[-1]} are kept (see `experts` of the config)."
            )
    return tuple(sorted(set(epochs)))
