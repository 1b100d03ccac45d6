# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Soft labels: what an expert, stopped after some of its epochs, says of an image.

    y(x) = softmax( f_{theta_e}(x) )

with theta_e the network after e epochs of training on the real data. Labels of early
epochs are soft and suit few images; later ones are nearly hard and suit more. An epoch
alone says little, since it depends on the learning rate, so the expert's accuracy and
the entropy of its labels are measured at every epoch.

Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset Distillation",
2024.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors, experts
from distill_jax import data as data_lib
from distill_jax.compute import programs
from distill_jax.training import loop
from distill_jax.types import Array, Key

__all__ = ["ExpertLabels", "epoch_grid", "expert_labels"]

_NUM_EPOCHS_TRIED = 6


class ExpertLabels(NamedTuple):
    """Labels of images by one expert after each of several epochs."""

    labels: Array  # [T, ..., C] probabilities, of T epochs
    epochs: tuple[int, ...]  # [T] in ascending order
    appraisal: experts.Appraisal  # [E + 1] on the validation split, after every epoch
    compile_seconds: float  # 0 where the program was compiled before
    run_seconds: float


def expert_labels(
    key: Key,
    task: base.Task,
    dataset: data_lib.Dataset,
    training: experts.Training,
    images: Any,
    *,
    epochs: Sequence[int] | None = None,
    allow_diverged: bool = False,
) -> ExpertLabels:
    """Trains an expert on the training split and lets it label images.

    A second call with the same task and training and as many images compiles nothing.

    Args:
      key: of everything random.
      task: a classification task; the expert learns with ``"probabilities"`` as targets
        whatever those of the task are.
      dataset: its training split is learned, its validation split judged on.
      training: of the expert, for E epochs.
      images: [..., H, W, channels] raw inputs as the data set has them, such as
        ``dataset.train.x[index]``; any number of leading axes.
      epochs: T numbers of completed epochs, from 0 (untrained) to E, after which the
        expert labels; by default as :func:`epoch_grid` spaces them.
      allow_diverged: whether labels that are not finite are given back, where they
        would end in an error.

    Returns:
      :class:`ExpertLabels`: labels [T, ..., C] with the leading axes of the images,
      each a distribution over the C classes.

    Raises:
      InputError: when an epoch is outside the training, or the images have another
        shape than the data set.
      DivergedError: when labels are not finite, since the training diverged.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> soft = dj.labels.expert_labels(
      ...     jax.random.key(0), task, data,
      ...     dj.experts.Training(num_epochs=4, learning_rate=0.1),
      ...     data.train.x[:5], epochs=[1, 4])
      >>> soft.labels.shape, soft.epochs, soft.appraisal.entropy.shape
      ((2, 5, 10), (1, 4), (5,))

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024, section 3.
    """
    grid = tuple(epoch_grid(training.num_epochs, epochs))
    shape = tuple(dataset.spec.shape)
    leading = _leading_axes(np.shape(images), shape)
    source, judge = (
        data_lib.to_source(dataset, split) for split in ("train", "validation")
    )
    outcome = programs.call(
        _labelling_program,
        task,
        (training, grid),
        key,
        source,
        judge,
        jnp.asarray(images).reshape(-1, *shape),
    )
    appraisal, labels = jax.device_get(outcome.value)
    if not allow_diverged:
        _check_finite(labels, grid)
    return ExpertLabels(
        labels=labels.reshape(len(grid), *leading, labels.shape[-1]),
        epochs=grid,
        appraisal=appraisal,
        compile_seconds=outcome.compile_seconds,
        run_seconds=outcome.run_seconds,
    )


def epoch_grid(num_epochs: int, epochs: Sequence[int] | None = None) -> list[int]:
    """The epochs after which an expert is asked for labels, in ascending order.

    Args:
      num_epochs: E, for how many it is trained.
      epochs: the wanted ones; by default at most six from 1 to E, evenly spaced in
        their logarithm.

    Returns:
      Numbers of completed epochs, each once.

    Raises:
      InputError: when there are none, or one is outside the training.

    Example:
      >>> epoch_grid(40), epoch_grid(40, [8, 2, 8])
      ([1, 2, 4, 9, 19, 40], [2, 8])
    """
    if epochs is None:
        spaced = np.geomspace(1, max(num_epochs, 1), _NUM_EPOCHS_TRIED).round()
        epochs = [min(int(epoch), num_epochs) for epoch in spaced]
    grid = sorted(set(epochs))
    if not grid or grid[0] < 0 or grid[-1] > num_epochs:
        raise errors.InputError(
            f"The expert is to be asked after the epochs {grid}, but it is trained "
            f"for {num_epochs}; name epochs from 0 to {num_epochs}."
        )
    return grid


def _labelling_program(task, training, epochs):
    """(key, source, validation source, images) -> appraisal, labels [T, N, C]."""
    task = task.retarget("probabilities")

    def program(key, source, judge, images):
        expert, context = experts.train_learner(key, task, source, training)
        appraisal = experts.appraise(
            task,
            expert,
            judge.x,
            judge.y,
            normalizer=judge.normalizer,
            context=context,
        )

        def label(variables):
            logits = loop.predict_logits(
                task,
                variables,
                images,
                normalizer=source.normalizer,
                context=context,
            )
            return jax.nn.softmax(logits)

        chosen = experts.at_epoch(expert, np.array(epochs))
        return appraisal, jax.lax.map(label, chosen)

    return program


def _check_finite(labels: np.ndarray, epochs: tuple[int, ...]) -> None:
    """Raises for labels [T, N, C] of an expert that diverged."""
    for epoch, label in zip(epochs, labels, strict=True):
        if not np.isfinite(label).all():
            raise errors.DivergedError(
                f"The labels of the expert are not finite after epoch {epoch}, since "
                "its training diverged; lower its learning rate, or ask it earlier."
            )


def _leading_axes(shape: tuple[int, ...], example: tuple[int, ...]) -> tuple[int, ...]:
    """The axes before those of an example."""
    num_leading = len(shape) - len(example)
    if num_leading < 1 or shape[num_leading:] != example:
        raise errors.InputError(
            f"The images have the shape {shape}, but one example of the data set has "
            f"{example}; pass any number of them, as {('number', *example)}."
        )
    return shape[:num_leading]
