# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Factorised pictures: one stored picture decodes into several smaller-scale examples.

A stored picture is cut into ``f x f`` tiles and each tile is enlarged to the full size,
so that ``M / f^2`` stored pictures make ``M`` examples. The idea ("multi-formation") is
Kim et al.'s, "Dataset Condensation via Efficient Synthetic-Data Parameterization",
2022, section 4.
"""

import jax
import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.types import Array, Key

__all__ = ["factorise", "pack", "unpack"]


def factorise(decoder: base.Decoder, *, factor: int) -> base.Decoder:
    """Stores ``f^2`` examples in each picture.

    Args:
      decoder: a decoder whose ``x`` holds pictures ``[M, H, W, channels]``.
      factor: ``f``; 2 or 3 in the paper. The number of examples of each class in the
        initial must be a multiple of ``f^2``.

    Returns:
      A decoder whose latent ``x`` is ``[M / f^2, H, W, channels]``; labels and weights
      stay those of the ``M`` examples.

    Raises:
      InputError: when ``factor`` is below 1, the initial set is not of pictures, or its
        rows do not fill whole pictures.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import distill_jax as dj
      >>> decoder = factorise(dj.plain_decoder(), factor=2)
      >>> y = jnp.repeat(jnp.eye(2), 4, 0)
      >>> initial = dj.Examples(x=jnp.ones((8, 6, 6, 1)), y=y)
      >>> latent = decoder.init(jax.random.key(0), initial)
      >>> latent.learned["x"].shape, decoder.decode(latent).x.shape
      ((2, 6, 6, 1), (8, 6, 6, 1))

    Reference:
      Jang-Hyun Kim et al., "Dataset Condensation via Efficient Synthetic-Data
      Parameterization", 2022, section 4.
    """
    if factor < 1:
        raise errors.InputError(f"`factor` must be at least 1, got {factor}.")

    def init(key: Key, initial: base.Examples) -> base.Latent:
        num_classes = initial.y.shape[-1]
        if initial.x.ndim != 4:
            raise errors.InputError(
                "Factorised examples are pictures [M, H, W, channels], but the "
                f"initial set has shape {initial.x.shape}."
            )
        if (initial.x.shape[0] // num_classes) % factor**2:
            raise errors.InputError(
                f"A factor of {factor} stores {factor**2} examples in a picture, but "
                "the initial set has "
                f"{initial.x.shape[0] // num_classes} for each class: "
                f"use a multiple of {factor**2}."
            )
        latent = decoder.init(key, initial)
        learned = {**latent.learned, "x": pack(latent.learned["x"], factor)}
        return base.Latent(learned=learned, fixed=latent.fixed)

    def decode(latent: base.Latent) -> base.Synthetic:
        learned = {**latent.learned, "x": unpack(latent.learned["x"], factor)}
        return decoder.decode(base.Latent(learned, latent.fixed))

    return base.Decoder(init=init, decode=decode)


def pack(x: Array, factor: int) -> Array:
    """Shrinks pictures and lays ``f^2`` of them side by side in one.

    Args:
      x: ``[M, H, W, channels]``, with M a multiple of ``f^2``.
      factor: ``f``.

    Returns:
      ``[M / f^2, H, W, channels]``. Where H or W is not a multiple of ``f``, tiles have
      the rounded-up size and the outer ones are cut at the border.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(4.0).reshape(4, 1, 1, 1).repeat(2, 1).repeat(2, 2)
      >>> print(pack(x, 2)[0, ..., 0])
      [[0. 1.]
       [2. 3.]]
    """
    num, height, width, channels = x.shape
    rows, cols = -(-height // factor), -(-width // factor)
    small = jax.image.resize(x, (num, rows, cols, channels), "bilinear")
    small = small.reshape(-1, factor, factor, rows, cols, channels)
    tiled = small.transpose(0, 1, 3, 2, 4, 5)
    tiled = tiled.reshape(-1, factor * rows, factor * cols, channels)
    return tiled[:, :height, :width]


def unpack(x: Array, factor: int) -> Array:
    """Cuts pictures into ``f x f`` tiles and enlarges each to the full size.

    Args:
      x: ``[M / f^2, H, W, channels]``.
      factor: ``f``.

    Returns:
      ``[M, H, W, channels]``, the tiles of a picture one after the other.

    Example:
      >>> import jax.numpy as jnp
      >>> unpack(jnp.arange(4.0).reshape(1, 2, 2, 1), 2)[:, 0, 0, 0].tolist()
      [0.0, 1.0, 2.0, 3.0]
    """
    num, height, width, channels = x.shape
    rows, cols = -(-height // factor), -(-width // factor)
    missing = (factor * rows - height, factor * cols - width)
    x = jnp.pad(x, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))
    tiles = x.reshape(num, factor, rows, factor, cols, channels)
    tiles = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(-1, rows, cols, channels)
    return jax.image.resize(
        tiles, (num * factor**2, height, width, channels), "bilinear"
    )
