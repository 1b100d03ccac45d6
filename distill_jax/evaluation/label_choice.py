# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which labels of an expert teach most: its epoch and a temperature, chosen together.

    (e, T) = argmax  mean_s accuracy_validation( student_s( x, softmax(f_e(x) / T) ) )

Students of every pair meet the same seeds, so that pairs differ in their labels alone.
The paper chooses the epoch by the accuracy on the test set; here the validation split
decides, and the test set is a choice that has to be asked for.

Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset Distillation",
2024.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors, labels
from distill_jax import data as data_lib
from distill_jax.evaluation import checks, grid
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.evaluation.side_by_side import SideBySide
from distill_jax.labels import checks as label_checks
from distill_jax.types import Array, Key

__all__ = ["ChoiceOptions", "LabelChoice", "LabelRow", "choose_labels"]


class LabelRow(NamedTuple):
    """What became of the labels of one epoch, at T temperatures."""

    accuracy: np.ndarray  # [T, S] of students, on the split that decides
    entropy: np.ndarray  # [T] nats, the mean entropy of the labels
    num_diverged: int  # students
    compile_seconds: float
    run_seconds: float


class LabelChoice(NamedTuple):
    """The labels that taught most, among K epochs and T temperatures."""

    labels: Array  # [N, C]
    epoch: int  # the place of the chosen epoch, from 0 to K - 1
    temperature: float
    rows: tuple[LabelRow, ...]  # [K]

    @property
    def accuracies(self) -> np.ndarray:
        """[K, T, S] of all students, on the split that decided."""
        return np.stack([row.accuracy for row in self.rows])


class ChoiceOptions(NamedTuple):
    """How labels are chosen, beside what the protocol says.

    Attributes:
      temperatures: T of them, each above 0.
      num_seeds: S, students of every pair.
      split: that decides: ``"validation"``, or ``"test"`` as in the paper, after which
        a test accuracy is no fair estimate any more.
      side_by_side: as in :func:`~distill_jax.evaluation.evaluate`.
      known: rows that are there already, by the place of their epoch.
      on_row: is called with the place of an epoch and its row, as each ends.

    Example:
      >>> ChoiceOptions(temperatures=(1.0, 4.0)).num_seeds
      2
    """

    temperatures: Sequence[float] = (1.0,)
    num_seeds: int = 2
    split: str = "validation"
    side_by_side: SideBySide = "auto"
    known: Mapping[int, LabelRow] = {}
    on_row: Callable[[int, LabelRow], None] | None = None


def choose_labels(
    key: Key,
    task: base.Task,
    examples: base.Examples,
    logits: Array,
    data: data_lib.Dataset,
    protocol: protocol_lib.Protocol,
    options: ChoiceOptions | None = None,
) -> LabelChoice:
    """Trains students on labels of every epoch and temperature, and takes the best.

    Args:
      key: of the students, the same for every pair.
      task: has the network of the students.
      examples: images ``x`` [N, ...] in the space the networks see, and perhaps their
        ``weight`` [N]; labels are not looked at.
      logits: [K, N, C] of one teacher after K epochs, or of an ensemble its mean; of a
        teacher without epochs [1, N, C].
      data: the real data set.
      protocol: how students are trained; their targets are probabilities.
      options: the temperatures, and how many students there are; by default two
        students at temperature 1.

    Returns:
      A :class:`LabelChoice`; of equals the earliest epoch, then the first temperature.

    Raises:
      InputError: when a temperature is not above 0, the split is empty, or logits do
        not fit the images, the classes or each other.
      DivergedError: when all students of all pairs diverged.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> real = dj.methods.initial_fn("real", 1)(jax.random.key(0), data)
      >>> chosen = dj.evaluation.choose_labels(
      ...     jax.random.key(1), task, real, jnp.stack([real.y, 9 * real.y]), data,
      ...     dj.evaluation.Protocol(num_steps=30, learning_rate=0.1),
      ...     dj.evaluation.ChoiceOptions(temperatures=(1.0, 2.0)))
      >>> chosen.accuracies.shape, chosen.epoch
      ((2, 2, 2), 1)

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024, section 3.
    """
    options = ChoiceOptions() if options is None else options
    check_options(data, protocol, options)
    _check_logits(np.shape(logits), np.shape(examples.x), data)
    rows = []
    for place, said in enumerate(logits):
        row = options.known.get(place)
        if row is None:
            row = _row(key, task, examples, said, data, protocol, options)
            if options.on_row is not None:
                options.on_row(place, row)
        rows.append(row)
    return _best(rows, logits, options)


def check_options(
    data: data_lib.Dataset, protocol: protocol_lib.Protocol, options: ChoiceOptions
) -> None:
    """Raises unless labels can be chosen, before anything is trained.

    Args:
      data: the real data set.
      protocol: of the students.
      options: of the choice.

    Raises:
      InputError: as :func:`choose_labels`.

    Example:
      >>> protocol = protocol_lib.Protocol(num_steps=1)
      >>> check_options(data_lib.load("digits"), protocol, ChoiceOptions((0.0,)))
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The temperature is 0.0; it divides the logits and \
must be above 0: 1 leaves labels as they are, 4 softens them.
    """
    checks.check_split(data, options.split)
    errors.check_counts(num_seeds=options.num_seeds)
    if not len(options.temperatures):
        raise errors.InputError(
            "There are no temperatures to choose from; name one or more, such as 1."
        )
    for temperature in options.temperatures:
        label_checks.check_temperature(temperature)
    if protocol.targets != "probabilities":
        raise errors.InputError(
            f'The targets of the protocol are "{protocol.targets}", but labels of a '
            'teacher are "probabilities"; use a protocol of these.'
        )


def _row(key, task, examples, logits, data, protocol, options) -> LabelRow:
    """The students of one epoch."""
    tables = jnp.stack([labels.from_logits(logits, t) for t in options.temperatures])
    weight = examples.weight
    if weight is not None:
        weight = jnp.broadcast_to(jnp.asarray(weight), tables.shape[:2])
    found = grid.evaluate_grid(
        key,
        task,
        base.Examples(jnp.asarray(examples.x), tables, weight),
        data,
        protocol,
        num_seeds=options.num_seeds,
        splits=(options.split,),
        side_by_side=options.side_by_side,
    )
    return LabelRow(
        found.accuracies(options.split),
        np.asarray(labels.entropy(tables).mean(axis=1)),
        int(found.has_diverged.sum()),
        found.compile_seconds,
        found.run_seconds,
    )


def _best(rows: list[LabelRow], logits: Array, options: ChoiceOptions) -> LabelChoice:
    """The pair of the highest mean accuracy."""
    accuracies = np.stack([row.accuracy for row in rows])
    if sum(row.num_diverged for row in rows) == accuracies.size:
        raise errors.DivergedError(
            f"All {accuracies.size} students diverged, whatever their labels; lower "
            "the learning rate of the protocol."
        )
    means = accuracies.mean(axis=-1)
    epoch, place = divmod(int(np.argmax(means)), means.shape[1])
    temperature = float(options.temperatures[place])
    chosen = labels.from_logits(jnp.asarray(logits[epoch]), temperature)
    return LabelChoice(chosen, epoch, temperature, tuple(rows))


def _check_logits(shape, images, data: data_lib.Dataset) -> None:
    """Raises unless there are logits [K, N, C] for images [N, ...]."""
    if len(shape) != 3 or shape[1:] != (images[0], data.spec.num_classes):
        raise errors.InputError(
            f"The logits have the shape {tuple(shape)} for {images[0]} images of "
            f"{data.spec.num_classes} classes; pass [K, N, C] of K epochs, or [1, N, C]"
            " of a teacher without epochs."
        )
