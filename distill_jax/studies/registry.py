# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Studies by their name, so that a config can say which one is meant."""

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from distill_jax import errors
from distill_jax.studies import study as study_lib

__all__ = ["NAMES", "build"]

# Files of this folder with a function `make`, in alphabetical order.
NAMES = ["frepo_against_dm", "soft_labels"]


def build(
    description: Mapping[str, Any], *, data_dir: str | None = None
) -> study_lib.Study:
    """Makes the study of a description.

    Args:
      description: ``{"name": "frepo_against_dm", ...}`` with the options of the study
        of that name.
      data_dir: the folder of the data sets, passed on to a study that takes it.

    Returns:
      The :class:`Study`.

    Raises:
      InputError: if the name or an option is unknown, or an option cannot work.

    Example:
      >>> build({"name": "frepo_agianst_dm"})
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no study "frepo_agianst_dm". Did you \
mean "frepo_against_dm"?
    """
    options = dict(description)
    name = str(options.pop("name", ""))
    make = _maker(name)
    known = list(inspect.signature(make).parameters)
    if "data_dir" in known:
        known.remove("data_dir")  # It has a place of its own in a config.
        make = functools.partial(make, data_dir=data_dir)
    for option in options:
        if option not in known:
            raise errors.InputError(
                f'The study "{name}" has no option "{option}". '
                f"{errors.nearest(option, known)}"
            )
    return make(**options)


def _maker(name: str) -> Callable[..., study_lib.Study]:
    """The function that makes the study of a name."""
    if name not in NAMES:
        raise errors.InputError(
            f'There is no study "{name}". {errors.nearest(name, NAMES)}'
        )
    return importlib.import_module(f"distill_jax.studies.{name}").make
