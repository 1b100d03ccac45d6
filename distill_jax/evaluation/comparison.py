# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the arms of a comparison share: the line of the table, and how it is made."""

import dataclasses
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from distill_jax import base, deprecations, tasks
from distill_jax import data as data_lib
from distill_jax.evaluation import checks, results, runs
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.types import Key

__all__ = ["OWN_ARMS", "Arm", "Comparison", "RunOptions", "make_arm", "real_hard"]

# Arms of what was made; the others are what it is compared with.
OWN_ARMS = ("synthetic-any", "chosen-labels")


class RunOptions(NamedTuple):
    """How the networks of the arms are run, beside what the protocol says.

    Attributes:
      num_real_steps: how many mini-batches of the whole training set are learned
        from; by default as many as the distilled set gets.
      num_checkpoints: K, at how many moments of each training the test accuracy is
        noted for ``best_on_test``; nothing is chosen by it.
      side_by_side: as in :func:`~distill_jax.evaluation.runs.evaluate`.
      only: the names of the arms to train, by default all. An arm is the same whichever
        others are trained.
      on_arm: is called with each arm as it ends, that of the distilled set first.

    Example:
      >>> RunOptions(num_checkpoints=4).side_by_side
      'auto'
    """

    num_real_steps: int | None = None
    num_checkpoints: int = 1
    side_by_side: runs.SideBySide = "auto"
    only: Collection[str] | None = None
    on_arm: Callable[["Arm"], None] | None = None

    @property
    def mapping(self) -> runs.SideBySide:
        """The former name of `side_by_side`."""
        deprecations.warn("`RunOptions.mapping`", "`RunOptions.side_by_side`")
        return self.side_by_side


for _name in ("__new__", "_replace"):
    _taking_old_fields = deprecations.renamed_arguments(mapping="side_by_side")
    setattr(RunOptions, _name, _taking_old_fields(getattr(RunOptions, _name)))


@dataclasses.dataclass(frozen=True, eq=False)
class Arm:
    """One line of a comparison.

    Attributes:
      name: ``"real-hard"``, ``"synthetic-hard"``, ``"synthetic-any"``,
        ``"random-any"`` or ``"random-soft"``; or one of
        :data:`~distill_jax.evaluation.labelled_arms.LABEL_ARMS`.
      evaluation: scores on the test split.
      num_examples: how many are trained on.
      bytes_stored: what would have to be stored, labels included.
      seconds: of everything the arm needed, without compilation.
      compile_seconds: of compilation; 0 where the programs were compiled before.
      note: what the arm is, in words.
    """

    name: str
    evaluation: results.Evaluation
    num_examples: int
    bytes_stored: int
    seconds: float
    compile_seconds: float
    note: str

    def to_row(self) -> dict[str, Any]:
        """The arm as plain numbers, under the names that reports use; None for NaN."""
        row = {
            "name": self.name,
            "num_examples": self.num_examples,
            **self.evaluation.to_row(),
            "bytes_stored": self.bytes_stored,
            "seconds": self.seconds,
            "note": self.note,
            "is_distilled": self.name in OWN_ARMS,
        }
        return {name: None if value != value else value for name, value in row.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """The task, the data and the protocol that all arms share."""

    task: base.Task
    data: data_lib.Dataset
    protocol: protocol_lib.Protocol
    num_runs: int
    side_by_side: runs.SideBySide
    num_checkpoints: int = 1

    @property
    def hard_label_bytes(self) -> int:
        """Bytes of one stored class."""
        return 1 if self.data.spec.num_classes <= 256 else 2

    def labels_of(self, y: np.ndarray) -> Any:
        """[...] classes or [..., C] targets -> [..., C] labels of the protocol."""
        if checks.has_classes(self.data):
            return self.one_hot(y)
        return self.task.encode(jnp.asarray(y, jnp.float32))

    @property
    def label_words(self) -> str:
        """What the labels of the real data are called."""
        return (
            "hard labels"
            if checks.has_classes(self.data)
            else "the targets of the data"
        )

    @property
    def label_bytes(self) -> int:
        """Bytes of one stored label as the real data have it."""
        if checks.has_classes(self.data):
            return self.hard_label_bytes
        return 4 * self.data.train.y.shape[1]

    def encode(self, probabilities: Any) -> Any:
        """[..., C] probabilities -> labels of the protocol's kind."""
        return tasks.encode(jnp.asarray(probabilities), self.protocol.targets)

    def one_hot(self, classes: np.ndarray) -> Any:
        """[...] classes -> [..., C] labels of the protocol's kind."""
        return self.encode(
            np.eye(self.data.spec.num_classes, dtype=np.float32)[classes]
        )

    def train(self, key: Key, examples: Any, **options: Any) -> runs.Trained:
        """Networks of one arm; `options` may name another protocol."""
        protocol = options.pop("protocol", self.protocol)
        return runs.train_networks(
            key,
            self.task,
            examples,
            protocol,
            num_runs=self.num_runs,
            side_by_side=self.side_by_side,
            num_checkpoints=self.num_checkpoints,
            **options,
        )

    def measure(self, trained: runs.Trained, split: str = "test") -> results.Evaluation:
        """Scores of the networks of one arm."""
        return runs.measure(
            self.task, trained, self.data, split=split, side_by_side=self.side_by_side
        )

    def train_subsets(
        self, key: Key, index: np.ndarray, y: Any, learning_rate: Any
    ) -> runs.Trained:
        """Networks on another random subset [R, M] each, with labels [R, M, C]."""
        if learning_rate is not None:
            learning_rate = jnp.full(len(index), learning_rate)
        examples = base.Synthetic(self.data.train.x[index], y, None, learning_rate)
        return self.train(
            key, examples, normalizer=self.data.spec.normalizer, is_stacked=True
        )


def make_arm(
    name: str, result: results.Evaluation, num_examples: int, size: int, note: str
) -> Arm:
    """An arm that took no longer than its evaluation; its note tells who diverged."""
    if result.num_diverged:
        num_runs, ends = len(result.curve), result.metric.worst is not None
        note += f"; {result.num_diverged} of {num_runs} networks diverged and "
        note += "count as wrong" if ends else "are left out of the mean"
    return Arm(
        name=name,
        evaluation=result,
        num_examples=num_examples,
        bytes_stored=size,
        seconds=result.run_seconds,
        compile_seconds=result.compile_seconds,
        note=note,
    )


def real_hard(
    key: Key, comparison: Comparison, learning_rate: Any, num_steps: int
) -> Arm:
    """The arm of networks that learn from the whole training set.

    Args:
      key: of the networks.
      comparison: what all arms share.
      learning_rate: [] that was learned with a distilled set, or None.
      num_steps: mini-batches of their training.

    Returns:
      The arm ``"real-hard"``.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), data.spec)
      >>> protocol = dj.evaluation.Protocol(num_steps=1)
      >>> shared = Comparison(task, data, protocol, 2, "map")
      >>> real_hard(jax.random.key(0), shared, None, 3).num_examples
      960
    """
    x, y = comparison.data.train
    trained = comparison.train(
        key,
        base.Synthetic(x, comparison.labels_of(y), None, learning_rate),
        protocol=dataclasses.replace(
            comparison.protocol, num_epochs=None, num_steps=num_steps
        ),
        normalizer=comparison.data.spec.normalizer,
    )
    size = x.nbytes + len(x) * comparison.label_bytes
    note = f"the whole training set with {comparison.label_words}, {num_steps} steps"
    return make_arm("real-hard", comparison.measure(trained), len(x), size, note)
