# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where DATM starts: real pictures that experts agree on, with their mean logits.

    y_logits(x) = mean of f_e(x) over the experts e that classify x correctly

Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory
Matching", 2024; by its released code.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, data, experts
from distill_jax.training import loop
from distill_jax.types import Array, Key

__all__ = ["agreed_examples", "agreed_logits"]


def agreed_examples(
    task: base.Task,
    num_per_class: int,
    buffer_of: Callable[[data.Dataset], experts.Buffer],
    *,
    start: Literal["agreed", "real"] = "agreed",
) -> Callable[[Key, data.Dataset], base.Examples]:
    """Makes the function that draws such examples.

    Args:
      task: of the experts.
      num_per_class: examples of each class.
      buffer_of: the experts for a data set; their last epoch is asked.
      start: ``"real"`` for any real pictures with the logits of the first expert, as
        the released code has it for 50 of each class of CIFAR-100.

    Returns:
      A function ``(key, data set) -> Examples`` whose ``y`` are logits. Where an expert
      classifies too few pictures of a class correctly, the next one's are taken too,
      and at last any.

    Example:
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> plan = experts.ExpertPlan(num_experts=2, num_epochs=2)
      >>> buffer_of = lambda dataset: experts.make_buffer(plan, task, dataset)
      >>> initial = agreed_examples(task, 3, buffer_of)(jax.random.key(0), digits)
      >>> initial.x.shape, initial.y.shape
      ((30, 8, 8, 1), (30, 10))
    """

    def draw(key: Key, dataset: data.Dataset) -> base.Examples:
        spec = dataset.spec
        data.check_num_per_class(dataset, num_per_class)
        buffer = buffer_of(dataset)
        x, classes = dataset.train.x, np.asarray(dataset.train.y)
        logits_of = jax.jit(
            lambda variables, context, x: loop.predict_logits(
                task, variables, x, normalizer=spec.normalizer, context=context
            )
        )
        last = buffer.plan.kept()[-1]
        ask = lambda expert, x: np.asarray(
            logits_of(
                buffer.at(expert, last), buffer.context_of(expert), jnp.asarray(x)
            )
        )
        num_experts = len(buffer.snapshots) if start == "agreed" else 0
        rows = _choose(
            key, classes, num_per_class, spec.num_classes, num_experts, ask, x
        )
        said = np.stack([ask(expert, x[rows]) for expert in range(max(num_experts, 1))])
        if start == "agreed":
            y = agreed_logits(jnp.asarray(said), jnp.asarray(classes[rows]))
        else:
            y = jnp.asarray(said[0])
        return base.Examples(
            x=data.normalize(spec.normalizer, jnp.asarray(x[rows])),
            y=y,
            group=jnp.asarray(classes[rows]),
        )

    return draw


def agreed_logits(logits: Array, classes: Array) -> Array:
    """The mean logits of the experts that are right.

    Args:
      logits: [E, M, C].
      classes: [M].

    Returns:
      [M, C]. Where none is right: the mean over all experts, in which the class and
      the one that they take it for change places.

    Example:
      >>> logits = jnp.array([[[2.0, 0.0]], [[0.0, 1.0]], [[4.0, 1.0]]])
      >>> agreed_logits(logits, jnp.array([0])).tolist()
      [[3.0, 0.5]]
      >>> agreed_logits(logits[:1], jnp.array([1])).tolist()
      [[0.0, 2.0]]
    """
    is_right = (logits.argmax(axis=-1) == classes[None]).astype(logits.dtype)
    weight = jnp.where(is_right.sum(axis=0) > 0, is_right, 1.0)[..., None]
    mean = (weight * logits).sum(axis=0) / weight.sum(axis=0)
    rows, taken_for = jnp.arange(len(classes)), mean.argmax(axis=-1)
    own, largest = mean[rows, classes], mean[rows, taken_for]
    return mean.at[rows, taken_for].set(own).at[rows, classes].set(largest)


def _choose(
    key, classes, num_per_class, num_classes, num_experts, ask, x
) -> np.ndarray:
    """Positions [M], class-major, of pictures that some expert classifies correctly."""
    order = np.asarray(jax.random.permutation(key, len(classes)))
    chosen: list[list[int]] = [[] for _ in range(num_classes)]
    for expert in range(num_experts + 1):
        is_right = np.ones(len(classes), bool)  # At last any picture will do.
        if expert < num_experts:
            is_right = ask(expert, x).argmax(axis=1) == classes
        for row in order[is_right[order]]:
            mine = chosen[classes[row]]
            if len(mine) < num_per_class and row not in mine:
                mine.append(int(row))
        if min(map(len, chosen)) == num_per_class:
            break
    return np.concatenate(chosen)
