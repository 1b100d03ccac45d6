# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trajectories as difficult as the size of the set allows: DATM."""

from distill_jax import base
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import ingredients, options, trajectory
from distill_jax.methods import segment_parts as parts
from distill_jax.methods import segment_recipes as recipes
from distill_jax.transforms import bending, learned_rate

__all__ = ["datm"]


@options.variant_of(trajectory.mtt)
def datm(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    experts: parts.Experts = None,
    buffer: parts.Folder = None,
    num_student_steps: int | None = None,
    num_expert_epochs: int | None = None,
    first_start: int | None = None,
    last_start: int | None = None,
    window: tuple[int, int] | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    label_learning_rate: float | None = None,
    label_momentum: float = 0.9,
    rate_learning_rate: float | None = None,
    initial_rate: float | None = None,
    rate_kind: learned_rate.Kind = "log",
    threshold: float | None = None,
    augmentation: str = "auto",
    estimator: unroll.Estimator = "exact",
    remat: unroll.Remat = "step",
    num_experts_per_step: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches trajectories in a window that moves, with learned soft labels (DATM).

    Pictures start as real ones that experts classify correctly, labels as the mean
    logits of those experts, which avoid sharpness as in
    :func:`~distill_jax.methods.ftd`. Their last epoch is asked, which may lie far
    behind the starts: the paper's experts have 100, those that are trained where
    ``experts`` does not say otherwise end with the last segment.

    Args:
      window: ``(T0, K)``: students start below epoch T0 at first, and below
        ``last_start`` after K steps; published by default, and none where
        ``last_start`` or all other settings are chosen.
      label_learning_rate: learning rate of the label logits; published by default.
      label_momentum: momentum of the label logits, from 0 to below 1.
      threshold: steps with a larger loss are refused; by default 1, and 1.1 at one
        picture per class of CIFAR-10.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = datm(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, window=(1, 2), learning_rate=10.0, initial_rate=0.02,
      ...     rate_learning_rate=1e-5, label_learning_rate=1.0, batch_size=10,
      ...     augmentation="none", experts={"num_experts": 2})
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).y.shape
      (10, 10)

    Reference:
      Ziyao Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned
      Trajectory Matching", 2024.
    """
    options.check_momentum(label_momentum=label_momentum)
    if threshold is None:
        is_exception = num_per_class == 1 and task.facts.data_name == "cifar10"
        threshold = 1.1 if is_exception else 1.0
    shared = ingredients.Shared(
        task, num_per_class, num_examples, protocol=protocol, bend=bend
    )
    shared.check_classes("DATM learns the logits of classes")
    return recipes.segment_recipe(
        "datm",
        task,
        shared,
        parts.Paths(experts, buffer, num_experts_per_step),
        parts.Segments(
            num_student_steps, num_expert_epochs, first_start, last_start, window
        ),
        parts.Student(batch_size, augmentation, estimator, remat),
        recipes.Descent(learning_rate, momentum),
        parts.LearnedRate(rate_learning_rate, initial_rate, rate_kind),
        labels=recipes.Labels(label_learning_rate, label_momentum),
        threshold=threshold,
    )
