# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Says in words what a distilled set holds."""

from typing import Any

from distill_jax.storage import conversion, label_checks

__all__ = ["in_words", "is_free", "mass_in_words"]


def in_words(distilled: Any) -> str:
    """Names the arrays of a set, and what its labels mean.

    Args:
      distilled: a :class:`~distill_jax.storage.distilled.DistilledSet`.

    Returns:
      Shapes and types; the kind of the labels, and the sums of their rows where these
      are free; the learned learning rate.

    Example:
      >>> import numpy as np
      >>> from distill_jax.storage.distilled import DistilledSet
      >>> x, y = np.ones((2, 3), np.float32), [[1, 2], [0, 1]]
      >>> in_words(DistilledSet(x, y, label_mass="free", learning_rate=0.5))
      'x [2, 3] float32, y [2, 2] probabilities of free mass (1 to 3), rate 0.5'
    """
    names = ("x", "y", "weight", "target")
    arrays = conversion.flatten({name: getattr(distilled, name) for name in names})
    parts = []
    for name, array in arrays.items():
        is_label = name.partition("_")[0] in ("y", "target")
        kind = distilled.targets if is_label else array.dtype
        mass = mass_in_words(array) if is_label and is_free(distilled) else ""
        parts.append(f"{name} {list(array.shape)} {kind}{mass}")
    if distilled.learning_rate is not None:
        parts.append(f"rate {distilled.learning_rate:.3g}")
    return ", ".join(parts)


def is_free(distilled: Any) -> bool:
    """Tells whether the sums of the rows of a set's labels weigh its examples.

    Args:
      distilled: a :class:`~distill_jax.storage.distilled.DistilledSet`.

    Example:
      >>> import numpy as np
      >>> from distill_jax.storage.distilled import DistilledSet
      >>> is_free(DistilledSet(np.ones((2, 3)), np.eye(2)))
      False
    """
    return distilled.targets == "probabilities" and distilled.label_mass == "free"


def mass_in_words(labels: Any) -> str:
    """Tells the sums of the rows of labels.

    Args:
      labels: [..., C].

    Example:
      >>> mass_in_words([[0.5, 0.5], [1.0, 2.0]])
      ' of free mass (1 to 3)'
    """
    low, high = label_checks.mass_range(labels)
    return f" of free mass ({low:.3g} to {high:.3g})"
