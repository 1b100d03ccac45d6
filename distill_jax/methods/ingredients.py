# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What recipes are made from: the options all methods have, sources, schedules."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import optax

from distill_jax import base, bilevel, data, errors, transforms
from distill_jax.augmentation import drawing, policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import initial_examples
from distill_jax.objectives import checks
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
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec)
      >>> Shared(task, num_per_class=2, factor=3).num_rows
      180
    """

    task: base.Task
    num_per_class: int | None = None
    num_examples: int | None = None
    initialisation: initial_examples.Initialisation = "real"
    factor: int = 1
    protocol: protocols.Protocol | None = None
    bend: bending.Bends = None

    def __post_init__(self) -> None:
        if self.task.targets == "centred":
            raise errors.InputError(
                "A named method says itself how labels are written, but the task has "
                'them centred; pass `task.retarget("probabilities")`.'
            )
        wanted, other = "num_per_class", "num_examples"
        what = "classes; say how many pictures of each are stored"
        if not self.task.has_classes:
            wanted, other = other, wanted
            what = "targets that are values; say how many examples are stored in all"
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            raise errors.InputError(
                f"The task has {what}, as `{wanted}`, and leave `{other}` out (got "
                f"num_per_class={self.num_per_class}, "
                f"num_examples={self.num_examples})."
            )

    def check_classes(self, why: str) -> None:
        """Raises where examples have no classes; ``why`` begins the sentence."""
        instead = "another method, such as `dm`, `dc`, `mtt`, `bptt`, `frepo` or `kip`"
        checks.check_classes(self.task, why, instead)

    @property
    def num_of_each(self) -> int:
        """The stored pictures of each class, or all where there are none."""
        number = self.num_per_class if self.task.has_classes else self.num_examples
        assert number is not None  # As was checked.
        return number

    @property
    def num_rows(self) -> int:
        """M, the examples that all stored pictures decode into."""
        num_groups = self.task.facts.num_classes if self.task.has_classes else 1
        return self.num_of_each * self.factor**2 * num_groups

    @property
    def label_kind(self) -> Literal["centred", "values"]:
        """How labels that are regressed on are written, and learned."""
        return "centred" if self.task.has_classes else "values"

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
        encode = None
        if not self.task.has_classes:
            encode = self.task.encode
            protocol = dataclasses.replace(protocol, targets="values")
        return base.Recipe(
            method=method,
            sampler=sampler,
            initial_fn=initial_examples.initial_fn(
                self.initialisation, self.num_of_each * self.factor**2, encode=encode
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
    data.check_num_per_class(dataset, 1)
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
        DSA, without ``flip`` for digits and letters, and none for what is no picture.

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
    shape = task.facts.shape
    if augmentation == "auto" and shape and len(shape) != 3:
        return "none"
    if augmentation == "auto":
        augmentation = _DSA.replace("flip_", "") if is_digits(task) else _DSA
    policy = policies.parse(augmentation)
    if policy is not None and shape:
        drawing.check_shape(policy, shape)
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
