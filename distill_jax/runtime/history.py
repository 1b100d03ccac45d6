# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run has logged, as arrays."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["History", "from_rows"]


@dataclasses.dataclass(frozen=True)
class History:
    """The logged steps and the evaluations of a run, over all its resumptions.

    Attributes:
      step: the logged steps, counted from 1 ``[L]``.
      loss: the loss of each of them, before its update ``[L]``.
      metrics: what else the method tells, by name, each ``[L]``.
      evaluations: one dictionary for each evaluation: ``step`` and what
        ``evaluate_fn`` returned.
      compile_seconds: spent on compiling.
      run_seconds: spent on steps, without compiling, evaluating and saving.
    """

    step: np.ndarray
    loss: np.ndarray
    metrics: dict[str, np.ndarray]
    evaluations: list[dict[str, Any]]
    compile_seconds: float
    run_seconds: float


def from_rows(
    rows: Sequence[dict[str, Any]], *, compile_seconds: float, run_seconds: float
) -> History:
    """Makes a history of the rows of ``metrics.jsonl``.

    Args:
      rows: of logged steps and evaluations, mixed.
      compile_seconds: spent on compiling.
      run_seconds: spent on steps.

    Returns:
      The :class:`History`; ``null`` has become NaN.

    Example:
      >>> rows = [{"step": 1, "loss": 0.5, "metrics": {"norm": 2.0}},
      ...         {"step": 1, "evaluation": {"accuracy": 0.9}}]
      >>> history = from_rows(rows, compile_seconds=1.0, run_seconds=2.0)
      >>> print(history.loss, history.metrics["norm"], history.evaluations)
      [0.5] [2.] [{'step': 1, 'accuracy': 0.9}]
    """
    logged = [row for row in rows if "evaluation" not in row]
    names = sorted({name for row in logged for name in row["metrics"]})
    return History(
        step=np.array([row["step"] for row in logged], np.int64),
        loss=_floats(row["loss"] for row in logged),
        metrics={
            name: _floats(row["metrics"].get(name) for row in logged) for name in names
        },
        evaluations=[
            {"step": row["step"]} | {k: _nan(v) for k, v in row["evaluation"].items()}
            for row in rows
            if "evaluation" in row
        ],
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
    )


def _nan(value: Any) -> Any:
    return float("nan") if value is None else value


def _floats(values) -> np.ndarray:
    return np.array([_nan(value) for value in values], np.float64)
