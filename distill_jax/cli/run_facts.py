# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the reports of all kinds of runs tell alike."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import distill_jax as dj
from distill_jax.cli import kept_results

__all__ = [
    "costs_of",
    "metrics_of",
    "read_beside",
    "state_of",
    "stored_transfer",
    "usage_of",
]

# Of a run whose results say nothing of metrics.
_ACCURACY = ({"name": "accuracy", "is_fraction": True, "worst": 0.0},)


def state_of(results: Mapping[str, Any], command: str) -> dict[str, str]:
    """Says that a set is not judged yet, and what to do about it.

    Args:
      results: of the set.
      command: that judges it.

    Returns:
      A fact; none where it is judged.

    Example:
      >>> state_of({"arms": []}, "label")
      {}
    """
    if "state" not in results:
        return {}
    words = f"the same `distill-jax {command}`, or `distill-jax evaluate`, completes it"
    return {"Results": f"{results['state']}; {words}"}


def metrics_of(results: Mapping[str, Any]) -> list[dj.Metric]:
    """Reads by what the networks of a run were judged.

    Args:
      results: of a run; those of an earlier version do not say it.

    Returns:
      What is known of each metric.

    Example:
      >>> metrics_of({})[0].name
      'accuracy'
    """
    from distill_jax import types

    return [types.Metric(**each) for each in results.get("metrics", _ACCURACY)]


def stored_transfer(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """Reads the rows that `evaluate` with several networks has left, if it was called.

    Args:
      workdir: the folder of the run.

    Example:
      >>> stored_transfer(pathlib.Path("nowhere"))
      []
    """
    path = workdir / "transfer.json"
    advice = "remove it, or let `distill-jax evaluate` write it again"
    return read_beside(path, advice) if path.exists() else []


def costs_of(seconds: Mapping[str, float]) -> dict[str, str]:
    """Says what was spent.

    Args:
      seconds: by what was done.

    Example:
      >>> costs_of({"distil": 75.0})
      {'distil': '1 min 15 s'}
    """
    return {name: dj.report.tables.format_seconds(s) for name, s in seconds.items()}


def usage_of(workdir: pathlib.Path) -> str:
    """Says how a set is tested again, and how it is trained on.

    Args:
      workdir: the folder of the run.

    Returns:
      A block of code.

    Example:
      >>> usage_of(pathlib.Path("runs/mine")).splitlines()[0]
      '# Test it again, or with another network:'
    """
    return f"""\
# Test it again, or with another network:
distill-jax evaluate --distilled={workdir}
distill-jax evaluate --distilled={workdir} --network=mlp

# What it teaches to other networks:
distill-jax evaluate --distilled={workdir} --network=all

# Train on it, with numpy alone (distilled.json says how):
import numpy as np
with np.load("{workdir / "distilled.npz"}") as file:
    x, y = file["x"], file["y"]
"""


def read_beside(path: pathlib.Path, advice: str) -> Any:
    """Reads a file that has its digest beside it; former ones have none.

    Args:
      path: of the file.
      advice: what to do if it is damaged.

    Returns:
      What its JSON stands for.

    Raises:
      InputError: when it is not there, or damaged.

    Example:
      >>> read_beside(pathlib.Path("nowhere/config.json"), "write it again")
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no file nowhere/config.json; the folder \
does not hold a finished run of `distill-jax distill`.
    """
    from distill_jax.storage import json_files

    is_required = any(path.parent.glob("checkpoints/*/manifest.json"))
    try:
        return json_files.read(path, advice=advice, is_required=is_required)
    except FileNotFoundError as error:
        raise kept_results.unfinished(path) from error
