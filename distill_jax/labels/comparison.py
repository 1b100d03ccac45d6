# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How alike two tables of labels of the same images are: learned ones, and experts'.

Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset Distillation",
2024, section 5.
"""

from typing import NamedTuple

import jax.numpy as jnp

from distill_jax import errors
from distill_jax.labels import mass, metrics
from distill_jax.types import Array

__all__ = ["Comparison", "compare"]


class Comparison(NamedTuple):
    """What :func:`compare` finds; each is a number."""

    agreement_with_classes: Array  # [] the share of largest entries that are right
    agreement_with_reference: Array  # [] and of those that are the reference's
    entropy: Array  # [] nats, mean over images
    reference_entropy: Array  # [] nats, mean over images
    divergence: Array  # [] nats, mean of KL(reference || learned)
    pearson: Array  # [] correlation of the entries that are not of the true class
    spearman: Array  # [] that of their ranks
    confusion_correlation: Array  # [] that of the mean labels of classes, off-diagonal
    mass: Array  # [] mean sum of a learned row


def compare(
    learned: Array, reference: Array, classes: Array, *, smoothing: float = 1e-3
) -> Comparison:
    """Compares labels with those of a reference, such as an ensemble of experts.

    Args:
      learned: [N, C], not negative; a row need not sum to one.
      reference: [N, C], likewise.
      classes: [N], of the images.
      smoothing: share of a learned label that is spread over all classes for the
        divergence, which an entry of 0 makes infinite; 0 for none.

    Returns:
      :class:`Comparison`. Entropies and the divergence are those of rows divided by
      their sums, correlations those of the tables as they are. Correlations are NaN
      where all entries are equal, as those of hard labels.

    Raises:
      InputError: when the shapes do not fit, or the smoothing is outside 0 .. 1.

    Example:
      >>> expert = jnp.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.4, 0.1, 0.5]])
      >>> found = compare(2 * expert, expert, jnp.arange(3))
      >>> print(found.pearson.round(3), found.spearman.round(3), found.mass.round(3))
      1.0 1.0 2.0
      >>> print(compare(jnp.eye(3), expert, jnp.arange(3)).agreement_with_reference)
      1.0

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024, section 5.
    """
    learned, reference = jnp.asarray(learned), jnp.asarray(reference)
    classes = jnp.asarray(classes)
    _check_shapes(learned, reference, classes)
    num_classes = learned.shape[-1]
    one, other = mass.normalize(learned), mass.normalize(reference)
    density = metrics.confusion_density(learned, classes, num_classes)
    wanted = metrics.confusion_density(reference, classes, num_classes)
    return Comparison(
        agreement_with_classes=metrics.agreement(learned, classes),
        agreement_with_reference=metrics.agreement(learned, reference),
        entropy=metrics.entropy(one).mean(),
        reference_entropy=metrics.entropy(other).mean(),
        divergence=metrics.kl(other, mass.smooth(one, smoothing)).mean(),
        pearson=metrics.structure_score(learned, reference, classes),
        spearman=metrics.structure_score(learned, reference, classes, by_rank=True),
        confusion_correlation=metrics.structure_score(
            density, wanted, jnp.arange(num_classes)
        ),
        mass=learned.sum(axis=-1).mean(),
    )


def _check_shapes(learned: Array, reference: Array, classes: Array) -> None:
    if learned.ndim != 2 or reference.shape != learned.shape:
        raise errors.InputError(
            f"Labels of shape {learned.shape} are compared with a reference of shape "
            f"{reference.shape}; pass two tables [N, C] of the same images."
        )
    if classes.shape != learned.shape[:1]:
        raise errors.InputError(
            f"`classes` has the shape {classes.shape}, but there are labels of "
            f"{learned.shape[0]} images; pass one class for each."
        )
