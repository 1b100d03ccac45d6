# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The method that learns labels alone through the training of a network: label BPTT.

The images are real ones and stay as they are, so that what is gained is gained by
labels. What an option means stands with :func:`label_bptt` or, where other methods have
it too, in :data:`~distill_jax.methods.options.OPTIONS`.
"""

from collections.abc import Sequence
from typing import Literal

from distill_jax import base, errors, objectives, samplers
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import (
    ingredients,
    label_recipes,
    options,
    published_labels,
    segment_parts,
    unrolled_recipes,
)
from distill_jax.transforms import bending

__all__ = ["label_bptt"]


@options.named_method
def label_bptt(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    index: Sequence[int] | None = None,
    num_inner_steps: int | None = None,
    window: int | None = None,
    windows: Literal["random", "last", "forward"] = "random",
    batch_size: int = 1024,
    learning_rate: float | None = None,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    label_kind: label_recipes.Kind = "probabilities",
    is_normalized: bool | None = None,
    smoothing: float = 0.5,
    label_start: label_recipes.StartKind = "hard",
    label_epoch: int | None = None,
    experts: segment_parts.Experts = None,
    buffer: segment_parts.Folder = None,
    network_optimizer: unrolled_recipes.Optimizer = "adam",
    network_learning_rate: float = 1e-3,
    network_batch_size: int | None = None,
    num_networks: int = 1,
    augmentation: str = "none",
    clip: float | None = 2.0,
    decay: float | None = None,
    remat: unroll.Remat = "step",
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Learns the labels of real images through the training of a network (label BPTT).

    What is published stands in :data:`~distill_jax.methods.published_labels.LABELS`, by
    data set and ``num_per_class``; elsewhere the nearest is taken, with a warning.

    Args:
      index: positions of the images in the training split, class-major; by default
        random ones, those of fewer images among those of more.
      num_inner_steps: T, steps of the longest training of a network, by which the set
        is judged too; published by default.
      window: W, how many of them are differentiated; published by default.
      windows: which: ``"random"``, after t0 others, t0 drawn from 0 to T - W in every
        step of the run; the ``"last"``; or ``"forward"``, from the first to the last
        in the ``num_steps`` of the run.
      batch_size: real examples on which the trained network is judged in a step.
      learning_rate: learning rate of Adam for the labels; published by default.
      label_kind: how labels are parametrised: ``"probabilities"``, numbers that stay at
        0 or above; ``"logits"``; or ``"simplex"``, clipped and divided by their sum
        after every step.
      is_normalized: whether labels sum to one; by default probabilities do not, so that
        the sum of a label weighs its example, and the others do.
      smoothing: of ``"logits"`` alone: the share of the labels that is spread over all
        classes at the start.
      label_start: the labels at the start: ``"hard"``, ``"uniform"``, or those of
        ``"experts"``.
      label_epoch: completed epochs of the experts whose labels these start as; the last
        by default.
      experts: how such experts are trained, an
        :class:`~distill_jax.experts.ExpertPlan` or a mapping of its fields; by default
        ten, up to ``label_epoch`` or for 20 epochs.
      buffer: folder of such experts; None keeps them in memory.
      network_optimizer: of the networks: ``"adam"``, or ``"sgd"`` with momentum 0.9.
      num_networks: fresh networks of each step, over which the loss is averaged.
      augmentation: strategy string of what is drawn anew in each inner step and in the
        evaluation: ``"none"``, operations such as ``"crop_rotate"``, or ``"auto"``:
        all of DSA, without ``flip`` for digits.
      decay: share of the old average in a moving average of the labels, which is then
        what is stored, from 0 to below 1; None stores the last ones.
      protocol: how a network is trained on the result to judge it, a
        :class:`~distill_jax.evaluation.Protocol`; by default the training that was
        unrolled.

    Raises:
      InputError: for a window longer than the training, an unknown kind or start, or
        another option out of its range.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = label_bptt(
      ...     task, num_per_class=1, num_inner_steps=6, window=2, learning_rate=0.01,
      ...     batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> sorted(state.latent.learned), recipe.protocol.label_mass
      (['y'], 'free')

    Reference:
      Tian Qin, Zhiwei Deng, David Alvarez-Melis, "A Label is Worth a Thousand Images in
      Dataset Distillation", 2024, section 5; Yunzhen Feng, Ramakrishna Vedantam, Julia
      Kempe, "Embarrassingly Simple Dataset Distillation", 2023.
    """
    shared = ingredients.Shared(
        task, num_per_class, num_examples, protocol=protocol, bend=bend
    )
    shared.check_classes("Labels that are learned alone are class probabilities")
    settings = _published(
        shared,
        num_inner_steps=num_inner_steps,
        window=window,
        learning_rate=learning_rate,
    )
    learning = label_recipes.Learning(
        label_kind,
        is_normalized,
        smoothing,
        settings.learning_rate,
        num_steps,
        final_rate,
        clip,
        decay,
    )
    decoder, optimizer = label_recipes.learned(shared, learning)
    unrolling = unrolled_recipes.Unrolling(
        _windows(windows, num_steps),
        settings.num_inner_steps,
        settings.window,
        augmentation,
        remat,
        num_networks,
    )
    student = unrolled_recipes.Student(
        network_optimizer, network_learning_rate, network_batch_size
    )
    method = shared.distill(
        unrolled_recipes.training_objective(
            task, unrolling, student, probes=shared.probes
        ),
        optimizer,
        decoder=decoder,
    )
    recipe = shared.recipe(
        method,
        samplers.uniform(batch_size),
        protocol=unrolled_recipes.training_protocol(task, unrolling, student),
    )
    start = label_recipes.Start(label_start, index, label_epoch, experts, buffer)
    return label_recipes.finished(recipe, shared, learning, start)


def _published(shared: ingredients.Shared, **chosen) -> published_labels.Row:
    """The settings that were chosen, and the published ones for the others."""
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if len(chosen) == 3:
        return published_labels.Row(**chosen)
    settings = published_labels.label_row(shared.task, shared.num_of_each)
    return settings._replace(**chosen)


def _windows(windows: str, num_steps: int | None) -> objectives.Windows:
    """Windows as the objective takes them."""
    if windows != "forward":
        return windows  # pyright: ignore[reportReturnType]
    if num_steps is None:
        raise errors.InputError(
            'Windows that move "forward" do so in the steps of the run; pass '
            "`num_steps`, the length of it."
        )
    return objectives.Forward(num_steps)
