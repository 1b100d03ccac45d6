# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where the mass of a label lies: taken away, spread out, mixed with noise.

Labels whose rows need not sum to one weigh their examples in the loss: the gradient of
the cross-entropy in the logits is ``(sum_c y_c) p - y``. So every function that takes
mass away says whether rows are made whole again.
"""

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.labels import checks, metrics
from distill_jax.types import Array, Key

__all__ = [
    "clip_small",
    "drop_class",
    "harden",
    "interpolate",
    "mix_noise_lowest_entropy",
    "noisy_true_class",
    "normalize",
    "permute_classes",
    "remove_class_mass",
    "smooth",
]


def normalize(labels: Array) -> Array:
    """Gives every row the mass one; a row without mass becomes uniform.

    Args:
      labels: [..., C], not negative.

    Returns:
      [..., C].

    Example:
      >>> normalize(jnp.array([[1.0, 3.0], [0.0, 0.0]])).tolist()
      [[0.25, 0.75], [0.5, 0.5]]
    """
    total = labels.sum(axis=-1, keepdims=True)
    uniform = jnp.full_like(labels, 1 / labels.shape[-1])
    return jnp.where(total > 0, labels / jnp.where(total > 0, total, 1), uniform)


def clip_small(labels: Array, eps: float, *, renormalize: bool = False) -> Array:
    """Sets entries below a threshold to 0.

    Args:
      labels: [..., C].
      eps: the threshold.
      renormalize: whether rows have the mass one again.

    Returns:
      [..., C].

    Example:
      >>> clip_small(jnp.array([0.75, 0.25, 0.0625]), 0.125).tolist()
      [0.75, 0.25, 0.0]
    """
    kept = jnp.where(labels < eps, 0, labels)
    return normalize(kept) if renormalize else kept


def remove_class_mass(
    labels: Array,
    classes: Array,
    c: int | Array,
    *,
    renormalize: bool = False,
    keep_own: bool = True,
) -> Array:
    """Takes the mass of a class out of the labels of the other classes' images.

    Args:
      labels: [N, C].
      classes: [N], of the images.
      c: the class; may be traced.
      renormalize: whether rows have the mass one again. A row all of whose mass was on
        ``c`` becomes uniform over the other classes. The paper leaves rows as they are.
      keep_own: whether images of the class keep their labels.

    Returns:
      [N, C].

    Raises:
      InputError: for a class that there is not.

    Example:
      >>> labels = jnp.array([[0.75, 0.25], [0.5, 0.5]])
      >>> remove_class_mass(labels, jnp.array([0, 1]), 1).tolist()
      [[0.75, 0.0], [0.5, 0.5]]

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024, section 4 (zero-shot learning).
    """
    num_classes = labels.shape[-1]
    _check_class(c, num_classes)
    is_class = (jnp.arange(num_classes) == c)[None]
    is_own = (classes == c)[:, None] & keep_own
    taken = jnp.where(is_class & ~is_own, 0, labels)
    if not renormalize:
        return taken
    others = jnp.where(is_class, 0, 1 / (num_classes - 1)).astype(labels.dtype)
    has_mass = taken.sum(axis=-1, keepdims=True) > 0
    whole = jnp.where(has_mass, normalize(taken), others)
    return jnp.where(is_own, labels, whole)


def drop_class(classes: Array, c: int | Array) -> Array:
    """Weights that leave out the images of a class, without shrinking the set.

    Args:
      classes: [N], of the images.
      c: the class; may be traced.

    Returns:
      [N] float32, 0 for images of the class and 1 for others: a loss that divides by
      the sum of weights sees a set without them.

    Example:
      >>> drop_class(jnp.array([0, 2, 1, 2]), 2).tolist()
      [1.0, 0.0, 1.0, 0.0]
    """
    return (classes != c).astype(jnp.float32)


def permute_classes(labels: Array, order: Array) -> Array:
    """Renames classes: class ``order[c]`` becomes class ``c``.

    Args:
      labels: [..., C].
      order: [C], every class once.

    Returns:
      [..., C].

    Example:
      >>> permute_classes(jnp.array([0.25, 0.5, 0.75]), jnp.array([2, 0, 1])).tolist()
      [0.75, 0.25, 0.5]
    """
    return jnp.take(labels, jnp.asarray(order), axis=-1)


def smooth(labels: Array, amount: float | Array) -> Array:
    """Label smoothing: ``(1 - amount) y + amount / C``.

    Args:
      labels: [..., C].
      amount: from 0 to 1.

    Returns:
      [..., C].

    Raises:
      InputError: for an amount outside 0 .. 1.

    Example:
      >>> smooth(jnp.array([0.0, 1.0]), 0.5).tolist()
      [0.25, 0.75]
    """
    checks.check_share("amount", amount)
    return (1 - amount) * labels + amount / labels.shape[-1]


def interpolate(hard: Array, soft: Array, amount: float | Array) -> Array:
    """Mixes two tables of labels: ``(1 - amount) hard + amount soft``.

    Args:
      hard: [..., C].
      soft: [..., C].
      amount: from 0 to 1.

    Returns:
      [..., C].

    Raises:
      InputError: for an amount outside 0 .. 1.

    Example:
      >>> interpolate(jnp.array([0.0, 1.0]), jnp.array([0.5, 0.5]), 0.5).tolist()
      [0.25, 0.75]
    """
    checks.check_share("amount", amount)
    return (1 - amount) * hard + amount * soft


def harden(labels: Array) -> Array:
    """One-hot labels of the largest entry; the first of equals.

    Args:
      labels: [..., C].

    Returns:
      [..., C] of the same type.

    Example:
      >>> harden(jnp.array([[0.2, 0.5, 0.3]])).tolist()
      [[0.0, 1.0, 0.0]]
    """
    return jax.nn.one_hot(labels.argmax(axis=-1), labels.shape[-1], dtype=labels.dtype)


def noisy_true_class(
    key: Key, classes: Array, num_classes: int, share: float | Array
) -> Array:
    """Labels with a share on the true class and random mass on the others.

    Args:
      key: a random key.
      classes: [N], of the images.
      num_classes: C.
      share: of the true class, from 0 to 1; the rest is spread over the other classes
        by a uniform draw from all ways to do so.

    Returns:
      [N, C] float32.

    Raises:
      InputError: for a share outside 0 .. 1.

    Example:
      >>> labels = noisy_true_class(jax.random.key(0), jnp.array([1, 0]), 3, 0.8)
      >>> labels.argmax(axis=1).tolist(), print(labels.max(axis=1))
      [0.8 0.8]
      ([1, 0], None)

    Reference:
      A control of section 4 of Qin, Deng, Alvarez-Melis, 2024: softness without
      structure.
    """
    checks.check_share("share", share)
    true = jax.nn.one_hot(classes, num_classes)
    noise = jax.random.exponential(key, true.shape) * (1 - true)
    return share * true + (1 - share) * normalize(noise)


def mix_noise_lowest_entropy(
    key: Key, labels: Array, share: float | Array, amount: float | Array
) -> Array:
    """Mixes noise into the rows of the lowest entropy.

    Args:
      key: a random key.
      labels: [N, C].
      share: of the rows that are changed, from 0 to 1.
      amount: ``(1 - amount) y + amount u``, with u uniform numbers of mass one.

    Returns:
      [N, C].

    Raises:
      InputError: for a share or an amount outside 0 .. 1.

    Example:
      >>> labels = jnp.array([[1.0, 0.0], [0.5, 0.5]])
      >>> mixed = mix_noise_lowest_entropy(jax.random.key(0), labels, 0.5, 0.1)
      >>> bool(mixed[0, 0] < 1), mixed[1].tolist()
      (True, [0.5, 0.5])
    """
    checks.check_share("share", share)
    checks.check_share("amount", amount)
    noise = normalize(jax.random.uniform(key, labels.shape))
    order = jnp.argsort(jnp.argsort(metrics.entropy(labels), stable=True))
    is_chosen = order < jnp.round(share * labels.shape[0])
    return jnp.where(is_chosen[:, None], interpolate(labels, noise, amount), labels)


def _check_class(c: int | Array, num_classes: int) -> None:
    if checks.is_known(c) and not 0 <= int(c) < num_classes:
        raise errors.InputError(
            f"There is no class {c}: these labels have {num_classes}, from 0."
        )
