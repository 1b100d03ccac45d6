# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What labels and learned learning rates must be, wherever they enter.

    "probabilities":       y_mc >= 0,  sum_c y_mc = 1, or any sum where the mass is free
    "centred", "values":   finite numbers

A row whose mass is free weighs its example by its sum: so a soft cross-entropy reads
it.
"""

from typing import Any

import numpy as np

from distill_jax import errors

__all__ = [
    "LABEL_MASSES",
    "TARGETS",
    "check_finite",
    "check_labels",
    "check_rate",
    "mass_range",
]

TARGETS = ("probabilities", "centred", "values")  # `types.Targets`, without jax
LABEL_MASSES = ("one", "free")
_TOLERANCE = 1e-3  # A thousand probabilities that were rounded to half precision.


def check_labels(
    labels: Any, targets: str, label_mass: str = "one", *, name: str = "`y`"
) -> None:
    """Raises unless labels can be what they are said to be.

    Args:
      labels: [..., C].
      targets: what they mean: ``"probabilities"``, ``"centred"`` or ``"values"``.
      label_mass: of probabilities, ``"one"`` or ``"free"``.
      name: what they are called in the sentence.

    Raises:
      InputError: for labels that are not finite, probabilities that are negative, or
        rows of another mass than one that are not said to be free.

    Example:
      >>> check_labels([[0.5, 0.5]], "probabilities")
      >>> check_labels([[2.0, 0.5]], "probabilities", "free")
      >>> check_labels([[2.0, -0.5]], "centred")
    """
    array = np.asarray(labels)
    check_finite(array, name)
    if targets != "probabilities" or not array.size:
        return
    negative = np.argwhere(array < 0)
    if len(negative):
        *row, column = negative[0].tolist()
        value = array[(*row, column)]
        raise errors.InputError(
            f"{name} has a probability of {value:.3g} in row {_number(row)}, but none "
            'is negative; say `targets="centred"` or "values" if these are numbers to '
            "be regressed, and take logits through a softmax."
        )
    low, high = mass_range(array)
    is_one = max(abs(low - 1), abs(high - 1)) <= _TOLERANCE
    if label_mass == "one" and not is_one:
        raise errors.InputError(
            f"The rows of {name} have sums from {low:.4g} to {high:.4g}, but class "
            "probabilities sum to one; divide each row by its sum, or say "
            '`label_mass="free"`, of the set and of its protocol, if the sum of a row '
            "is to weigh its example."
        )


def check_finite(array: np.ndarray, name: str) -> None:
    """Raises unless numbers are finite.

    Args:
      array: of any shape.
      name: what it is called in the sentence.

    Raises:
      InputError: if one is not.

    Example:
      >>> check_finite(np.ones(3), "`x`")
    """
    if not np.isfinite(array).all():
        raise errors.InputError(
            f"{name} holds numbers that are not finite, and no network can train on "
            "them; store the last finite state of the run."
        )


def check_rate(rate: Any) -> None:
    """Raises unless a network can train with a learned learning rate.

    Args:
      rate: a number, or ``None`` where none was learned.

    Raises:
      InputError: for one that is not finite and positive in single precision.

    Example:
      >>> check_rate(0.02)
      >>> check_rate(None)
    """
    if rate is None:
        return
    try:
        with np.errstate(over="ignore"):  # Too large a number becomes infinite.
            value = np.asarray(rate).astype(np.float32).item()
    except (TypeError, ValueError):  # Not a number, or several.
        value = np.nan
    if not 0 < value < np.inf:
        raise errors.InputError(
            f"The learned learning rate is {rate}, but no network can train with one "
            "that is not a finite and positive number in float32; take the set of an "
            "earlier step, or leave the rate out (None) and give the protocol one."
        )


def mass_range(labels: Any) -> tuple[float, float]:
    """Returns the smallest and the largest sum of a row.

    Args:
      labels: [..., C].

    Example:
      >>> mass_range([[0.5, 0.5], [1.0, 2.0]])
      (1.0, 3.0)
    """
    mass = np.asarray(labels, np.float64).sum(axis=-1)
    return float(mass.min()), float(mass.max())


def _number(row: list[int]) -> str:
    """The position of a row as one writes it."""
    return ", ".join(map(str, row)) if row else "0"
