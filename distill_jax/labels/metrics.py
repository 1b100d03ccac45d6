# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What labels tell: entropy, distances, structure between classes, storage.

    H(y) = - sum_c y_c log y_c,   CE(y, z) = KL(y || softmax z) + H(y)

All in nats. Rows are taken as they are; those of mass other than one weigh more or
less in a cross-entropy.
"""

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import errors
from distill_jax.experts import appraisal
from distill_jax.labels import checks
from distill_jax.tasks import losses as task_losses
from distill_jax.types import Array

__all__ = [
    "agreement",
    "confusion_density",
    "cross_entropy",
    "effective_classes",
    "entropy",
    "entropy_from_logits",
    "kl",
    "label_storage_bytes",
    "structure_score",
    "top_mass",
]


def entropy(labels: Array) -> Array:
    """The entropy of every label, in nats.

    Args:
      labels: [..., C] probabilities.

    Returns:
      [...], from 0 to log C. The gradient is finite where an entry is 0.

    Example:
      >>> print(entropy(jnp.array([[1.0, 0.0], [0.5, 0.5]])).round(3))
      [0.    0.693]
    """
    return appraisal.label_entropy(labels)


def entropy_from_logits(logits: Array) -> Array:
    """The entropy of the softmax of logits, ``logsumexp z - sum softmax(z) z``.

    Args:
      logits: [..., C].

    Returns:
      [...], in nats.

    Example:
      >>> print(entropy_from_logits(jnp.zeros(4)).round(3))
      1.386
    """
    logs = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(logs) * logs, axis=-1)


def cross_entropy(
    labels: Array,
    logits: Array,
    weights: Array | None = None,
    *,
    reduction: Literal["mean", "none"] = "mean",
) -> Array:
    """The cross-entropy of logits with labels.

    Args:
      labels: [N, C]; a row need not sum to one.
      logits: [N, C].
      weights: [N], of the rows.
      reduction: ``"none"`` for the value of each row, times its weight; ``"mean"`` for
        their sum divided by the sum of weights, never by that of the labels' mass.

    Returns:
      [N], or [].

    Example:
      >>> labels, logits = jnp.eye(2), jnp.log(jnp.array([[0.5, 0.5], [0.75, 0.25]]))
      >>> print(cross_entropy(labels, logits, reduction="none").round(3))
      [0.693 1.386]
    """
    if reduction not in ("mean", "none"):
        raise errors.InputError(
            f'There is no reduction "{reduction}"; use "mean" or "none".'
        )
    losses = task_losses.soft_cross_entropy(logits, labels)
    if weights is None:
        return losses.mean() if reduction == "mean" else losses
    weighed = losses * weights
    return weighed.sum() / weights.sum() if reduction == "mean" else weighed


def kl(labels: Array, other: Array) -> Array:
    """The divergence ``sum_c y_c log(y_c / z_c)`` of labels from others, in nats.

    Args:
      labels: [..., C], y.
      other: [..., C], z.

    Returns:
      [...]; infinite where z has no mass and y has.

    Example:
      >>> round(float(kl(jnp.array([0.5, 0.5]), jnp.array([0.25, 0.75]))), 3)
      0.144
    """
    return _sum_of_logs(labels, labels) - _sum_of_logs(labels, other)


def effective_classes(labels: Array) -> Array:
    """How many classes a label spreads over, ``exp H(y)``.

    Args:
      labels: [..., C] probabilities.

    Returns:
      [...], from 1 to C.

    Example:
      >>> print(effective_classes(jnp.array([0.5, 0.5, 0.0])).round(3))
      2.0
    """
    return jnp.exp(entropy(labels))


def top_mass(labels: Array, k: int) -> Array:
    """The mass of the k largest entries of every label.

    Args:
      labels: [..., C].
      k: from 1 to C.

    Returns:
      [...].

    Raises:
      InputError: for a number outside 1 .. C.

    Example:
      >>> top_mass(jnp.array([0.25, 0.5, 0.25]), 2).item()
      0.75
    """
    checks.check_rank("k", k, labels.shape[-1])
    return jax.lax.top_k(labels, k)[0].sum(axis=-1)


def confusion_density(
    labels: Array, classes: Array, num_classes: int, *, blank_diagonal: bool = True
) -> Array:
    """The mean label of the images of every class.

    Args:
      labels: [N, C].
      classes: [N], of the images.
      num_classes: C.
      blank_diagonal: whether the mass on the own class is set to 0, so that a picture
        shows which other classes look alike.

    Returns:
      [C, C], row a the mean label of class a; 0 where a class has no image.

    Example:
      >>> labels = jnp.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])
      >>> confusion_density(labels, jnp.array([0, 0, 1]), 2).tolist()
      [[0.0, 0.375], [0.25, 0.0]]

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024, section 4.
    """
    labels = jnp.asarray(labels)
    member = jax.nn.one_hot(classes, num_classes, dtype=labels.dtype)
    count = jnp.maximum(member.sum(axis=0), 1)[:, None]
    density = member.T @ labels / count
    return density * (1 - jnp.eye(num_classes)) if blank_diagonal else density


def structure_score(
    labels: Array, reference: Array, classes: Array, *, by_rank: bool = False
) -> Array:
    """How alike two tables of labels are outside the true classes.

    Args:
      labels: [N, C].
      reference: [N, C].
      classes: [N], of the images.
      by_rank: whether entries are replaced by their ranks among all that are not of the
        true class, equal ones by their mean rank (Spearman's correlation).

    Returns:
      [] the correlation (Pearson's by default) of the entries that are not of the true
      class; NaN where one table has the same entry everywhere, as hard labels have.

    Example:
      >>> soft = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])
      >>> print(structure_score(soft, 2 * soft, jnp.array([0, 1])).round(3))
      1.0
    """
    labels, reference = jnp.asarray(labels), jnp.asarray(reference)
    others = 1 - jax.nn.one_hot(classes, labels.shape[-1], dtype=labels.dtype)
    if by_rank:
        labels, reference = (_ranks(table, others) for table in (labels, reference))
    number = others.sum()
    centred = [
        (table - (table * others).sum() / number) * others
        for table in (labels, reference)
    ]
    one, other = centred
    norm = jnp.sqrt((one**2).sum() * (other**2).sum())
    return jnp.where(norm > 0, (one * other).sum() / norm, jnp.nan)


def agreement(labels: Array, other: Array) -> Array:
    """The share of images for which two tables have the same largest class.

    Args:
      labels: [N, C].
      other: [N, C], or classes [N].

    Returns:
      [] from 0 to 1.

    Example:
      >>> agreement(jnp.eye(2), jnp.array([0, 0])).item()
      0.5
    """
    classes = other if other.ndim == 1 else other.argmax(axis=-1)
    return jnp.mean(labels.argmax(axis=-1) == classes)


def label_storage_bytes(
    num_images: int,
    num_classes: int,
    dtype: str = "float32",
    *,
    views: int = 1,
    top_k: int | None = None,
) -> int:
    """What labels take on a disk, uncompressed.

    Args:
      num_images: N.
      num_classes: C.
      dtype: of an entry.
      views: labels of each image: methods that label every augmented view anew store
        as many as there are epochs.
      top_k: entries that are stored of each label, each with the number of its class;
        None for all, without numbers.

    Returns:
      Bytes.

    Raises:
      InputError: for counts below 1.

    Example:
      >>> label_storage_bytes(10_000, 1000), label_storage_bytes(10_000, 1000, top_k=10)
      (40000000, 600000)
    """
    errors.check_counts(num_images=num_images, num_classes=num_classes, views=views)
    size = np.dtype(dtype).itemsize
    if top_k is None:
        return num_images * views * num_classes * size
    checks.check_rank("top_k", top_k, num_classes)
    index = 1 if num_classes <= 256 else 2 if num_classes <= 65_536 else 4
    return num_images * views * math.prod((top_k, size + index))


def _ranks(table: Array, others: Array) -> Array:
    """Ranks of the entries that count among each other, ties by their mean.

    They lie between -1/2 and 1/2, and are 0 where all are equal. What does not count is
    sorted behind all.
    """
    values = jnp.where(others > 0, table, jnp.inf).reshape(-1)
    in_order = jnp.sort(values)
    below = jnp.searchsorted(in_order, values, side="left")
    up_to = jnp.searchsorted(in_order, values, side="right")
    number = others.sum()
    ranks = ((below + up_to).astype(table.dtype) - number) / (2 * number)
    return ranks.reshape(table.shape)


def _sum_of_logs(labels: Array, other: Array) -> Array:
    """``sum_c y_c log z_c``, in which an entry of y that is 0 counts nothing."""
    has_mass = labels > 0
    return jnp.sum(
        jnp.where(has_mass, labels * jnp.log(jnp.where(has_mass, other, 1.0)), 0.0),
        axis=-1,
    )
