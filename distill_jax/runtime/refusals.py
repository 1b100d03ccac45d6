# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Counts the steps that a gate refuses, and tells when a run no longer moves.

A method with a gate (:func:`~distill_jax.transforms.gate_steps`) tells in its metric
``is_refused`` which steps changed nothing. Some of them are usual; a run that refuses
100 in a row, or half of a shorter run, learns nothing any more.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Refusals"]

_FEW, _MANY = 20, 100


class Refusals:
    """The refused steps of a run, over all its resumptions.

    Args:
      num_steps: of the whole run.

    Attributes:
      num_refused: how many steps were refused,
      num_counted: of how many.
      num_last: how many of the last steps, all of them one after the other.
      limit: how many in a row end the run.
      is_dead: whether so many were refused in a row.

    Example:
      >>> refusals = Refusals(60)
      >>> refusals.count(np.array([0.0, 1.0])).tolist(), refusals.limit
      ([0.0, 0.5], 30)
    """

    def __init__(self, num_steps: int):
        self.num_refused = self.num_counted = self.num_last = 0
        self.limit = min(num_steps, _MANY, max(_FEW, num_steps // 2))
        self.is_dead = False

    def count(self, is_refused: np.ndarray) -> np.ndarray:
        """Counts some steps more.

        Args:
          is_refused: [n] 1 for each step that was refused, else 0.

        Returns:
          [n] the share of refused steps up to each of them.
        """
        shares = []
        for flag in np.asarray(is_refused) > 0:
            self.num_counted += 1
            self.num_refused += int(flag)
            self.num_last = self.num_last + 1 if flag else 0
            self.is_dead |= self.num_last >= self.limit
            shares.append(self.num_refused / self.num_counted)
        return np.array(shares)

    def in_words(self) -> str:
        """How many were refused, in a sentence without its end."""
        return (
            f"{self.num_refused} of {self.num_counted} steps were refused, the last "
            f"{self.num_last} one after the other, since their loss was not finite or "
            "above the threshold"
        )

    @property
    def is_notable(self) -> bool:
        """Whether a run that came to its end should speak of them."""
        is_most = 2 * self.num_refused > self.num_counted
        return self.num_last >= _FEW or (is_most and self.num_counted >= _FEW)

    def to_facts(self) -> dict[str, int]:
        """What a checkpoint keeps of them."""
        names = ("num_refused", "num_counted", "num_last")
        return {name: getattr(self, name) for name in names}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Takes up what a checkpoint has kept; nothing where it is an earlier one."""
        for name, value in facts.items():
            setattr(self, name, int(value))
        self.is_dead = self.num_last >= self.limit
