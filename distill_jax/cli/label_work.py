# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The work of `distill-jax label`, each part of which is kept as it ends.

    experts/        each expert as it is trained
    choice.json     the students of each epoch as they are tested on validation
    distilled.*     the images with the chosen labels, before they are tested
    judging.json    each arm as it ends; `results.json` once all have

A part is made only when a later one lacks what it says, so that a finished run trains
nothing.
"""

from __future__ import annotations

import functools
import pathlib
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import distill_jax as dj
from distill_jax import base, errors, evaluation
from distill_jax.cli import cases, judging, kept_choice, label_facts, labelling
from distill_jax.compute import parallel

__all__ = ["Work", "run"]


class Work:
    """The parts of a run that labels images, made when they are needed.

    Args:
      built: what is to be done.
      workdir: the folder of the run.
      progress: whether to show progress; ``None`` where there is a terminal.
    """

    def __init__(
        self,
        built: labelling.Labelling,
        workdir: pathlib.Path,
        progress: bool | None = None,
    ):
        self._built, self._workdir, self._progress = built, workdir, progress
        key_rest = jax.random.split(jax.random.key(built.seed))[1]
        self._key_students, self.key_arms = jax.random.split(key_rest)
        shape = len(built.options.temperatures), built.options.num_seeds
        self.kept = kept_choice.Kept(workdir, label_facts.identity(built), shape)

    @functools.cached_property
    def buffer(self) -> dj.experts.Buffer:
        """The experts, which the first to ask trains or reads."""
        built, teachers = self._built, self._built.teachers
        assert teachers.plan is not None
        start = time.perf_counter()
        with dj.experts.kept_in(self._workdir / "experts"):
            buffer = parallel.over_mesh(dj.experts.make_buffer, built.mesh)(
                teachers.plan,
                teachers.task,
                built.dataset,
                folder=teachers.folder,
                progress=self._progress,
            )
        if "train the experts" not in self.kept.seconds:
            self.kept.seconds["train the experts"] = time.perf_counter() - start
        return buffer

    def logits(self, epochs: list[int]) -> np.ndarray:
        """[K, N, C] of the teachers together, after each of some epochs."""
        teachers = self._built.teachers
        if teachers.said is not None:
            return teachers.said.mean(axis=0)[None]
        said = self.buffer.logits(
            teachers.task, jnp.asarray(self._built.images.x), epochs=epochs
        )
        mean = np.asarray(said, np.float32).mean(axis=0)
        if not np.isfinite(mean).all():
            raise errors.DivergedError(
                f"What the experts say after some of the epochs {epochs} is not "
                "finite, since they diverged; lower their learning rate."
            )
        return mean

    @functools.cached_property
    def examples(self) -> base.Examples:
        """The images and their weights, with labels that nobody looks at."""
        images = self._built.images
        num_rows, num_classes = len(images.x), self._built.dataset.spec.num_classes
        weight = None if images.weight is None else jnp.asarray(images.weight)
        return base.Examples(
            jnp.asarray(images.x), jnp.zeros((num_rows, num_classes)), weight
        )

    @functools.cached_property
    def choice(self) -> kept_choice.Choice:
        """The chosen epoch and temperature; students are trained where some lack."""
        built, kept = self._built, self.kept
        if any(epoch not in kept.rows for epoch in built.epochs):
            self._say("Choosing the labels ...")
            self._try_all()
        if kept.experts is None and built.teachers.plan is not None:
            kept.set_experts(self.buffer.accuracy, self.buffer.entropy)
        return kept.choice(built.epochs, built.options.temperatures)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """[N, C] the chosen ones."""
        chosen = self.choice
        (said,) = self.logits([chosen.epoch])
        return np.asarray(dj.labels.from_logits(said, chosen.temperature))

    def last_labels(self) -> np.ndarray:
        """[N, C] of the last epoch that is kept, at temperature 1."""
        plan = self._built.teachers.plan
        (said,) = self.logits([] if plan is None else [plan.kept()[-1]])
        return np.asarray(dj.labels.from_logits(said))

    def _try_all(self) -> None:
        """Trains the students of epochs that were not tried yet."""
        built, kept = self._built, self.kept
        places = {epoch: place for place, epoch in enumerate(built.epochs)}
        options = built.options._replace(
            known={places[epoch]: row for epoch, row in kept.rows.items()},
            on_row=lambda place, row: kept.add(built.epochs[place], row),
        )
        evaluation.choose_labels(
            self._key_students,
            built.task,
            self.examples,
            jnp.asarray(self.logits(list(built.epochs))),
            built.dataset,
            built.protocol,
            options,
        )

    def _say(self, words: str) -> None:
        shown = sys.stderr.isatty() if self._progress is None else self._progress
        if shown:
            print(words, file=sys.stderr)


def run(
    built: labelling.Labelling, workdir: pathlib.Path, *, progress: bool | None = None
) -> bool:
    """Labels the images, stores the set, and judges it beside the other arms.

    Args:
      built: from :func:`distill_jax.cli.labelling.build`.
      workdir: where the files of the run go. What an earlier, interrupted call has done
        there is taken up.
      progress: whether to show progress; ``None`` where there is a terminal.

    Returns:
      Whether all was there already.

    Raises:
      InputError: when the folder holds another run, or another process is at work in
        it.
      DivergedError: when experts, or all students, diverge.
      Interrupted: after a signal.
    """
    from distill_jax.cli import kinds
    from distill_jax.runtime import workdir as workdirs

    with workdirs.locked(workdir):
        kinds.bring_up(workdir, built.config)
        workdirs.claim(workdir, built.config)
        work = Work(built, workdir, progress)
        choice = work.choice
        case = cases.Case(
            config=built.config,
            fingerprint=built.dataset.spec.fingerprint,
            metrics=dj.tasks.metrics_of(built.task)[1],
            wanted=label_facts.wanted(built),
            order=evaluation.LABEL_ARMS,
            details={"labelling": label_facts.details(built, choice)},
        )
        made = lambda: label_facts.to_distilled(built, work.labels, choice)
        kept = judging.Judging(case, workdir, made, work.kept.seconds)
        missing = kept.begin()
        if missing is None:
            return True
        names = [n for place, n in enumerate(case.wanted) if missing >> place & 1]
        if progress or (progress is None and sys.stderr.isatty()):
            print("Evaluating ...", file=sys.stderr)
        _judge(built, work, choice, names, kept.add)
        kept.end()
        return False


def _judge(
    built: labelling.Labelling, work: Work, choice: Any, names: list[str], on_arm: Any
) -> None:
    """Trains and tests the networks of the arms that are missing."""
    images = built.images
    classes = images.classes
    hard = lambda: np.eye(built.dataset.spec.num_classes, dtype=np.float32)[classes]
    makers = {
        "chosen-labels": lambda: work.labels,
        "last-epoch": work.last_labels,
        "own-labels": lambda: images.own_labels,
        "hard-labels": hard,
    }
    notes = label_facts.notes(built, choice)
    tables = {
        name: evaluation.LabelTable(makers[name], notes[name])
        for name in names
        if name in makers
    }
    evaluation.label_arms(
        work.key_arms,
        built.task,
        work.examples,
        tables,
        built.dataset,
        built.protocol,
        num_runs=built.num_runs,
        image_bytes=images.num_bytes,
        run_options=evaluation.RunOptions(
            built.num_real_steps if "real-hard" in names else None,
            built.num_checkpoints,
            built.options.side_by_side,
            on_arm=on_arm,
        ),
    )
