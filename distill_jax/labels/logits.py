# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From what experts say to labels: temperatures and ensembles.

    y = softmax( f(x) / T ),   of an ensemble  y = softmax( mean_s f_s(x) / T )

A high temperature T makes labels soft. The released code of the paper multiplies logits
by `temp`, which is 1 / T.

Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset Distillation",
2024.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.labels import checks
from distill_jax.types import Array

__all__ = ["ensemble_logits", "from_logits", "log_from_logits", "sharpen"]

How = Literal["logit_mean", "prob_mean", "log_prob_mean"]


def from_logits(logits: Array, temperature: float | Array = 1.0) -> Array:
    """Softmax of logits at a temperature.

    Args:
      logits: [..., C].
      temperature: T > 0; may be traced. The released code's `temp` is 1 / T.

    Returns:
      [..., C] float32 or wider; uniform for large T, one-hot for small T.

    Raises:
      InputError: unless T is above 0.

    Example:
      >>> from_logits(jnp.array([0.0, jnp.log(3.0)])).round(2).tolist()
      [0.25, 0.75]
      >>> from_logits(jnp.array([0.0, 1.0]), temperature=1e-3).tolist()
      [0.0, 1.0]

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024, section 3.
    """
    return jnp.exp(log_from_logits(logits, temperature))


def log_from_logits(logits: Array, temperature: float | Array = 1.0) -> Array:
    """Logarithms of :func:`from_logits`, finite wherever the logits are.

    Args:
      logits: [..., C].
      temperature: T > 0; may be traced.

    Returns:
      [..., C] float32 or wider.

    Raises:
      InputError: unless T is above 0.

    Example:
      >>> log_from_logits(jnp.array([1e4, 0.0])).tolist()
      [0.0, -10000.0]
    """
    checks.check_temperature(temperature)
    wide = jnp.asarray(logits, jnp.promote_types(jnp.result_type(logits), jnp.float32))
    # The largest is 0 before it is divided, so that a small T cannot overflow it.
    below = wide - jax.lax.stop_gradient(wide.max(axis=-1, keepdims=True))
    return jax.nn.log_softmax(below / temperature)


def ensemble_logits(
    logits: Array,
    temperature: float | Array = 1.0,
    *,
    how: How = "logit_mean",
    weights: Array | None = None,
) -> Array:
    """Labels that several experts give together.

    Args:
      logits: [S, ..., C], of S experts.
      temperature: T > 0; may be traced.
      how: ``"logit_mean"``, the paper's: softmax of the mean logits; ``"prob_mean"``:
        the mean of the probabilities; ``"log_prob_mean"``: their normalised geometric
        mean, which ``"logit_mean"`` is too but for rounding.
      weights: [S], of the experts; divided by their sum. All alike where None.

    Returns:
      [..., C].

    Raises:
      InputError: for another way, weights of another number, negative ones, or T not
        above 0.

    Example:
      >>> logits = jnp.log(jnp.array([[[0.5, 0.5]], [[0.9, 0.1]]]))
      >>> print(ensemble_logits(logits).round(2))
      [[0.75 0.25]]
      >>> [round(p, 2) for p in ensemble_logits(logits, how="prob_mean")[0].tolist()]
      [0.7, 0.3]

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024, section 5.
    """
    if how not in get_args(How):
        raise errors.InputError(
            f'There is no ensemble "{how}". {errors.nearest(str(how), get_args(How))}'
        )
    share = checks.shares(weights, logits.shape[0])
    mean = lambda values: jnp.tensordot(share.astype(values.dtype), values, axes=1)
    if how == "logit_mean":
        return from_logits(mean(logits), temperature)
    if how == "prob_mean":
        return mean(from_logits(logits, temperature))
    return from_logits(mean(log_from_logits(logits, temperature)))


def sharpen(labels: Array, temperature: float | Array) -> Array:
    """Labels at another temperature, where their logits are not at hand.

    Args:
      labels: [..., C] probabilities.
      temperature: T > 0; below 1 sharpens, above 1 softens.

    Returns:
      [..., C], proportional to ``labels ** (1 / T)``; zeros stay zero.

    Raises:
      InputError: unless T is above 0.

    Example:
      >>> [round(p, 2) for p in sharpen(jnp.array([0.8, 0.2, 0.0]), 2.0).tolist()]
      [0.67, 0.33, 0.0]
    """
    checks.check_temperature(temperature)
    has_mass = labels > 0
    logs = jnp.log(jnp.where(has_mass, labels, 1.0))
    return from_logits(jnp.where(has_mass, logs, -jnp.inf), temperature)
