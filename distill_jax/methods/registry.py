# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Named methods by their name, so that a config can say which one is meant."""

import inspect
from collections.abc import Mapping
from typing import Any

from distill_jax import base, errors
from distill_jax.methods import (
    difficulty_aligned,
    distribution,
    gradient,
    inducing,
    kernel,
    labels,
    labels_by_ridge,
    labels_by_trajectories,
    multi_formation,
    recommended,
    trajectory,
    unrolled,
)

__all__ = ["NAMES", "build", "options_of", "parameters_of"]

NAMES = {
    "auto": recommended.auto,
    "bptt": unrolled.bptt,
    "cafe": distribution.cafe,
    "datm": difficulty_aligned.datm,
    "dc": gradient.dc,
    "dcc": gradient.dcc,
    "dm": distribution.dm,
    "dsa": gradient.dsa,
    "dsac": gradient.dsac,
    "frepo": kernel.frepo,
    "ftd": trajectory.ftd,
    "idc": multi_formation.idc,
    "kip": inducing.kip,
    "label_bptt": labels.label_bptt,
    "label_mtt": labels_by_trajectories.label_mtt,
    "label_ridge": labels_by_ridge.label_ridge,
    "mtt": trajectory.mtt,
    "rat_bptt": unrolled.rat_bptt,
    "rcig": kernel.rcig,
    "tesla": trajectory.tesla,
}


def build(task: base.Task, description: Mapping[str, Any]) -> base.Recipe:
    """Calls the named method of a description.

    Args:
      task: what is distilled for.
      description: ``{"name": "dm", "num_per_class": 1, ...}`` with the options of the
        method of that name.

    Returns:
      The recipe.

    Raises:
      InputError: if the name or an option is unknown.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> dj.methods.build(task, {"name": "dm", "num_per_class": 1}).protocol.targets
      'probabilities'
    """
    options = dict(description)
    name = str(options.pop("name", ""))
    known = parameters_of(name)
    for option in options:
        if option not in known:
            raise errors.InputError(
                f'The method "{name}" has no option "{option}". '
                f"{errors.nearest(option, known)}"
            )
    return NAMES[name](task, **options)


def options_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the options of a method, with the defaults of those that are not set.

    Args:
      description: as :func:`build` takes it.

    Returns:
      Names and values; None where the method looks up what was published.

    Raises:
      InputError: when there is no such method.

    Example:
      >>> options = options_of({"name": "dm", "batch_size": 8})
      >>> options["batch_size"], options["factor"]
      (8, 1)
    """
    known = parameters_of(str(description.get("name", "")))
    defaults = {
        name: parameter.default
        for name, parameter in known.items()
        if parameter.default is not parameter.empty
    }
    return defaults | {k: v for k, v in description.items() if k in known}


def parameters_of(name: str) -> Mapping[str, inspect.Parameter]:
    """Returns what a named method takes.

    Args:
      name: of the method.

    Returns:
      Its parameters by name, as :func:`inspect.signature` has them.

    Raises:
      InputError: when there is no such method.

    Example:
      >>> list(parameters_of("dm"))[:2]
      ['task', 'num_per_class']
    """
    if name not in NAMES:
        raise errors.InputError(
            f'There is no method "{name}". {errors.nearest(name, NAMES)}'
        )
    return inspect.signature(NAMES[name]).parameters
