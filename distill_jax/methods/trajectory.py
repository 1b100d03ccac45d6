# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that match trajectories of experts: MTT, FTD and TESLA.

What an option means stands with :func:`mtt` or, where other methods have it too, in
:data:`~distill_jax.methods.options.OPTIONS`; ``help(dj.methods.ftd)`` shows all.
"""

from distill_jax import base
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import ingredients, initial_examples, options
from distill_jax.methods import segment_parts as parts
from distill_jax.methods import segment_recipes as recipes
from distill_jax.transforms import bending, learned_rate

__all__ = ["ftd", "mtt", "tesla"]


@options.named_method
def mtt(
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
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    rate_learning_rate: float | None = None,
    initial_rate: float | None = None,
    rate_kind: learned_rate.Kind = "log",
    augmentation: str = "auto",
    estimator: unroll.Estimator = "exact",
    remat: unroll.Remat = "step",
    num_experts_per_step: int = 1,
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches the trajectories of experts in training (MTT).

    What is published stands in
    :data:`~distill_jax.methods.published_trajectories.TRAJECTORIES`, by data set and
    ``num_per_class``; elsewhere the nearest is taken, with a warning.

    Args:
      task: what the set is made for: a network without batch norm, a loss and the
        classes; its ``y`` are class probabilities.
      experts: how experts are trained, an :class:`~distill_jax.experts.ExpertPlan` or a
        mapping of its fields; by default ten, for as many epochs as are needed,
        of FTD and DATM ten that avoid sharpness (GSAM).
      buffer: folder of the experts, which are trained when the run starts, where they
        are not there yet; None keeps them in memory.
      num_student_steps: N, steps of the student on the pictures; published by default.
      num_expert_epochs: M, epochs of experts those are to equal; published by default.
      first_start: first epoch that students start from; published by default.
      last_start: students start from epochs below this one; published by default.
      batch_size: synthetic examples in a student's step; published by default, or all.
      learning_rate: learning rate of the pictures; published by default.
      momentum: momentum of the pictures and of the student's learning rate, from 0 to
        below 1.
      rate_kind: ``"log"`` learns the logarithm of the student's learning rate, which
        keeps it positive; ``"plain"`` the rate itself, as the papers do.
      augmentation: strategy string for the student's examples and the experts', drawn
        anew in every step: ``"none"``, operations such as ``"crop_rotate"``, or
        ``"auto"``: all of DSA, without ``flip`` for digits.
      estimator: ``"exact"``, the gradient through all of the student's steps, or
        ``"tesla"``, which holds its parameters constant inside each of its gradients.
      num_experts_per_step: experts that are matched in every step; the papers use 1.

    Returns:
      A :class:`~distill_jax.base.Recipe`. Its steps are refused where they are not
      finite.

    Raises:
      InputError: for an option out of its range, a window of starts beyond the experts'
        epochs, or experts in the folder that were trained otherwise.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = mtt(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, learning_rate=10.0, rate_learning_rate=1e-5,
      ...     initial_rate=0.1, batch_size=10, augmentation="none",
      ...     experts={"num_experts": 2})
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      George Cazenavette et al., "Dataset Distillation by Matching Training
      Trajectories", 2022, algorithm 1.
    """
    return recipes.segment_recipe(
        "mtt",
        task,
        ingredients.Shared(
            task, num_per_class, num_examples, initialisation, factor, protocol, bend
        ),
        parts.Paths(experts, buffer, num_experts_per_step),
        parts.Segments(num_student_steps, num_expert_epochs, first_start, last_start),
        parts.Student(batch_size, augmentation, estimator, remat),
        recipes.Descent(learning_rate, momentum),
        parts.LearnedRate(rate_learning_rate, initial_rate, rate_kind),
    )


@options.variant_of(mtt)
def ftd(
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
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    rate_learning_rate: float | None = None,
    initial_rate: float | None = None,
    rate_kind: learned_rate.Kind = "log",
    decay: float | None = None,
    augmentation: str = "auto",
    estimator: unroll.Estimator = "exact",
    remat: unroll.Remat = "step",
    num_experts_per_step: int = 1,
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches flat trajectories (FTD): :func:`mtt`, flat experts, averaged pictures.

    Args:
      decay: share of the old average in the moving average of the pictures, which is
        what is stored, from 0 to below 1; published by default.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> recipe = ftd(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, learning_rate=10.0, rate_learning_rate=1e-5,
      ...     initial_rate=0.1, decay=0.9)
      >>> recipe.experts.sharpness.alpha
      0.3

    Reference:
      Jiawei Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset
      Distillation", 2023.
    """
    return recipes.segment_recipe(
        "ftd",
        task,
        ingredients.Shared(
            task, num_per_class, num_examples, initialisation, factor, protocol, bend
        ),
        parts.Paths(experts, buffer, num_experts_per_step),
        parts.Segments(num_student_steps, num_expert_epochs, first_start, last_start),
        parts.Student(batch_size, augmentation, estimator, remat),
        recipes.Descent(learning_rate, momentum, decay),
        parts.LearnedRate(rate_learning_rate, initial_rate, rate_kind),
    )


@options.variant_of(mtt)
def tesla(
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
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    rate_learning_rate: float | None = None,
    initial_rate: float | None = None,
    rate_kind: learned_rate.Kind = "log",
    assigns_labels: bool = False,
    augmentation: str = "auto",
    estimator: unroll.Estimator = "tesla",
    remat: unroll.Remat = "step",
    num_experts_per_step: int = 1,
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches trajectories by a gradient that takes little memory (TESLA).

    It holds the student's parameters constant, which makes it biased for more than one
    step; ``estimator="exact"`` does without.

    Args:
      assigns_labels: whether the labels are those that the target network gives, as in
        the paper's runs on ImageNet.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> recipe = tesla(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, learning_rate=10.0, rate_learning_rate=1e-5,
      ...     initial_rate=0.1)
      >>> recipe.experts.num_epochs
      2

    Reference:
      Justin Cui et al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant
      Memory", 2023.
    """
    return recipes.segment_recipe(
        "tesla",
        task,
        ingredients.Shared(
            task, num_per_class, num_examples, initialisation, factor, protocol, bend
        ),
        parts.Paths(experts, buffer, num_experts_per_step),
        parts.Segments(num_student_steps, num_expert_epochs, first_start, last_start),
        parts.Student(batch_size, augmentation, estimator, remat, assigns_labels),
        recipes.Descent(learning_rate, momentum),
        parts.LearnedRate(rate_learning_rate, initial_rate, rate_kind),
    )
