# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every kind of run reads of its config: data, network, protocol, counts."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from distill_jax import base, data, errors, nets, tasks
from distill_jax.cli.data_sets import load_for
from distill_jax.evaluation import protocol as protocols

__all__ = ["check_counts", "load", "protocol_with", "task_of"]


def check_counts(config: Any, least: Mapping[str, int]) -> None:
    """Raises for a count that cannot be, before anything is done.

    Args:
      config: of any kind.
      least: the least that each field can be, by its name with dots; a field that is
        None is left to its default.

    Raises:
      InputError: for the first that is less.

    Example:
      >>> from distill_jax.cli import settings
      >>> check_counts(settings.default(), {"num_steps": 1, "evaluate.num_runs": 1})
    """
    for name, lowest in least.items():
        value = config
        for part in name.split("."):
            value = value[part]
        if value is not None and value < lowest:
            raise errors.InputError(f"`{name}` must be at least {lowest}, got {value}.")


def load(config: Any, chosen: str) -> data.Dataset:
    """Loads the data set of a config, which needs a validation split.

    Args:
      config: with a section ``data``.
      chosen: what is taken from the validation split, for the sentence.

    Returns:
      The data set.

    Raises:
      InputError: when it cannot be loaded, or has no validation split.

    Example:
      >>> from distill_jax.cli import settings
      >>> load(settings.default(), "the curve").spec.name
      'digits'
    """
    dataset = load_for(config)
    if not len(dataset.validation.y):
        raise errors.InputError(
            f"`data.validation_fraction` is 0, but {chosen} are taken from the "
            "validation split; give it a part, such as 0.1."
        )
    return dataset


def task_of(
    network: Mapping[str, Any],
    dataset: data.Dataset,
    changes: Mapping[str, Any] | None = None,
) -> base.Task:
    """Makes the classification task of a network on a data set.

    Args:
      network: its description, without the number of classes.
      dataset: the data set.
      changes: of the description.

    Returns:
      The task.

    Raises:
      InputError: when there is no such network.

    Example:
      >>> digits = data.load("digits")
      >>> task_of({"name": "mlp", "hidden": (8,)}, digits).facts.network["hidden"]
      [8]
    """
    num_classes = dataset.spec.num_classes
    description = {**network, "num_classes": num_classes, **(changes or {})}
    return tasks.classification(nets.build(description), dataset.spec)


def protocol_with(protocol: protocols.Protocol, overrides: Any) -> protocols.Protocol:
    """Changes the fields of a protocol that a config sets.

    Args:
      protocol: that is usual.
      overrides: the section ``protocol``; None leaves a field as it is. A length takes
        the place of the other.

    Returns:
      The protocol.

    Raises:
      InputError: for a value out of its range.

    Example:
      >>> usual = protocols.Protocol(num_epochs=9)
      >>> changed = protocol_with(usual, {"num_steps": 5, "momentum": None})
      >>> changed.num_steps, changed.num_epochs, changed.momentum
      (5, None, 0.9)
    """
    changed = {name: value for name, value in overrides.items() if value is not None}
    for length, other in (("num_steps", "num_epochs"), ("num_epochs", "num_steps")):
        if length in changed:
            changed.setdefault(other, None)
    return dataclasses.replace(protocol, **changed)
