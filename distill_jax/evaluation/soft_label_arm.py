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
import jax.numpy as jnp
import numpy as np

from distill_jax import data as data_lib
from distill_jax import errors
from distill_jax.augmentation import policies
from distill_jax.compute import programs
from distill_jax.evaluation import results
from distill_jax.evaluation.comparison import Arm, Comparison, make_arm
from distill_jax.experts import training
from distill_jax.training import loop
from distill_jax.types import Key

__all__ = ["ExpertSettings", "random_soft"]


@dataclasses.dataclass(frozen=True)
class ExpertSettings:
    """How the expert of the arm ``random-soft`` is trained and asked.

    Attributes:
      num_epochs: E, of plain SGD on the training split.
      learning_rate: of SGD.
      epochs: after which epochs it is tried as a labeller; by default at most six from
        1 to E, evenly spaced in their logarithm.
      batch_size: of mini-batches.

    Raises:
      InputError: from construction, if a number is too small or an epoch is outside
        the training.

    Example:
      >>> ExpertSettings().grid()
      [1, 2, 4, 9, 19, 40]
    """

    num_epochs: int = 40
    learning_rate: float = 0.05
    epochs: Sequence[int] | None = None
    batch_size: int = 64

    def __post_init__(self):
        _check_count("num_epochs", self.num_epochs)
        _check_count("batch_size", self.batch_size)
        if not self.learning_rate > 0:
            raise errors.InputError(
                "`learning_rate` of the expert must be above 0, got "
                f"{self.learning_rate}."
            )
        grid = self.grid()
        if not grid or min(grid) < 0 or max(grid) > self.num_epochs:
            raise errors.InputError(
                f"The expert is to be asked after the epochs {grid}, but it is trained "
                f"for {self.num_epochs}; name epochs from 0 to {self.num_epochs}."
            )

    def grid(self) -> list[int]:
        """The epochs to try, in ascending order."""
        if self.epochs is not None:
            return sorted(set(self.epochs))
        return sorted({int(e) for e in np.geomspace(1, self.num_epochs, 6).round()})


def random_soft(
    key: Key,
    comparison: Comparison,
    rate: Any,
    index: np.ndarray,
    settings: ExpertSettings,
) -> Arm:
    """Trains an expert, chooses its epoch, and tests students of its labels.

    Args:
      key: of the expert and the students.
      comparison: what all arms share.
      rate: [] the learned learning rate, or None.
      index: [R, M] random examples of the training split for each run.
      settings: of the expert.

    Returns:
      The arm ``"random-soft"``.

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
      ...     soft_label_arm.ExpertSettings(num_epochs=4, epochs=[4]))
      >>> arm.num_examples, arm.bytes_stored  # 64 pixels and 10 floats each
      (10, 1040)

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024.
    """
    key_expert, key_students = jax.random.split(key)
    labelled = expert_labels(key_expert, comparison, index, settings)
    told, labels = labelled.value
    took: list[programs.Outcome | results.Evaluation] = [labelled]
    best = None
    for position, epoch in enumerate(settings.grid()):
        # The same networks for every epoch: what differs are the labels alone.
        y = comparison.encode(labels[position])
        trained = comparison.train_subsets(key_students, index, y, rate)
        judged = comparison.measure(trained, "validation")
        took.append(judged)
        if best is None or judged.mean > best[0]:
            best = (judged.mean, epoch, trained)
    assert best is not None  # The grid is never empty.
    _, epoch, trained = best
    num_rows = index.shape[1]
    size = comparison.data.train.x[index[0]].nbytes + num_rows * 4 * labels.shape[-1]
    note = (
        "random real images with soft labels of an expert after epoch "
        f"{epoch} of {settings.num_epochs}, chosen on the validation split (its "
        f"accuracy there {100 * told.accuracy[epoch]:.1f} %, label entropy "
        f"{told.entropy[epoch]:.2f} nats)"
    )
    untrained = trained._replace(compile_seconds=0.0, run_seconds=0.0)
    tested = comparison.measure(untrained)
    took.append(tested)
    return dataclasses.replace(
        make_arm("random-soft", tested, num_rows, size, note),
        seconds=sum(part.run_seconds for part in took),
        compile_seconds=sum(part.compile_seconds for part in took),
    )


def expert_labels(
    key: Key, comparison: Comparison, index: np.ndarray, settings: ExpertSettings
) -> programs.Outcome:
    """Appraisal on the validation split, and labels [epochs, R, M, C]."""
    grid = settings.grid()
    source, judge = (
        data_lib.to_source(comparison.data, split) for split in ("train", "validation")
    )
    images = jnp.asarray(comparison.data.train.x[index.ravel()])
    outcome = programs.call(
        _expert_program,
        comparison.task,
        (
            settings.num_epochs,
            settings.learning_rate,
            settings.batch_size,
            comparison.protocol.augmentation,
            comparison.protocol.augmentation_align_corners,
            tuple(grid),
        ),
        key,
        source,
        judge,
        images,
    )
    told, labels = jax.device_get(outcome.value)
    labels = labels.reshape(len(grid), *index.shape, labels.shape[-1])
    return outcome._replace(value=(told, labels))


def _expert_program(
    task, num_epochs, learning_rate, batch_size, strategy, align_corners, grid
):
    """(key, source, validation source, images) -> appraisal, labels [epochs, N, C]."""
    task = task.retarget("probabilities")

    def program(key, source, judge, images):
        expert = training.train_expert(
            key,
            task,
            source,
            num_epochs=num_epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            policy=policies.parse(strategy, align_corners=align_corners),
        )
        told = training.appraise(
            task, expert, judge.x, judge.y, normalizer=judge.normalizer
        )

        def label(variables):
            logits = loop.predict_logits(
                task, variables, images, normalizer=source.normalizer
            )
            return jax.nn.softmax(logits)

        return told, jax.lax.map(label, training.at_epoch(expert, np.array(grid)))

    return program


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int | np.integer) or value < 1:
        raise errors.InputError(
            f"`{name}` of the expert must be a whole number, at least 1, got {value!r}."
        )
