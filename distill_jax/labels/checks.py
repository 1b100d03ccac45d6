# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the functions on labels refuse, each in one place."""

from typing import Any

import jax.core
import jax.numpy as jnp
import numpy as np

from distill_jax import errors
from distill_jax.types import Array

__all__ = ["check_rank", "check_share", "check_temperature", "is_known", "shares"]


def is_known(value: Any) -> bool:
    """Whether a value is there already, not traced.

    Example:
      >>> is_known(1.0)
      True
    """
    return not isinstance(value, jax.core.Tracer)


def check_temperature(temperature: float | Array) -> None:
    """Raises unless a temperature is above 0; a traced one is taken as it is.

    Example:
      >>> check_temperature(4.0)
    """
    if is_known(temperature) and not np.all(np.asarray(temperature) > 0):
        raise errors.InputError(
            f"The temperature is {temperature}; it divides the logits and must be "
            "above 0: 1 leaves labels as they are, 4 softens them."
        )


def check_rank(
    name: str, value: int | Array, num_classes: int, *, least: int = 1
) -> None:
    """Raises unless a rank is within 1 .. C; a traced one is taken as it is.

    Example:
      >>> check_rank("i", 3, 10)
    """
    if is_known(value) and not np.all(
        (np.asarray(value) >= least) & (np.asarray(value) <= num_classes)
    ):
        raise errors.InputError(
            f"`{name}` is {value}, but labels of {num_classes} classes have entries "
            f"{least} to {num_classes}, the largest first."
        )


def check_share(name: str, value: float | Array) -> None:
    """Raises unless a share is within 0 .. 1; a traced one is taken as it is.

    Example:
      >>> check_share("amount", 0.5)
    """
    if is_known(value) and not np.all(
        (np.asarray(value) >= 0) & (np.asarray(value) <= 1)
    ):
        raise errors.InputError(f"`{name}` is a share, from 0 to 1, got {value}.")


def shares(weights: Array | None, number: int) -> Array:
    """Weights of experts, divided by their sum.

    Args:
      weights: [S], or None for all alike.
      number: S.

    Raises:
      InputError: for weights of another number, or below 0, or without a sum.

    Example:
      >>> shares(None, 2).tolist(), shares(jnp.array([1.0, 3.0]), 2).tolist()
      ([0.5, 0.5], [0.25, 0.75])
    """
    if weights is None:
        return jnp.full(number, 1 / number)
    weights = jnp.asarray(weights)
    if weights.shape != (number,):
        raise errors.InputError(
            f"There are {number} experts, but weights of shape {weights.shape}; give "
            "one for each."
        )
    if is_known(weights) and not (
        np.all(np.asarray(weights) >= 0) and np.asarray(weights).sum() > 0
    ):
        raise errors.InputError(
            f"The weights of experts are {np.asarray(weights).tolist()}; none may be "
            "below 0, and one must be above."
        )
    return weights / weights.sum()
