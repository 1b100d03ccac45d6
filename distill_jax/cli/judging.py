# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Judges the set of a run arm by arm, and keeps the set before and each arm as it ends.

What is judged of a set lies in ``judging.json`` until all of it is, then in
``results.json`` and in the facts of the set. Whatever of the three is damaged is made
again from the others, or from the last checkpoint of the run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import distill_jax as dj
from distill_jax import errors
from distill_jax.cli import arm_records, cases, kept_results, kinds, outputs
from distill_jax.storage import locks

if TYPE_CHECKING:
    from distill_jax.cli.experiment import Experiment
    from distill_jax.types import Key

__all__ = ["Judging", "complete", "judge"]


class Judging:
    """What is kept of a judgement, in the folder of its run; of the first process.

    Args:
      case: what is judged.
      workdir: the folder of the run.
      make: the set that the run ended with; called where the folder has not got it.
      seconds: that the run has taken, by what it did.

    Attributes:
      results: all of it, where it is whole; else None.
      records: of the arms that ended before.
    """

    def __init__(
        self,
        case: cases.Case,
        workdir: pathlib.Path,
        make: Callable[[], dj.DistilledSet],
        seconds: Mapping[str, float],
    ):
        self._case, self._workdir, self._seconds = case, workdir, dict(seconds)
        found = _or_none(lambda: dj.DistilledSet.load(workdir), workdir)
        self._stored = found if found and _is_of(found, case) else None
        self._set = self._stored or make()
        digest = self._set.arrays_sha256
        kept = _or_none(
            lambda: _with_records(kept_results.read(workdir), workdir),
            workdir,
            "results.json",
        )
        self._is_written = kept is not None
        if kept is None and self._stored is not None:
            of_set = dict(self._stored.results)
            kept = (
                _or_none(lambda: _with_records(of_set, workdir), workdir)
                if kept_results.is_judged(of_set)
                else None
            )
        if kept is not None and kept.get("set_sha256", digest) != digest:
            kept = None  # Of another set that was in the folder.
        self.results = kept if kept and self._has_all(kept) else None
        partial = kept_results.read_judging(workdir)
        if partial.get("set_sha256") != digest:
            partial = {}
        self._metrics = [dataclasses.asdict(metric) for metric in case.metrics]
        self.records = {**partial.get("arms", {}), **arm_records.of_results(kept or {})}
        self.records = {n: r for n, r in self.records.items() if self._fits(n, r)}

    def begin(self) -> int | None:
        """Makes the stored set whole, or stores it, before anything is judged.

        Returns:
          Which of the wanted arms are missing, as bits; None where all is done.

        Raises:
          InputError: when the folder cannot be written.
        """
        if self.results is not None:
            self._make_whole(self.results)
            return None
        if self._stored is None or not self._stored.results:
            self._save({**kept_results.NOT_JUDGED, **self._results({})})
        missing = [name not in self.records for name in self._case.wanted]
        return sum(bit << place for place, bit in enumerate(missing))

    def add(self, arm: dj.evaluation.Arm) -> None:
        """Keeps an arm that has ended."""
        self.records[arm.name] = arm_records.of_arm(arm, self._case.wanted[arm.name])
        document = {"set_sha256": self._set.arrays_sha256, "arms": self.records}
        outputs.write_json(self._workdir / kept_results.JUDGING, document)

    def end(self) -> None:
        """Stores the results when all arms have ended."""
        results = self._results(self.records)
        self._save(results)
        outputs.write_json(self._workdir / "results.json", results)
        (self._workdir / kept_results.JUDGING).unlink(missing_ok=True)

    def _has_all(self, results: Mapping[str, Any]) -> bool:
        """Whether results have what is wanted; former ones do not say."""
        if "settings" not in results:
            return True
        records = arm_records.of_results(results)
        return all(
            name in records and self._fits(name, records[name])
            for name in self._case.wanted
        )

    def _fits(self, name: str, record: arm_records.Record) -> bool:
        """Whether an arm was made as it is wanted now."""
        settings = record["settings"]
        if self._case.is_alone:  # Its key matters for comparisons only.
            settings = settings | {"is_alone": True}
        return settings == self._case.wanted.get(name)

    def _make_whole(self, results: Mapping[str, Any]) -> None:
        """Writes again what is damaged of a run that was judged."""
        if self._stored is None or not kept_results.is_judged(self._stored.results):
            self._save(results)
        if not self._is_written:
            outputs.write_json(self._workdir / "results.json", results)

    def _save(self, results: Mapping[str, Any]) -> None:
        self._set = dataclasses.replace(
            self._set, results=results, config=dict(self._case.config)
        )
        self._set.save(self._workdir)

    def _results(self, records: Mapping[str, arm_records.Record]) -> dict[str, Any]:
        """The table, the score, the seconds, and all that later calls go by."""
        names = [name for name in self._case.order if name in records]
        return {
            "metrics": self._metrics,
            **self._case.details,
            **arm_records.together(names, records, self._seconds),
            "environment": outputs.environment(),
            "set_sha256": self._set.arrays_sha256,
        }


def judge(
    built: Experiment,
    synthetic: dj.Synthetic,
    key: Key,
    missing: int,
    on_arm: Callable[[dj.evaluation.Arm], None] | None,
    progress: bool | None,
) -> None:
    """Trains and tests the networks of the arms that are missing.

    Args:
      built: the experiment.
      synthetic: the set.
      key: of all that is random.
      missing: from :meth:`Judging.begin`.
      on_arm: is called with each arm as it ends.
      progress: whether to say so; ``None`` where there is a terminal.

    Raises:
      DivergedError: when all networks that learn from the set diverge.
    """
    if sys.stderr.isatty() if progress is None else progress:
        print("Evaluating ...", file=sys.stderr)
    settings = built.evaluation
    names = [n for place, n in enumerate(cases.wanted(built)) if missing >> place & 1]
    problem = (key, built.task, synthetic, built.dataset, built.recipe.protocol)
    if settings.use_arms and names:
        dj.evaluation.arms(
            *problem,
            num_runs=settings.num_runs,
            expert=settings.expert,
            run_options=dj.evaluation.RunOptions(
                settings.num_real_steps,
                settings.num_checkpoints,
                built.side_by_side,
                only=names,
                on_arm=on_arm,
            ),
        )
    elif names:
        arm = dj.evaluation.synthetic_arm(
            *problem,
            num_runs=settings.num_runs,
            num_checkpoints=settings.num_checkpoints,
            side_by_side=built.side_by_side,
        )
        if on_arm is not None:
            on_arm(arm)


def complete(
    path: pathlib.Path, stored: dj.DistilledSet, arm: dj.evaluation.Arm, *, seed: int
) -> None:
    """Completes the results of a set that is not judged yet; its arrays stay.

    Where a run is at work in the folder, or it cannot be written, a warning says so.

    Args:
      path: of the set.
      stored: the set.
      arm: its networks.
      seed: of theirs.
    """
    if stored.results.get("state") is None:
        return
    folder = path if path.is_dir() else path.parent
    is_run = (folder / "config.json").exists()
    try:
        with locks.locked(folder) if is_run else contextlib.nullcontext():
            with kept_results.in_sentences(folder):
                results = _completed(folder, stored, arm, seed)
            dataclasses.replace(stored, results=results).save(path)
            if is_run:
                outputs.write_json(folder / "results.json", results)
                (folder / kept_results.JUDGING).unlink(missing_ok=True)
    except (errors.InputError, OSError) as error:  # The answer is worth more.
        errors.warn(f"The results are not kept with the set. {error}")


def _completed(
    folder: pathlib.Path, stored: dj.DistilledSet, arm: dj.evaluation.Arm, seed: int
) -> dict[str, Any]:
    """The results of a set that was not judged yet, with those of one arm."""
    kept = kept_results.read_judging(folder)
    is_mine = kept.get("set_sha256") == stored.arrays_sha256
    records = kept["arms"] if is_mine else {}
    settings = {"num_runs": len(arm.evaluation.curve), "seed": seed}
    is_label = kinds.kind_of(stored.config) == "label"
    name = "chosen-labels" if is_label else arm.name
    if name not in records:
        arm = dataclasses.replace(arm, name=name)
        records[name] = arm_records.of_arm(arm, settings)
    names = sorted(records, key=arm_records.ORDER.index)
    results = {n: v for n, v in stored.results.items() if n != "state"}
    return results | arm_records.together(names, records, results["seconds"])


def _is_of(stored: dj.DistilledSet, case: cases.Case) -> bool:
    """Whether a set that lies in the folder is that of the run."""
    if stored.data_fingerprint != case.fingerprint:
        return False
    return kinds.is_same_run(stored.config, case.config)


def _with_records(results: dict[str, Any], workdir: pathlib.Path) -> dict[str, Any]:
    """Results whose records of arms have the form of records."""
    with kept_results.in_sentences(workdir):
        arm_records.of_results(results)
    return results


def _or_none(read: Any, workdir: pathlib.Path, name: str = "distilled.json") -> Any:
    """What can be read; None where it is damaged or gone, which is said."""
    files = ["distilled.npz", "distilled.json"] if name == "distilled.json" else [name]
    try:
        return read()
    except errors.NewerError:
        raise
    except errors.InputError as error:
        if any((workdir / each).exists() for each in files):
            errors.warn(f"What is damaged is written again. {error}")
        return None
