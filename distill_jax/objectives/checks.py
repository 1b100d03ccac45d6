# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an objective asks of its task, checked when it is made."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distill_jax import base, errors
from distill_jax.types import Array, PyTree

__all__ = [
    "check_classes",
    "check_features",
    "check_no_contexts",
    "check_probabilities",
    "check_probes",
]

# Why an objective with a pool of networks cannot take contexts from a batch.
HAS_OWN = "its networks were drawn with contexts of their own"
FeaturesFn = Callable[[base.Variables, PyTree, Any], Mapping[str, Array]]


def check_probabilities(task: base.Task, use: str) -> None:
    """Raises unless the labels of a task are class probabilities.

    Args:
      task: the task.
      use: what they are needed for, the beginning of the sentence.
      instead: what to use, the end of it.

    Raises:
      InputError: for targets of another kind.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> check_probabilities(task, "Matching compares gradients of the cross-entropy")
    """
    if task.targets != "probabilities":
        raise errors.InputError(
            f'{use}, but the task has targets of the kind "{task.targets}"; use '
            '`task.retarget("probabilities")`.'
        )


def check_classes(
    task: base.Task,
    use: str,
    instead: str = "another objective, such as `distribution_matching`",
) -> None:
    """Raises unless the examples of a task are of classes.

    Args:
      task: the task.
      use: what they are needed for, the beginning of the sentence.
      instead: what to use, the end of it.

    Raises:
      InputError: for targets that are values.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> check_classes(task, "Feature alignment has centres of classes")
    """
    if not task.has_classes:
        raise errors.InputError(
            f"{use}, but the targets of the task are values to be regressed; use "
            f"{instead}."
        )


def check_no_contexts(batch: base.Batch, objective: str, reason: str) -> None:
    """Raises where a batch brings contexts to an objective that has no use for them.

    Args:
      batch: what the loss was given.
      objective: its name, at the beginning of the sentence.
      reason: why it cannot use them.

    Raises:
      InputError: for a :class:`~distill_jax.base.Contextual`, or a
        :class:`~distill_jax.base.Pair` with one.

    Example:
      >>> batch = base.Examples(x=1, y=2)
      >>> check_no_contexts(batch, "Distribution matching", "its networks have some")
    """
    parts = batch if isinstance(batch, base.Pair) else (batch,)
    if any(isinstance(part, base.Contextual) for part in parts):
        raise errors.InputError(
            f"{objective} cannot take a batch of contexts (`Contextual`), because "
            f"{reason}; give it examples alone, or use `unrolled_training`, which "
            "trains a network in each context of the batch."
        )


def check_features(task: base.Task, objective: str) -> FeaturesFn:
    """Raises unless a task has features, and returns what computes them.

    Args:
      task: the task.
      objective: its name, at the beginning of the sentence.

    Returns:
      ``task.features``.

    Raises:
      InputError: for a task without features.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> check_features(task, "Distribution matching") is task.features
      True
    """
    if task.features is None:
        raise errors.InputError(
            f"{objective} needs a task with features, and this one has none: give its "
            "network a `features` function."
        )
    return task.features


def check_probes(objective: str, probes: Sequence[str], known: Sequence[str]) -> None:
    """Raises unless an objective can give these probes.

    Args:
      objective: its name, at the beginning of the sentence.
      probes: the names that are asked for.
      known: those that it can give.

    Raises:
      InputError: for a name that is not known.

    Example:
      >>> check_probes("Trajectory matching", ["syn_grad"], ["syn_grad"])
    """
    for name in probes:
        if name not in known:
            raise errors.InputError(
                f'{objective} gives no probe "{name}". {errors.nearest(name, known)}'
            )
