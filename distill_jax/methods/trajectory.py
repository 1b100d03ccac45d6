# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that match trajectories of experts: MTT, FTD, TESLA and DATM."""

from distill_jax import base
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import initial_examples, segment_recipes
from distill_jax.methods.segment_recipes import Experts, Folder
from distill_jax.transforms import learned_rate

__all__ = ["datm", "ftd", "mtt", "tesla"]


def mtt(
    task: base.Task,
    *,
    num_per_class: int,
    experts: Experts = None,
    buffer: Folder = None,
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
) -> base.Recipe:
    """Matching training trajectories (MTT).

    Everything that is None is as published for the data set and ``num_per_class``, or
    with a warning as for the nearest that was.

    Args:
      task: a task whose ``y`` are class probabilities, of a network without batch norm.
      num_per_class: stored pictures of each class.
      experts: how experts are trained, as an :class:`~distill_jax.experts.ExpertPlan`
        or a mapping of its fields; by default ten, for as many epochs as are needed.
      buffer: the folder of the experts; they are trained when the run starts, where
        they are not there yet. None keeps them in memory.
      num_student_steps: N, steps of the student on the pictures.
      num_expert_epochs: M, epochs of the experts that they are to equal.
      first_start: the first epoch of an expert that a student may start from.
      last_start: such epochs are below this one.
      batch_size: synthetic examples in a step of the student.
      learning_rate: of the pictures.
      momentum: of the pictures and of the student's learning rate.
      rate_learning_rate: of the student's learning rate as it stands. With
        ``rate_kind="log"`` the logarithm's is that over ``initial_rate`` squared, which
        starts with steps of the same size.
      initial_rate: the student's learning rate at the start.
      rate_kind: ``"log"`` keeps that rate positive; ``"plain"`` is the papers'.
      augmentation: of the student's examples and of the experts', drawn anew in every
        step: a strategy string, ``"none"``, or ``"auto"``: all of DSA, without
        ``flip`` for digits.
      estimator: see :func:`~distill_jax.objectives.trajectory_matching`.
      remat: see :mod:`distill_jax.inner.unroll`.
      num_experts_per_step: experts that are matched in every step; the papers use 1.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples.
      protocol: how the result is judged; the paper's by default.

    Returns:
      A :class:`~distill_jax.base.Recipe`. Steps that are not finite are refused.

    Raises:
      InputError: for rates and counts that are not positive, a window of starts beyond
        the experts' epochs, or experts in the folder that are others.

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
    return segment_recipes.segment_recipe("mtt", **locals())


def ftd(
    task: base.Task,
    *,
    num_per_class: int,
    experts: Experts = None,
    buffer: Folder = None,
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
) -> base.Recipe:
    """Flat trajectories (FTD): experts in flat minima, and averaged pictures.

    Args:
      task: see :func:`mtt`, as for all that is not named here.
      num_per_class: see :func:`mtt`.
      experts: see :func:`mtt`; by default they avoid sharpness (GSAM).
      buffer: see :func:`mtt`.
      num_student_steps: see :func:`mtt`.
      num_expert_epochs: see :func:`mtt`.
      first_start: see :func:`mtt`.
      last_start: see :func:`mtt`.
      batch_size: see :func:`mtt`.
      learning_rate: see :func:`mtt`.
      momentum: see :func:`mtt`.
      rate_learning_rate: see :func:`mtt`.
      initial_rate: see :func:`mtt`.
      rate_kind: see :func:`mtt`.
      decay: of the moving average of the pictures, which is what is stored.
      augmentation: see :func:`mtt`.
      estimator: see :func:`mtt`.
      remat: see :func:`mtt`.
      num_experts_per_step: see :func:`mtt`.
      initialisation: see :func:`mtt`.
      factor: see :func:`mtt`.
      protocol: see :func:`mtt`.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`mtt`; and for a decay outside [0, 1).

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = ftd(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, learning_rate=10.0, rate_learning_rate=1e-5, decay=0.9,
      ...     initial_rate=0.1, batch_size=10, augmentation="none",
      ...     experts={"num_experts": 2})
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Jiawei Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset
      Distillation", 2023.
    """
    return segment_recipes.segment_recipe("ftd", **locals())


def tesla(
    task: base.Task,
    *,
    num_per_class: int,
    experts: Experts = None,
    buffer: Folder = None,
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
) -> base.Recipe:
    """Trajectory matching with the gradient of TESLA.

    That gradient holds the student's parameters constant, which makes it biased for
    more than one step; ``estimator="exact"`` gives the gradient without that.

    Args:
      task: see :func:`mtt`, as for all that is not named here.
      num_per_class: see :func:`mtt`.
      experts: see :func:`mtt`.
      buffer: see :func:`mtt`.
      num_student_steps: see :func:`mtt`.
      num_expert_epochs: see :func:`mtt`.
      first_start: see :func:`mtt`.
      last_start: see :func:`mtt`.
      batch_size: see :func:`mtt`.
      learning_rate: see :func:`mtt`.
      momentum: see :func:`mtt`.
      rate_learning_rate: see :func:`mtt`.
      initial_rate: see :func:`mtt`.
      rate_kind: see :func:`mtt`.
      assigns_labels: whether the labels are those that the target network gives, as in
        the paper's runs on ImageNet.
      augmentation: see :func:`mtt`.
      estimator: see :func:`mtt`.
      remat: see :func:`mtt`.
      num_experts_per_step: see :func:`mtt`.
      initialisation: see :func:`mtt`.
      factor: see :func:`mtt`.
      protocol: see :func:`mtt`.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`mtt`.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = tesla(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, learning_rate=10.0, rate_learning_rate=1e-5,
      ...     initial_rate=0.1, batch_size=10, augmentation="none",
      ...     experts={"num_experts": 2}, assigns_labels=True)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).y.shape
      (10, 10)

    Reference:
      Justin Cui et al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant
      Memory", 2023.
    """
    return segment_recipes.segment_recipe("tesla", **locals())


def datm(
    task: base.Task,
    *,
    num_per_class: int,
    experts: Experts = None,
    buffer: Folder = None,
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
) -> base.Recipe:
    """Difficulty-aligned trajectories (DATM): a moving window and learned soft labels.

    Pictures start as real ones that experts classify correctly, labels as the mean
    logits of those experts.

    Args:
      task: see :func:`mtt`, as for all that is not named here.
      num_per_class: see :func:`mtt`.
      experts: see :func:`mtt`; by default they avoid sharpness (GSAM).
      buffer: see :func:`mtt`.
      num_student_steps: see :func:`mtt`.
      num_expert_epochs: see :func:`mtt`.
      first_start: see :func:`mtt`.
      last_start: see :func:`mtt`.
      window: (T0, K): students start below T0 at first, and below ``last_start`` after
        K steps; from the published settings where all others are too.
      batch_size: see :func:`mtt`.
      learning_rate: see :func:`mtt`.
      momentum: see :func:`mtt`.
      label_learning_rate: of the label logits.
      label_momentum: of the label logits.
      rate_learning_rate: see :func:`mtt`.
      initial_rate: see :func:`mtt`.
      rate_kind: see :func:`mtt`.
      threshold: steps with a larger loss are refused; 1, and 1.1 at one per class.
      augmentation: see :func:`mtt`.
      estimator: see :func:`mtt`.
      remat: see :func:`mtt`.
      num_experts_per_step: see :func:`mtt`.
      protocol: see :func:`mtt`.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`mtt`.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = datm(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, window=(1, 2), learning_rate=10.0, initial_rate=0.1,
      ...     rate_learning_rate=1e-5, label_learning_rate=1.0, batch_size=10,
      ...     augmentation="none", experts={"num_experts": 2})
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).y.shape
      (10, 10)

    Reference:
      Ziyao Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned
      Trajectory Matching", 2024.
    """
    if threshold is None:
        threshold = 1.1 if num_per_class == 1 else 1.0
    return segment_recipes.segment_recipe("datm", **locals())
