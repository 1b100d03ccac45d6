# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The calendar of a run: at which steps the host stops to look, judge and save."""

import dataclasses

import numpy as np

from distill_jax import errors

__all__ = ["Calendar"]


@dataclasses.dataclass(frozen=True)
class Calendar:
    """Which steps are stops.

    Attributes:
      num_steps: of the whole run; the last step is always a stop.
      log_every: steps between logged ones; these need no stop.
      evaluate_every: steps between evaluations; ``None`` for the last step only.
      checkpoint_every: steps between checkpoints; ``None`` for the last step only.

    Raises:
      InputError: when one of them is not a whole number of at least one.

    Example:
      >>> calendar = Calendar(
      ...     100, log_every=10, evaluate_every=40, checkpoint_every=None)
      >>> calendar.next_stop(0), calendar.next_stop(40), calendar.next_stop(80)
      (40, 80, 100)
    """

    num_steps: int
    log_every: int
    evaluate_every: int | None
    checkpoint_every: int | None

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value is None and name in ("evaluate_every", "checkpoint_every"):
                continue
            is_whole = isinstance(value, (int, np.integer))
            if value is None or isinstance(value, bool) or not is_whole or value < 1:
                raise errors.InputError(
                    f"`{name}` must be a whole number of at least 1, got {value!r}."
                )

    def is_due(self, step: int, every: int | None) -> bool:
        """Whether something that is done every so many steps is done at this one.

        Example:
          >>> calendar = Calendar(
          ...     7, log_every=1, evaluate_every=None, checkpoint_every=None)
          >>> [step for step in range(8) if calendar.is_due(step, 3)]
          [0, 3, 6, 7]
        """
        return step == self.num_steps or (every is not None and step % every == 0)

    def next_stop(self, step: int) -> int:
        """The first step after this one at which the host has something to do.

        Example:
          >>> calendar = Calendar(7, log_every=1, evaluate_every=2, checkpoint_every=3)
          >>> calendar.next_stop(2)
          3
        """
        stops = [self.num_steps]
        for every in (self.evaluate_every, self.checkpoint_every):
            if every is not None:
                stops.append(step - step % every + every)
        return min(stops)
