# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Mixing: examples and their labels are joined in pairs.

    MixUp:   x' = lam x + (1 - lam) x[perm],   y' = lam y + (1 - lam) y[perm]
    CutMix:  a rectangle of x is replaced by that of x[perm], and
             lam = 1 - (pixels replaced) / (H W)

Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018; Yun et al., "CutMix:
Regularization Strategy to Train Strong Classifiers with Localizable Features", 2019.
"""

import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.compute import randomness
from distill_jax.types import Array, Key

__all__ = ["Kind", "Mixing", "mix", "mix_labels", "sample_mixing"]

Kind = Literal["none", "mixup", "cutmix"]


class Mixing(NamedTuple):
    """One draw: who is mixed with whom, and how much of each stays."""

    permutation: Array | None  # [B] int32; None for no mixing
    share: Array | None  # [], lam: the share of the example itself in the label
    mask: Array | None  # [H, W] bool, true where CutMix replaces; None for MixUp


def sample_mixing(
    key: Key,
    kind: Kind,
    *,
    num_examples: int,
    shape: tuple[int, ...],
    concentration: float = 1.0,
) -> Mixing:
    """Draws one mixing for a batch.

    Args:
      key: a random key.
      kind: ``"none"``, ``"mixup"`` or ``"cutmix"``.
      num_examples: B.
      shape: of one example; pictures [H, W, channels] for CutMix.
      concentration: lam of MixUp is drawn from Beta(concentration, concentration).

    Returns:
      A :class:`Mixing`. The rectangle of CutMix has a uniform centre and sides of
      sqrt(u) of the picture's, u uniform, and is clipped at the border; its ``share``
      counts the pixels that are really replaced.

    Raises:
      InputError: if the kind is unknown, the concentration is not above 0, or CutMix is
        asked for examples that are no pictures.

    Example:
      >>> import jax
      >>> from distill_jax.augmentation import mixing
      >>> drawn = mixing.sample_mixing(
      ...     jax.random.key(0), "cutmix", num_examples=4, shape=(8, 8, 1))
      >>> bool(drawn.share == 1 - drawn.mask.sum() / 64)
      True
    """
    _check(kind, shape, concentration)
    if kind == "none":
        return Mixing(None, None, None)
    key_permutation, key_share = jax.random.split(key)
    permutation = randomness.permutation(key_permutation, num_examples)
    if kind == "mixup":
        share = jax.random.beta(key_share, concentration, concentration)
        return Mixing(permutation, share, None)
    mask = _rectangle(key_share, *shape[:2])
    return Mixing(permutation, 1 - mask.mean(), mask)


def mix(params: Mixing, examples: base.Examples) -> base.Examples:
    """Mixes the examples of a batch and their labels.

    Args:
      params: what :func:`sample_mixing` drew.
      examples: ``x`` [B, ...], ``y`` [B, C].

    Returns:
      The mixed examples; ``target`` is mixed as ``y`` is, and ``weight`` as both are,
      so that a filled-up row of weight 0 brings in no label; ``index`` stays that of
      the example itself.

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax import base
      >>> from distill_jax.augmentation import mixing
      >>> drawn = mixing.Mixing(jnp.array([1, 0]), jnp.array(0.75), None)
      >>> mixing.mix(drawn, base.Examples(jnp.eye(2), jnp.eye(2))).y.tolist()
      [[0.75, 0.25], [0.25, 0.75]]
    """
    if params.permutation is None:
        return examples
    x, partner = examples.x, examples.x[params.permutation]
    if params.mask is not None:
        x = jnp.where(params.mask[None, :, :, None], partner, x)
    else:
        share = jnp.asarray(params.share, x.dtype)
        x = share * x + (1 - share) * partner
    labels = {"y": examples.y}
    if examples.target is not None:
        labels["target"] = examples.target
    mixed = functools.partial(mix_labels, params)
    if examples.weight is None:
        return examples._replace(x=x, **jax.tree.map(mixed, labels))
    # Labels enter with the weight of their example; the sum of both is divided out.
    former = examples.weight[:, None]
    weight = mixed(examples.weight)
    mass = jnp.where(weight > 0, weight, 1)[:, None]
    share = lambda label: mixed(label * former) / mass
    return examples._replace(x=x, weight=weight, **jax.tree.map(share, labels))


def mix_labels(params: Mixing, y: Array) -> Array:
    """Mixes targets, which a teacher may have given to the examples before.

    Args:
      params: what :func:`sample_mixing` drew.
      y: [B, ...].

    Returns:
      [B, ...], ``lam y + (1 - lam) y[perm]``.

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax.augmentation import mixing
      >>> drawn = mixing.Mixing(jnp.array([1, 0]), jnp.array(0.75), None)
      >>> mixing.mix_labels(drawn, jnp.array([0.0, 4.0])).tolist()
      [1.0, 3.0]
    """
    if params.permutation is None or params.share is None:
        return y
    share = params.share.astype(y.dtype)
    return share * y + (1 - share) * y[params.permutation]


def _rectangle(key: Key, height: int, width: int) -> Array:
    """[H, W] bool, true inside a random rectangle."""
    area, row, column = jax.random.uniform(key, (3,))
    side = jnp.sqrt(area)

    def inside(u: Array, length: int) -> Array:
        cut = (side * length).astype(jnp.int32)
        start = randomness.whole_numbers(u, 0, length) - cut // 2
        position = jnp.arange(length)
        return (position >= start) & (position < start + cut)

    return inside(row, height)[:, None] & inside(column, width)[None]


def _check(kind: str, shape: tuple[int, ...], concentration: float) -> None:
    if kind not in get_args(Kind):
        raise errors.InputError(
            f'There is no mixing "{kind}". {errors.nearest(str(kind), get_args(Kind))}'
        )
    if not concentration > 0:
        raise errors.InputError(
            f"The concentration of MixUp must be above 0, got {concentration}."
        )
    if kind == "cutmix" and len(shape) != 3:
        raise errors.InputError(
            "CutMix needs pictures of shape (height, width, channels), but one example "
            f'has the shape {tuple(shape)}; use "mixup".'
        )
