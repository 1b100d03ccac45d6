# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bilinear samples of pictures at positions between the pixels.

    y(r, c) = sum_{i, j} max(1 - |r - i|, 0) max(1 - |c - j|, 0) x[i, j]

Outside a picture its pixels count as zero.
"""

import jax
import jax.numpy as jnp

from distill_jax.types import Array

__all__ = ["at_points", "grid", "on_lines", "pixels"]


def grid(size: int, align_corners: bool) -> Array:
    """Spreads the positions of pixels over -1 to 1.

    Args:
      size: number of pixels n.
      align_corners: whether -1 and 1 are the centres of the outer pixels, or the border
        of the picture.

    Returns:
      [n] positions.

    Example:
      >>> grid(2, False).tolist(), grid(2, True).tolist()
      ([-0.5, 0.5], [-1.0, 1.0])
    """
    if not align_corners:
        return (2 * jnp.arange(size) + 1) / size - 1
    return jnp.linspace(-1.0, 1.0, size) if size > 1 else jnp.zeros((1,))


def pixels(position: Array, size: int, align_corners: bool) -> Array:
    """Turns positions between -1 and 1 into (fractional) numbers of pixels.

    Args:
      position: any shape.
      size: number of pixels.
      align_corners: as in :func:`grid`.

    Returns:
      The shape of ``position``; 0 is the centre of the first pixel.

    Example:
      >>> pixels(grid(2, False), 2, False).tolist()
      [0.0, 1.0]
    """
    if align_corners:
        return (position + 1) / 2 * (size - 1)
    return ((position + 1) * size - 1) / 2


def on_lines(x: Array, rows: Array, columns: Array) -> Array:
    """Samples where rows and columns cross: a small matrix for each axis.

    Args:
      x: [B, H, W, channels].
      rows: [B, H] or [1, H] positions in pixels.
      columns: [B, W] or [1, W].

    Returns:
      [B, H, W, channels].

    Example:
      >>> x = jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1)
      >>> on_lines(x, jnp.array([[0.0]]), jnp.array([[0.5, 1.5]])).ravel().tolist()
      [2.0, 2.0]
    """
    row_weights = _hat(rows, x.shape[1]).astype(x.dtype)
    column_weights = _hat(columns, x.shape[2]).astype(x.dtype)
    num_examples = x.shape[0]
    row_weights = jnp.broadcast_to(row_weights, (num_examples, *row_weights.shape[1:]))
    column_weights = jnp.broadcast_to(
        column_weights, (num_examples, *column_weights.shape[1:])
    )
    highest = jax.lax.Precision.HIGHEST
    x = jnp.einsum("bri,bijk->brjk", row_weights, x, precision=highest)
    return jnp.einsum("bcj,brjk->brck", column_weights, x, precision=highest)


def at_points(x: Array, rows: Array, columns: Array) -> Array:
    """Samples at any points.

    Args:
      x: [B, H, W, channels].
      rows: [B, H, W] or [1, H, W] positions in pixels.
      columns: the same shape.

    Returns:
      [B, H, W, channels].

    Example:
      >>> x = jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1)
      >>> rows, columns = jnp.zeros((1, 1, 2)), jnp.array([[[0.25, 1.0]]])
      >>> at_points(x, rows, columns).ravel().tolist()
      [1.0, 4.0]
    """
    num_examples, height, width, channels = x.shape
    flat = x.reshape(num_examples, height * width, channels)
    top, left = jnp.floor(rows), jnp.floor(columns)
    out = jnp.zeros((), x.dtype)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = top + down, left + right
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        weight = (1 - jnp.abs(rows - row)) * (1 - jnp.abs(columns - column))
        row, column = jnp.clip(row, 0, height - 1), jnp.clip(column, 0, width - 1)
        index = (row * width + column).astype(jnp.int32)
        corner = _take(flat, index.reshape(index.shape[0], -1)).reshape(x.shape)
        out = out + jnp.where(inside, weight, 0)[..., None] * corner
    return out


def _hat(position: Array, size: int) -> Array:
    """[E, n] -> [E, n, size]: the share of each pixel in a sample at a position."""
    distance = position[..., None] - jnp.arange(size).reshape(1, 1, -1)
    return jnp.maximum(1 - jnp.abs(distance), 0)


def _take(flat: Array, index: Array) -> Array:
    """[B, N, K] at [B, n] (or at [1, n] for all) -> [B, n, K]."""
    if index.shape[0] == 1:
        return jnp.take(flat, index[0], axis=1, mode="clip")
    return jax.vmap(lambda x, i: jnp.take(x, i, axis=0, mode="clip"))(flat, index)
