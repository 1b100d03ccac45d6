# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the named methods share: decoders, sources, and checks of their options."""

import optax

from distill_jax import base, data, errors, transforms
from distill_jax.augmentation import policies
from distill_jax.transforms import composition

__all__ = [
    "check_momentum",
    "check_positive",
    "class_source",
    "cosine",
    "decoder",
    "is_digits",
    "strategy",
]

_DSA = "color_crop_cutout_flip_scale_rotate"
# Mirrored, these are other signs or none.
_WITHOUT_FLIP = ("digits", "digits100", "mnist", "svhn", "usps", "kmnist")


def decoder(factor: int) -> base.Decoder:
    """The decoder of pictures that stand for ``factor^2`` examples each.

    Example:
      >>> decoder(1).init.__name__
      'init'
    """
    plain = composition.plain_decoder()
    return plain if factor == 1 else transforms.factorise(plain, factor=factor)


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

    Raises:
      InputError: for a share outside [0, 1] or a length below 1.

    Example:
      >>> float(cosine(0.5, 10, 0.5)(10))
      0.25
    """
    if not 0 <= final_rate <= 1:
        raise errors.InputError(
            "`final_rate` is a share of the rate at the start, from 0 to 1, got "
            f"{final_rate}."
        )
    if num_steps is None:
        return optax.constant_schedule(rate)
    check_positive(num_steps=num_steps)
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
        policies.check_fit(policy, task.facts.shape)
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


def check_positive(**values: float) -> None:
    """Raises unless every value is above 0.

    Example:
      >>> check_positive(learning_rate=0.1)
    """
    for name, value in values.items():
        if not value > 0:
            raise errors.InputError(f"`{name}` must be positive, got {value}.")


def check_momentum(momentum: float) -> None:
    """Raises unless a momentum is in [0, 1).

    Example:
      >>> check_momentum(0.5)
    """
    if not 0 <= momentum < 1:
        raise errors.InputError(
            f"`momentum` must be at least 0 and below 1, got {momentum}."
        )
