# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is kept of a choice of labels: the students of each epoch as they end."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distill_jax import errors
from distill_jax.cli import kept_results, kinds, outputs
from distill_jax.evaluation import label_choice

__all__ = ["CHOICE", "Choice", "Kept"]

CHOICE = "choice.json"


class Choice(NamedTuple):
    """An epoch and a temperature among K x T, and all that was found on the way."""

    epoch: int
    temperature: float
    epochs: tuple[int, ...]  # [K]
    temperatures: tuple[float, ...]  # [T]
    accuracy: np.ndarray  # [K, T, S] of students, on the split that decided
    entropy: np.ndarray  # [K, T] nats, of the labels
    experts: Mapping[str, Any] | None  # accuracy and entropy [E, epochs + 1]

    @property
    def place(self) -> tuple[int, int]:
        """Where the chosen pair stands in the grid."""
        row = self.epochs.index(self.epoch)
        return row, self.temperatures.index(self.temperature)


class Kept:
    """The rows of a choice that have ended, in the folder of the run.

    Args:
      workdir: the folder.
      identity: the config, and digests of what is labelled and by whom.
      shape: how many temperatures there are, and students of each pair.

    Attributes:
      rows: by epoch, those that are there.
      seconds: spent so far, by what was done.
      experts: how good they are after every epoch, where that is known.

    Raises:
      InputError: when the rows of the folder are of another config, of other images,
        or of another teacher.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        identity: Mapping[str, Any],
        shape: tuple[int, int],
    ):
        self._path, self._identity = workdir / CHOICE, dict(identity)
        self.rows: dict[int, label_choice.LabelRow] = {}
        self.seconds: dict[str, float] = {"choose the labels": 0.0, "compile": 0.0}
        self.experts: dict[str, Any] | None = None
        kept = kept_results.read_partial(self._path, "students")
        if not kept:
            return
        self._check(kept)
        try:
            self._take(kept, shape)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            self.rows, self.experts = {}, None
            errors.warn(
                f"The file {self._path} is damaged, so its students are left out "
                f"({error!r})."
            )

    def _take(self, kept: Mapping[str, Any], shape: tuple[int, int]) -> None:
        """Takes what a document says; raises where it has another form."""
        seconds = {name: float(value) for name, value in kept["seconds"].items()}
        rows = {int(e): _to_row(row, shape) for e, row in kept["rows"].items()}
        experts = kept["experts"] and {
            name: _to_table(kept["experts"][name]) for name in ("accuracy", "entropy")
        }
        self.seconds, self.rows = {**self.seconds, **seconds}, rows
        self.experts = experts or None

    def _check(self, kept: Mapping[str, Any]) -> None:
        """Raises for the rows of another run."""
        for name, value in self._identity.items():
            former = kept.get(name)
            is_same = former == value
            if name == "config" and isinstance(former, dict):
                is_same = kinds.is_same_run(former, value)
            if not is_same:
                raise errors.InputError(
                    f"The file {self._path} is of another run: it had another "
                    f"{name.removesuffix('_sha256')}; use another folder, or remove "
                    "the file."
                )

    def add(self, epoch: int, row: label_choice.LabelRow) -> None:
        """Keeps the students of an epoch."""
        self.rows[epoch] = row
        self.seconds["choose the labels"] += row.run_seconds
        self.seconds["compile"] += row.compile_seconds
        self._write()

    def set_experts(self, accuracy: np.ndarray, entropy: np.ndarray) -> None:
        """Keeps how good the experts are, [E, epochs + 1]."""
        self.experts = {"accuracy": _plain(accuracy), "entropy": _plain(entropy)}
        self._write()

    def choice(self, epochs: Sequence[int], temperatures: Sequence[float]) -> Choice:
        """Chooses, once all rows are there: of equals the earliest."""
        accuracy = np.stack([self.rows[epoch].accuracy for epoch in epochs])
        entropy = np.stack([self.rows[epoch].entropy for epoch in epochs])
        means = accuracy.mean(axis=-1)
        row, column = divmod(int(np.argmax(means)), means.shape[1])
        return Choice(
            epochs[row],
            float(temperatures[column]),
            tuple(epochs),
            tuple(map(float, temperatures)),
            accuracy,
            entropy,
            self.experts,
        )

    def _write(self) -> None:
        rows = {
            str(epoch): {
                "accuracy": _plain(row.accuracy),
                "entropy": _plain(row.entropy),
                "num_diverged": row.num_diverged,
            }
            for epoch, row in self.rows.items()
        }
        rest = {"rows": rows, "seconds": self.seconds, "experts": self.experts}
        outputs.write_json(self._path, {**self._identity, **rest})


def _to_row(row: Mapping[str, Any], shape: tuple[int, int]) -> label_choice.LabelRow:
    """A row of the right shape; raises for another."""
    accuracy = np.asarray(row["accuracy"], np.float64)
    entropy = np.asarray(row["entropy"], np.float64)
    if accuracy.shape != shape or entropy.shape != shape[:1]:
        raise ValueError("a row has another shape")
    if not np.isfinite(accuracy).all():
        raise ValueError("an accuracy is no number")
    return label_choice.LabelRow(accuracy, entropy, int(row["num_diverged"]), 0.0, 0.0)


def _to_table(rows: Any) -> list[Any]:
    """Numbers of each expert; raises for anything else."""
    table = np.asarray(rows, np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError("what is known of the experts is no table")
    return _plain(table)


def _plain(values: Any) -> list[Any]:
    """Numbers as JSON has them, with None for those that are not finite."""
    array = np.asarray(values, np.float64)
    if array.ndim > 1:
        return [_plain(row) for row in array]
    return [float(value) if np.isfinite(value) else None for value in array]
