# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fairness metrics: how much of an accuracy is due to the images.

Accuracies move up with softer labels, more augmentation and longer training, whatever
the images are. So the images are judged against others under the same conditions:

    HLR   = acc(real, hard) - acc(synthetic, hard)    what is lost with hard labels
    IOR   = acc(synthetic, any) - acc(random, any)    what is gained over real images
    alpha = w IOR - (1 - w) HLR,     LRS = (e^alpha - 1/e) / (e - 1/e)  in [0, 1]

and ARS is the same map of the gain over random images with and without augmentation.
All accuracies are fractions; percentages are refused, since fed with them the score is
the same number for nearly everything. The idea is DD-Ranking's.
"""

import numpy as np

from distill_jax import errors

__all__ = [
    "augmentation_robust_score",
    "hard_label_recovery",
    "improvement_over_random",
    "label_robust_score",
]

Accuracy = float | np.ndarray  # A fraction, or one for every run.


def hard_label_recovery(real_hard: Accuracy, synthetic_hard: Accuracy) -> np.ndarray:
    """HLR, what is lost by training on the synthetic images with hard labels.

    Args:
      real_hard: accuracy [] or [R] of training on the real set.
      synthetic_hard: accuracy [] or [R] of training on the synthetic set, hard labels.

    Returns:
      [] or [R]; smaller is better.

    Raises:
      InputError: if an accuracy is not a fraction.

    Example:
      >>> print(hard_label_recovery(0.9, 0.7).round(2))
      0.2

    Reference:
      Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025.
    """
    return _fraction("real_hard", real_hard) - _fraction(
        "synthetic_hard", synthetic_hard
    )


def improvement_over_random(
    synthetic_any: Accuracy, random_any: Accuracy
) -> np.ndarray:
    """IOR, what the synthetic images gain over random real ones under one protocol.

    Args:
      synthetic_any: accuracy [] or [R] of the synthetic set with its own labels.
      random_any: accuracy [] or [R] of random real images under the same protocol.

    Returns:
      [] or [R]; larger is better.

    Raises:
      InputError: if an accuracy is not a fraction.

    Example:
      >>> print(improvement_over_random(0.8, 0.5).round(2))
      0.3

    Reference:
      Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025.
    """
    return _fraction("synthetic_any", synthetic_any) - _fraction(
        "random_any", random_any
    )


def label_robust_score(
    real_hard: Accuracy,
    synthetic_hard: Accuracy,
    synthetic_any: Accuracy,
    random_any: Accuracy,
    *,
    weight: float = 0.5,
) -> np.ndarray:
    """LRS, the share of the accuracy that does not come from the labels.

    Args:
      real_hard: accuracy [] or [R], as the others.
      synthetic_hard: of the synthetic set with hard labels.
      synthetic_any: of the synthetic set with its own labels.
      random_any: of random real images under the same protocol.
      weight: w, of IOR against HLR.

    Returns:
      [] or [R] in [0, 1]: a score for every run, to be averaged over runs.

    Raises:
      InputError: if an accuracy or the weight is not a fraction.

    Example:
      >>> print(label_robust_score(0.9, 0.9, 0.5, 0.5).round(4))  # alpha = 0
      0.2689

    Reference:
      Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025.
    """
    weight = float(_fraction("weight", weight))
    gain = improvement_over_random(synthetic_any, random_any)
    loss = hard_label_recovery(real_hard, synthetic_hard)
    return _score(weight * gain - (1 - weight) * loss)


def augmentation_robust_score(
    synthetic_augmented: Accuracy,
    random_augmented: Accuracy,
    synthetic_plain: Accuracy,
    random_plain: Accuracy,
    *,
    weight: float = 0.5,
) -> np.ndarray:
    """ARS, the share of the accuracy that does not come from the augmentation.

        beta = g (acc(syn, aug) - acc(random, aug)) + (1-g) (... the same without)

    Args:
      synthetic_augmented: accuracy [] or [R], as the others.
      random_augmented: of random real images, with augmentation.
      synthetic_plain: of the synthetic set, without augmentation.
      random_plain: of random real images, without augmentation.
      weight: g, of the gain with augmentation.

    Returns:
      [] or [R] in [0, 1]: a score for every run, to be averaged over runs.

    Raises:
      InputError: if an accuracy or the weight is not a fraction.

    Example:
      >>> print(augmentation_robust_score(0.7, 0.5, 0.6, 0.6).round(4))  # beta = 0.1
      0.3137

    Reference:
      Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025.
    """
    weight = float(_fraction("weight", weight))
    augmented = improvement_over_random(synthetic_augmented, random_augmented)
    plain = improvement_over_random(synthetic_plain, random_plain)
    return _score(weight * augmented + (1 - weight) * plain)


def _score(alpha: np.ndarray) -> np.ndarray:
    """Maps [-1, 1] to [0, 1], steeper where better."""
    return (np.exp(alpha) - np.exp(-1)) / (np.exp(1) - np.exp(-1))


def _fraction(name: str, value: Accuracy) -> np.ndarray:
    array = np.asarray(value, dtype=np.float64)
    if not np.all((array >= 0) & (array <= 1)):
        outside = array[~((array >= 0) & (array <= 1))].flat[0]
        raise errors.InputError(
            f"`{name}` holds {outside:g}, which is not a fraction; pass numbers from "
            f"0 to 1, for instance {outside / 100:g} in place of a percentage."
        )
    return array
