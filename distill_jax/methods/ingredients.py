# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What recipes are made from: the options all methods have, sources, schedules."""

import dataclasses
from collections.abc import Callable
from typing import Any

import optax

from distill_jax import base, bilevel, data, transforms
from distill_jax.augmentation import drawing, policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import initial_examples
from distill_jax.transforms import bending, composition

__all__ = ["Shared", "class_source", "cosine", "is_digits", "strategy"]

_DSA = "color_crop_cutout_flip_scale_rotate"
# Mirrored, these are other signs or none.
_WITHOUT_FLIP = ("digits", "digits100", "mnist", "svhn", "usps", "kmnist")


@dataclasses.dataclass(frozen=True)
class Shared:
    """The options that every named method has, and what they decide.

    An option that all methods are to have is a field here, is used in one of these
    functions, and is explained in :data:`~distill_jax.methods.options.OPTIONS`.

    Example:
      >>> Shared(num_per_class=2, factor=3).num_examples_per_class
      18
    """

    num_per_class: int
    initialisation: initial_examples.Initialisation = "real"
    factor: int = 1
    protocol: protocols.Protocol | None = None
    bend: bending.Bends = None

    @property
    def num_examples_per_class(self) -> int:
        """The examples of each class that the stored pictures decode into."""
        return self.num_per_class * self.factor**2

    @property
    def probes(self) -> tuple[str, ...]:
        """The probes that the functions of `bend` read."""
        return bending.wanted(self.bend)

    def decoder(self) -> base.Decoder:
        """The decoder of pictures that stand for ``factor^2`` examples each."""
        plain = composition.plain_decoder()
        if self.factor == 1:
            return plain
        return transforms.factorise(plain, factor=self.factor)

    def distill(
        self,
        objective: base.Objective,
        optimizer: bilevel.Optimizer,
        *,
        decoder: base.Decoder | None = None,
    ) -> base.Method:
        """Lowers an objective, bent, by the decoder of these options or one from it."""
        return bilevel.distill(
            bending.bend(objective, self.bend),
            decoder=decoder or self.decoder(),
            optimizer=optimizer,
        )

    def recipe(
        self,
        method: base.Method,
        sampler: base.Sampler,
        *,
        protocol: protocols.Protocol,
        source_fn: Callable[[data.Dataset], Any] = data.to_source,
    ) -> base.Recipe:
        """The recipe of a method; ``protocol`` is that of its paper."""
        return base.Recipe(
            method=method,
            sampler=sampler,
            initial_fn=initial_examples.initial_fn(
                self.initialisation, self.num_examples_per_class
            ),
            source_fn=source_fn,
            protocol=self.protocol or protocol,
        )


def class_source(dataset: data.Dataset) -> base.Source:
    """The data set on the device, for methods that match class by class.

    Args:
      dataset: a data set.

    Raises:
      InputError: when a class has no training example.

    Example:
      >>> import distill_jax as dj
      >>> class_source(dj.data.load("digits")).count.shape
      (10,)
    """
    data.check_num_per_class(
        dataset.train.y, 1, dataset.spec.num_classes, "the training set"
    )
    return data.to_source(dataset)


def cosine(rate: float, num_steps: int | None, final_rate: float) -> optax.Schedule:
    """A learning rate that falls by a cosine over a run.

    Args:
      rate: at the start.
      num_steps: length of the run; the rate is constant where None.
      final_rate: the rate at the end, as a share of that at the start.

    Example:
      >>> float(cosine(0.5, 10, 0.5)(10))
      0.25
    """
    if num_steps is None:
        return optax.constant_schedule(rate)
    return optax.cosine_decay_schedule(rate, num_steps, final_rate)


def strategy(task: base.Task, augmentation: str) -> str:
    """The augmentation of a method, where ``"auto"`` is the published one for the data.

    Args:
      task: its facts may name the data set and the shape of its examples.
      augmentation: a strategy string, ``"none"`` or ``"auto"``: all six operations of
        DSA, without ``flip`` for digits and letters.

    Returns:
      A strategy string.

    Raises:
      InputError: when an operation is unknown, or does not fit the examples.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> strategy(dj.tasks.classification(dj.nets.mlp(10), spec), "auto")
      'color_crop_cutout_scale_rotate'
    """
    if augmentation == "auto":
        augmentation = _DSA.replace("flip_", "") if is_digits(task) else _DSA
    policy = policies.parse(augmentation)
    if policy is not None and task.facts.shape:
        drawing.check_shape(policy, task.facts.shape)
    return augmentation


def is_digits(task: base.Task) -> bool:
    """Whether the examples are digits or letters, which must not be mirrored.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> is_digits(dj.tasks.classification(dj.nets.mlp(10), spec))
      True
    """
    return task.facts.data_name in _WITHOUT_FLIP
