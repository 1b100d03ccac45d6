# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run does beside its steps: it evaluates the set, it writes and shows a log."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from distill_jax import base

__all__ = ["EvaluateFn", "EvaluationOptions", "LoggingOptions"]

EvaluateFn = Callable[[int, base.Synthetic], Mapping[str, float]]


class EvaluationOptions(NamedTuple):
    """How the distilled set is evaluated while a run is on its way.

    Attributes:
      evaluate_fn: ``(step, synthetic) -> dict of floats``. May take its time; ``None``
        evaluates nothing.
      evaluate_every: steps between evaluations, step 0 included; ``None`` evaluates
        at the end only.

    Example:
      >>> EvaluationOptions(lambda step, synthetic: {"pixels": synthetic.x.size}, 50)[1]
      50
    """

    evaluate_fn: EvaluateFn | None = None
    evaluate_every: int | None = None


class LoggingOptions(NamedTuple):
    """What a run writes down and shows of its steps.

    Attributes:
      log_every: steps between logged ones; the last is always logged.
      progress: whether to show a progress bar; ``None`` where there is a terminal.
      tensorboard: whether to write event files to ``workdir/tensorboard`` too.

    Example:
      >>> LoggingOptions(log_every=1).tensorboard
      False
    """

    log_every: int = 10
    progress: bool | None = None
    tensorboard: bool = False
