# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is kept of an arm that has ended, and what all of them say together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import distill_jax as dj

__all__ = ["ORDER", "Record", "checked", "of_arm", "of_results", "together"]

ORDER = (
    *("real-hard", "synthetic-hard", "synthetic-any", "random-any", "random-soft"),
    *("hard-labels", "chosen-labels", "last-epoch", "own-labels"),
)

Record = dict[str, Any]  # of an arm: "row", "runs", "compile_seconds", "settings"


def of_arm(arm: dj.evaluation.Arm, settings: Mapping[str, Any]) -> Record:
    """What is kept of an arm that has ended.

    Args:
      arm: of a comparison.
      settings: all that it depends on but the run.

    Returns:
      The row of the table, the score of each run, the seconds of compilation, and the
      settings.
    """
    return {
        "row": arm.to_row(),
        "runs": [_number(score) for score in arm.evaluation.curve[:, -1]],
        "compile_seconds": arm.compile_seconds,
        "settings": dict(settings),
    }


def checked(record: Any) -> Record:
    """Returns a record that was read, if it has the form of one.

    Args:
      record: from a file.

    Raises:
      ValueError: when it has another form.

    Example:
      >>> checked({"row": {}})
      Traceback (most recent call last):
      ...
      ValueError: the record of an arm has another form
    """
    missing = object()
    found = dict(record) if isinstance(record, Mapping) else {}
    row = found.get("row")
    of_row = dict(row) if isinstance(row, Mapping) else {}
    for kind, value in (
        (str, of_row.get("name", missing)),
        (int | float, of_row.get("seconds", missing)),
        (bool, of_row.get("is_distilled", missing)),
        (list, found.get("runs", missing)),
        (int | float, found.get("compile_seconds", missing)),
        (Mapping, found.get("settings", missing)),
    ):
        if not isinstance(value, kind):
            raise ValueError("the record of an arm has another form")
    return found


def together(
    names: Sequence[str], records: Mapping[str, Record], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """What the records of arms say together.

    Args:
      names: of the arms, in the order of the table.
      records: of at least these.
      seconds: that the run took before they were trained.

    Returns:
      The rows, the score, the seconds, the scores of all runs, and the settings.
    """
    rows = [records[name]["row"] for name in names]
    spent = {name: value for name, value in seconds.items() if name != "compile"}
    for name, is_own in (("evaluate", True), ("evaluate the other arms", False)):
        some = [row["seconds"] for row in rows if row["is_distilled"] is is_own]
        spent |= {name: sum(some)} if some else {}
    compiling = [records[name]["compile_seconds"] for name in names]
    spent["compile"] = seconds["compile"] + sum(compiling)
    return {
        "arms": rows,
        "scores": _scores({name: records[name]["runs"] for name in names}),
        "seconds": spent,
        "runs": {name: records[name]["runs"] for name in names},
        "settings": {name: records[name]["settings"] for name in names},
    }


def of_results(results: Mapping[str, Any]) -> dict[str, Record]:
    """Returns the records of the arms of results that say how they were made.

    Args:
      results: of a run; those of an earlier version do not say it.

    Raises:
      ValueError: when they have another form; what else damaged ones lead to.

    Example:
      >>> of_results({"arms": [{"name": "random-any"}]})
      {}
    """
    settings, runs = results.get("settings", {}), results.get("runs", {})
    return {
        row["name"]: checked(
            {
                "row": row,
                "runs": runs[row["name"]],
                "compile_seconds": 0.0,
                "settings": settings[row["name"]],
            }
        )
        for row in results.get("arms", [])
        if row["name"] in settings and row["name"] in runs
    }


def _scores(runs: Mapping[str, list[float | None]]) -> dict[str, str]:
    """The label-robust score, mean and 95 % interval over runs, where there is one."""
    import numpy as np

    needed = ("real-hard", "synthetic-hard", "synthetic-any", "random-any")
    if not set(needed) <= set(runs):
        return {}
    accuracies = [np.asarray(runs[name], np.float64) for name in needed]
    score = dj.evaluation.fairness.label_robust_score(*accuracies)
    mean, ci95 = dj.evaluation.interval(score)
    spread = ""
    if math.isfinite(ci95):
        low, high = dj.evaluation.interval_of_fraction(mean, ci95)
        spread = f" (95 % interval {low:.3f} to {high:.3f})"
    return {"Label-robust score": f"{mean:.3f}{spread}"}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
