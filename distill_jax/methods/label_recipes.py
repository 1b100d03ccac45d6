# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the methods share that learn labels alone: how these move, where they start.

    hard      y = e_c of the class c of the image
    uniform   y = 1/C
    experts   y = softmax( mean_s f_{theta_s,e}(x) ) over the experts s, after epoch e

The images are real ones, and stay as they are. Qin, Deng, Alvarez-Melis, "A Label is
Worth a Thousand Images in Dataset Distillation", 2024, section 5.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from distill_jax import base, data, errors, experts, labels, transforms
from distill_jax.methods import ingredients, initial_examples, segment_parts
from distill_jax.transforms import soft_labels
from distill_jax.types import Array, Key

__all__ = ["Learning", "Start", "finished", "initial_fn", "learned"]

Kind = Literal["probabilities", "logits", "simplex"]
StartKind = Literal["hard", "uniform", "experts"]
BufferOf = Callable[[data.Dataset], experts.Buffer]


class Learning(NamedTuple):
    """How labels are parametrised, and how they move."""

    kind: Kind
    is_normalized: bool | None
    smoothing: float  # of the start of logits
    learning_rate: float
    num_steps: int | None = None
    final_rate: float = 1.0
    clip: float | None = None
    decay: float | None = None


class Start(NamedTuple):
    """The images, and what their labels are before they are learned."""

    kind: StartKind
    rows: Sequence[int] | None = None  # of the images in the training split
    epoch: int | None = None  # of the experts
    experts: segment_parts.Experts = None
    buffer: segment_parts.Folder = None


def learned(
    shared: ingredients.Shared, learning: Learning
) -> tuple[base.Decoder, dict[str, optax.GradientTransformation]]:
    """Makes the decoder that learns labels alone, and their optimiser.

    Args:
      shared: the options that all named methods have.
      learning: how labels are parametrised, and how they move.

    Returns:
      The decoder, whose images are fixed, and a mapping with one optimiser.

    Raises:
      InputError: when labels are not classes', for an unknown kind, or a smoothing or
        mass that it cannot have.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> _, optimizer = learned(
      ...     ingredients.Shared(task, 1), Learning("logits", None, 0.5, 0.1))
      >>> sorted(optimizer)
      ['y_logits']
    """
    shared.check_classes("Labels that are learned alone are class probabilities")
    known = ("probabilities", "logits", "simplex")
    if learning.kind not in known:
        hint = errors.nearest(str(learning.kind), known)
        raise errors.InputError(
            f'There is no kind "{learning.kind}" of labels that are learned alone. '
            f"{hint}"
        )
    decoder = transforms.learn_labels(
        shared.decoder(),
        kind=learning.kind,
        smoothing=learning.smoothing if learning.kind == "logits" else None,
        is_normalized=learning.is_normalized,
    )
    before = []
    if learning.clip is not None:
        before = [transforms.clip_by_average_norm(learning.clip)]
    rates = ingredients.cosine(
        learning.learning_rate, learning.num_steps, learning.final_rate
    )
    after = {
        "probabilities": [optax.keep_params_nonnegative()],
        "simplex": [transforms.keep_on_simplex()],
        "logits": [],
    }[learning.kind]
    name = "y_logits" if learning.kind == "logits" else "y"
    optimizer = optax.chain(*before, optax.adam(rates), *after)
    return transforms.fix_inputs(decoder), {name: optimizer}


def finished(
    recipe: base.Recipe,
    shared: ingredients.Shared,
    learning: Learning,
    start: Start,
    buffer_of: BufferOf | None = None,
) -> base.Recipe:
    """Gives a recipe the start of its labels, their average, and what their mass means.

    Args:
      recipe: of a method that learns labels alone.
      shared: the options that all named methods have.
      learning: how labels are parametrised, and how they move.
      start: the images, and the labels at the start.
      buffer_of: the experts of a data set, where the method has some.

    Returns:
      The recipe.

    Raises:
      InputError: for an unknown start, or options of experts that it does not have.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> shared = ingredients.Shared(task, 1)
      >>> learning = Learning("probabilities", None, 0.5, 0.1)
      >>> recipe = dj.methods.dm(task, num_per_class=1)
      >>> finished(recipe, shared, learning, Start("hard")).protocol.label_mass
      'free'
    """
    has_experts = buffer_of is not None
    _check_start(start, has_experts)
    if start.kind == "experts" and buffer_of is None:
        buffer_of = _buffer_of(shared.task, start)
    if learning.decay is not None:
        averaged = transforms.moving_average(recipe.method, learning.decay)
        recipe = recipe._replace(method=averaged)
    normal = soft_labels.is_normal(learning.kind, learning.is_normalized)
    protocol = dataclasses.replace(
        recipe.protocol, label_mass="one" if normal else "free"
    )
    return recipe._replace(
        protocol=protocol,
        initial_fn=initial_fn(shared, learning, start, buffer_of),
    )


def initial_fn(
    shared: ingredients.Shared,
    learning: Learning,
    start: Start,
    buffer_of: BufferOf | None = None,
) -> Callable[[Key, data.Dataset], base.Examples]:
    """Makes the function that draws the images, and labels them as they start.

    Draws of one key are nested: those of fewer images of a class are among those of
    more.

    Args:
      shared: the options that all named methods have.
      learning: how labels are parametrised.
      start: the images, and the labels at the start.
      buffer_of: the experts of a data set, where they label.

    Returns:
      A function ``(key, data set) -> Examples`` of M class-major rows.

    Raises:
      InputError: from the function, when the images do not fit, or an epoch of experts
        was not kept.

    Example:
      >>> import distill_jax as dj, jax
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> draw = initial_fn(
      ...     ingredients.Shared(task, 2), Learning("simplex", None, 0.5, 0.1),
      ...     Start("uniform"))
      >>> draw(jax.random.key(0), digits).y[0, :2].tolist()
      [0.10000000149011612, 0.10000000149011612]
    """
    number = shared.num_of_each
    if start.rows is None:
        images_fn = initial_examples.initial_fn("real", number)
    else:
        images_fn = initial_examples.chosen_fn(start.rows, number)

    def draw(key: Key, dataset: data.Dataset) -> base.Examples:
        examples = images_fn(key, dataset)
        y = examples.y
        if start.kind == "uniform":
            y = jnp.full_like(y, 1 / y.shape[-1])
        elif buffer_of is not None and start.kind == "experts":
            y = _expert_labels(shared.task, buffer_of(dataset), start.epoch, examples.x)
        if learning.kind == "logits":
            soft_labels.warn_if_saturated(y, learning.smoothing)
        return examples._replace(y=y)

    return draw


def _expert_labels(
    task: base.Task, buffer: experts.Buffer, epoch: int | None, x: Any
) -> Array:
    """Labels [M, C] of all experts together after one of their epochs."""
    epoch = buffer.plan.kept()[-1] if epoch is None else epoch
    logits = buffer.logits(task, x, epochs=[epoch])[:, 0]
    return jnp.asarray(np.asarray(labels.ensemble_logits(logits)))


def _buffer_of(task: base.Task, start: Start) -> BufferOf:
    """The experts of a method that needs them for the start alone."""
    usual = {"num_epochs": 20 if start.epoch is None else start.epoch}
    plan = segment_parts.expert_plan(start.experts, usual)
    return segment_parts.remembered(plan, task, start.buffer)


def _check_start(start: Start, has_experts: bool) -> None:
    known = ("hard", "uniform", "experts")
    if start.kind not in known:
        hint = errors.nearest(str(start.kind), known)
        raise errors.InputError(
            f'Labels cannot start as "{start.kind}" (`label_start`). {hint}'
        )
    if start.kind == "experts":
        return
    chosen = {"label_epoch": start.epoch}
    if not has_experts:
        chosen |= {"experts": start.experts, "buffer": start.buffer}
    for name, value in chosen.items():
        if value is not None:
            raise errors.InputError(
                f"`{name}` is {value!r}, but labels start {start.kind}, and no expert "
                'is asked for them; pass `label_start="experts"`, or leave it out.'
            )
