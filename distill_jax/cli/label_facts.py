# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a set of labelled images says of itself: the facts, the arms, the words."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

import distill_jax as dj
from distill_jax import base
from distill_jax.cli import outputs

if TYPE_CHECKING:
    from distill_jax.cli.kept_choice import Choice
    from distill_jax.cli.labelling import Labelling

__all__ = ["details", "facts", "identity", "notes", "to_distilled", "wanted"]


def identity(built: Labelling) -> dict[str, Any]:
    """Tells what a run is: its config, and what files of a user hold.

    Args:
      built: from :func:`distill_jax.cli.labelling.build`.

    Returns:
      The config, and digests of images and teacher.
    """
    return {
        "config": json.loads(json.dumps(built.config)),
        "images_sha256": built.images.sha256,
        "teacher_sha256": built.teachers.facts.get("sha256"),
    }


def wanted(built: Labelling) -> dict[str, dict[str, Any]]:
    """Names the arms, each with all that it depends on but the run.

    Args:
      built: from :func:`distill_jax.cli.labelling.build`.

    Returns:
      Settings by the name of an arm, as JSON has them.
    """
    shared = {"num_runs": built.num_runs, "num_checkpoints": built.num_checkpoints}
    names = {"chosen-labels": {}}
    if built.use_arms:
        if built.teachers.plan is not None:
            names["last-epoch"] = {}
        if built.images.own_labels is not None:
            names["own-labels"] = {}
        if built.images.classes is not None:
            names["hard-labels"] = {}
        names["real-hard"] = {"num_real_steps": built.num_real_steps}
    return {name: {**shared, **own} for name, own in names.items()}


def notes(built: Labelling, choice: Choice) -> dict[str, str]:
    """Says in words what each arm is.

    Args:
      built: what was asked for.
      choice: of the labels.

    Returns:
      Words by the name of an arm.
    """
    images, plan = built.images.words, built.teachers.plan
    who = teachers_in_words(built)
    last = f"after epoch {plan.kept()[-1]}" if plan is not None else ""
    split = built.options.split
    return {
        "chosen-labels": f"{images}, labelled by {who}{_at(built, choice)}, chosen on "
        f"the {split} split",
        "last-epoch": f"the same images, labelled {last} at temperature 1",
        "own-labels": "the same images with the labels that they came with",
        "hard-labels": "the same images, each with its class",
    }


def teachers_in_words(built: Labelling) -> str:
    """Says who labels.

    Args:
      built: what was asked for.
    """
    number = built.teachers.number
    noun = "teacher" if built.teachers.plan is None else "expert"
    return f"one {noun}" if number == 1 else f"{number} {noun}s together"


def details(built: Labelling, choice: Choice) -> dict[str, Any]:
    """What results say of labels: the grid of the choice, and the experts.

    Args:
      built: what was asked for.
      choice: of the labels.

    Returns:
      Plain numbers and texts.
    """
    return {
        **facts(built, choice),
        "epochs": list(choice.epochs),
        "temperatures": list(choice.temperatures),
        "accuracies": choice.accuracy.tolist(),
        "entropies": choice.entropy.tolist(),
        "appraisal": choice.experts,
        "classes": _plain(built.images.classes),
        "words": built.images.words,
        "who": teachers_in_words(built),
    }


def facts(built: Labelling, choice: Choice) -> dict[str, Any]:
    """What a set says of its labels.

    Args:
      built: what was asked for.
      choice: of the labels.

    Returns:
      ``index`` into the training split, or None; ``images_sha256`` of their raw bytes;
      the plan of the experts, or None, and what is known of a teacher's file; the
      completed ``epoch``, or None; the ``temperature``; the number of ``teachers``;
      the mean ``entropy`` of the labels in nats; the ``expert_accuracy`` of each expert
      on the validation split; and the split that decided.
    """
    plan = built.teachers.plan
    is_trained = plan is not None
    accuracy = None
    if is_trained and choice.experts is not None:
        accuracy = [row[choice.epoch] for row in choice.experts["accuracy"]]
    whole = None if plan is None else dataclasses.asdict(plan)
    return {
        "index": _plain(built.images.rows),
        "images_sha256": built.images.sha256,
        "experts": json.loads(json.dumps(whole, default=str)),
        "network": dict(built.teachers.task.facts.network) if is_trained else None,
        "teacher": dict(built.teachers.facts),
        "epoch": choice.epoch if is_trained else None,
        "temperature": choice.temperature,
        "num_teachers": built.teachers.number,
        "entropy": float(choice.entropy[choice.place]),
        "expert_accuracy": accuracy,
        "chosen_on": built.options.split,
    }


def to_distilled(
    built: Labelling, labels: np.ndarray, choice: Choice
) -> dj.DistilledSet:
    """The images with the chosen labels, and all that is needed to use them.

    Args:
      built: what was asked for.
      labels: [N, C] the chosen ones.
      choice: of them.

    Returns:
      The set, without results.
    """
    images = built.images
    weight = None if images.weight is None else jnp.asarray(images.weight)
    synthetic = base.Synthetic(jnp.asarray(images.x), jnp.asarray(labels), weight, None)
    case = outputs.Source(built.dataset, built.task, built.protocol, built.config)
    return outputs.to_set(case, synthetic, {}, {"labels": facts(built, choice)})


def _at(built: Labelling, choice: Choice) -> str:
    """At which epoch and temperature."""
    epoch = "" if built.teachers.plan is None else f" after epoch {choice.epoch}"
    return f"{epoch} at temperature {choice.temperature:g}"


def _plain(array: np.ndarray | None) -> list[int] | None:
    return None if array is None else np.asarray(array).tolist()
