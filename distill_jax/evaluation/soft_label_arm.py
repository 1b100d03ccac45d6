# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The baseline that is hardest to beat: random real images, soft labels of an expert.

    y(x) = softmax( f_{theta_e}(x) ),     e chosen by the students' validation accuracy

An expert is trained on the real training split; after a few of its epochs it labels the
images, and students learn from them. Early epochs suit few images, later ones more. It
is the baseline of "A Label is Worth a Thousand Images"; there the epoch is chosen by
test accuracy, here on the validation split, and the students of that epoch are then
tested once.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from distill_jax import base, deprecations, errors, experts, labels
from distill_jax.evaluation import grid, results
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.evaluation.comparison import Arm, Comparison, make_arm
from distill_jax.types import Key

__all__ = ["random_soft", "usual_expert"]


def usual_expert(protocol: protocol_lib.Protocol, **changes: Any) -> experts.Training:
    """How the expert of the arm is trained unless something else is said.

    SGD with a learning rate of 0.05 for 40 epochs in mini-batches of 64, which see the
    augmentation of the students.

    Args:
      protocol: of the students.
      **changes: fields of :class:`~distill_jax.experts.Training` with other values.

    Returns:
      The :class:`~distill_jax.experts.Training`.

    Example:
      >>> from distill_jax.evaluation import protocol
      >>> usual_expert(protocol.Protocol(num_steps=1, augmentation="crop")).augmentation
      'crop'
    """
    usual = {
        "num_epochs": 40,
        "learning_rate": 0.05,
        "batch_size": 64,
        "augmentation": protocol.augmentation,
        "augmentation_align_corners": protocol.augmentation_align_corners,
    }
    return experts.Training(**{**usual, **changes})


def random_soft(
    key: Key,
    comparison: Comparison,
    rate: Any,
    index: np.ndarray,
    training: experts.Training,
    *,
    epochs: Sequence[int] | None = None,
) -> Arm:
    """Trains an expert, chooses its epoch, and tests students of its labels.

    Args:
      key: of the expert and the students.
      comparison: what all arms share.
      rate: [] the learned learning rate, or None.
      index: [R, M] random examples of the training split for each run.
      training: of the expert.
      epochs: after which epochs it is tried as a labeller; by default as
        :func:`distill_jax.labels.epoch_grid` spaces them.

    Returns:
      The arm ``"random-soft"``. After epochs by which the expert has diverged it is not
      tried; where it has at all of them nothing is learned, and nothing is right.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax.evaluation import comparison, soft_label_arm
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), data.spec)
      >>> protocol = dj.evaluation.Protocol(num_steps=9)
      >>> shared = comparison.Comparison(task, data, protocol, 2, "map")
      >>> index = dj.selection.random_subsets(jax.random.key(0), data, 1, num_draws=2)
      >>> arm = soft_label_arm.random_soft(
      ...     jax.random.key(1), shared, None, index,
      ...     dj.experts.Training(num_epochs=4), epochs=[4])
      >>> arm.num_examples, arm.bytes_stored  # 64 pixels and 10 floats each
      (10, 1040)

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024.
    """
    key_expert, key_students = jax.random.split(key)
    images = comparison.data.train.x[index]
    soft = labels.expert_labels(
        key_expert,
        comparison.task,
        comparison.data,
        training,
        images,
        epochs=epochs,
        allow_diverged=True,  # Epochs at which it has diverged are left out.
    )
    kept = [i for i, y in enumerate(soft.labels) if np.isfinite(y).all()]
    num_rows = index.shape[1]
    size = images[0].nbytes + num_rows * 4 * soft.labels.shape[-1]
    if not kept:
        note = f"no students: {_divergence(training, soft)}"
        return _timed(_nothing(comparison), num_rows, size, note, [soft])
    soft = soft._replace(
        labels=soft.labels[np.array(kept)], epochs=tuple(soft.epochs[i] for i in kept)
    )
    # The same networks for every epoch: what differs are the labels alone.
    students = grid.evaluate_grid(
        key_students,
        comparison.task,
        base.Synthetic(images, comparison.encode(soft.labels), None, rate),
        comparison.data,
        comparison.protocol,
        num_seeds=comparison.num_runs,
        splits=("validation",),
        normalizer=comparison.data.spec.normalizer,
        num_kept=comparison.num_checkpoints,
        side_by_side=comparison.side_by_side,
    )
    means = students.accuracies("validation").mean(axis=1)
    best = int(np.argmax(means))  # The earliest of equals.
    tested = comparison.measure(students.students(best))
    note = _note(training, soft, soft.epochs[best])
    timed = [soft, students, tested]
    return _timed(tested, num_rows, size, note, timed)


def _timed(
    result: results.Evaluation,
    num_rows: int,
    size: int,
    note: str,
    parts: Sequence[Any],
) -> Arm:
    """The arm, which took as long as its parts."""
    return dataclasses.replace(
        make_arm("random-soft", result, num_rows, size, note),
        seconds=sum(part.run_seconds for part in parts),
        compile_seconds=sum(part.compile_seconds for part in parts),
    )


def _nothing(comparison: Comparison) -> results.Evaluation:
    """The result of students that there are none of: all wrong."""
    shape = comparison.num_runs, comparison.num_checkpoints
    return results.summarize(
        np.zeros(shape), is_test=True, num_diverged=comparison.num_runs
    )


def _divergence(training: experts.Training, soft: labels.ExpertLabels) -> str:
    return (
        f"the expert diverged, its labels are not finite after the epochs "
        f"{list(soft.epochs)}; lower its learning rate ({training.learning_rate:.3g})"
    )


def _note(training: experts.Training, soft: labels.ExpertLabels, epoch: int) -> str:
    accuracy, entropy = soft.appraisal
    return (
        "random real images with soft labels of an expert after epoch "
        f"{epoch} of {training.num_epochs}, chosen on the validation split (its "
        f"accuracy there {100 * accuracy[epoch]:.1f} %, label entropy "
        f"{entropy[epoch]:.2f} nats)"
    )


@dataclasses.dataclass(frozen=True)
class ExpertSettings:
    """The former record of an expert's training and of the epochs to try."""

    num_epochs: int = 40
    learning_rate: float = 0.05
    epochs: Sequence[int] | None = None
    batch_size: int = 64

    def __post_init__(self):
        deprecations.warn("evaluation.ExpertSettings", "experts.Training")
        errors.check_counts(of="the expert", num_epochs=self.num_epochs)
        experts.Training(**self.fields())
        self.grid()

    def fields(self) -> dict[str, Any]:
        """What it says of :class:`~distill_jax.experts.Training`."""
        return {
            "num_epochs": self.num_epochs,
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size,
        }

    def grid(self) -> list[int]:
        """The epochs to try, in ascending order."""
        return labels.epoch_grid(self.num_epochs, self.epochs)
