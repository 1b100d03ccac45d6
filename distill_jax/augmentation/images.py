# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The operations of augmentation, as functions of explicit parameters.

    y[b] = A(x[b]; w[b]),  linear (or affine) in the pixels, differentiable to any order

Every parameter has a leading axis of length B, one for each picture, or of length 1,
shared by all. Pictures need not be square. Positions of scale and rotate are measured
from -1 to 1 over the picture: to its outer border (``align_corners=False``, as in DC,
DSA and DM) or to the centres of its outer pixels (``True``, as in MTT and after it).

Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
2021.
"""

import jax
import jax.numpy as jnp

from distill_jax.types import Array

__all__ = [
    "brightness",
    "contrast",
    "cutout",
    "flip",
    "resized_crop",
    "rotate",
    "saturation",
    "scale",
    "shift",
]


def brightness(x: Array, offset: Array) -> Array:
    """Adds a number to all pixels, ``x + offset``.

    Args:
      x: [B, H, W, channels].
      offset: [B] or [1].

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> brightness(jnp.ones((1, 1, 1, 1)), jnp.array([0.5])).item()
      1.5
    """
    return x + _spread(offset)


def saturation(x: Array, factor: Array) -> Array:
    """Stretches the channels of each pixel about their mean m, ``(x - m) factor + m``.

    Args:
      x: [B, H, W, channels]; with one channel nothing changes.
      factor: [B] or [1].

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([1.0, 3.0]).reshape(1, 1, 1, 2)
      >>> saturation(x, jnp.array([2.0])).ravel().tolist()
      [0.0, 4.0]
    """
    mean = x.mean(3, keepdims=True)
    return (x - mean) * _spread(factor) + mean


def contrast(x: Array, factor: Array) -> Array:
    """Stretches all values of each picture about their mean m, ``(x - m) factor + m``.

    Args:
      x: [B, H, W, channels].
      factor: [B] or [1].

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1)
      >>> contrast(x, jnp.array([0.0])).ravel().tolist()
      [2.0, 2.0]
    """
    mean = x.mean((1, 2, 3), keepdims=True)
    return (x - mean) * _spread(factor) + mean


def shift(x: Array, rows: Array, columns: Array, *, limit: tuple[int, int]) -> Array:
    """Moves each picture by whole pixels, ``y[r, c] = x[r + rows, c + columns]``.

    Args:
      x: [B, H, W, channels]; zero outside.
      rows: [B] or [1] int, between -limit[0] and limit[0].
      columns: [B] or [1] int, between -limit[1] and limit[1].
      limit: the largest shifts that can occur.

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
      >>> shift(x, jnp.array([0]), jnp.array([1]), limit=(0, 1)).ravel().tolist()
      [2.0, 3.0, 0.0]
    """
    (high, wide), shape = limit, x.shape
    x = jnp.pad(x, ((0, 0), (high, high), (wide, wide), (0, 0)))
    rows, columns = rows + high, columns + wide
    if rows.shape[0] == 1:
        return jax.lax.dynamic_slice(x, (0, rows[0], columns[0], 0), shape)
    cut = lambda x, r, c: jax.lax.dynamic_slice(x, (r, c, 0), shape[1:])
    return jax.vmap(cut)(x, rows, columns)


def cutout(
    x: Array, centre_rows: Array, centre_columns: Array, *, size: tuple[int, int]
) -> Array:
    """Sets a rectangle to zero, clipped at the border of the picture.

    Args:
      x: [B, H, W, channels].
      centre_rows: [B] or [1] int; rows ``centre - size // 2`` to ``... + size - 1``.
      centre_columns: [B] or [1] int; likewise.
      size: rows and columns of the rectangle.

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> x, centre = jnp.ones((1, 1, 4, 1)), jnp.array([0])
      >>> cutout(x, centre, centre, size=(1, 3)).ravel().tolist()
      [0.0, 0.0, 1.0, 1.0]
    """
    inside_rows = _window(centre_rows, size[0], x.shape[1])[:, :, None, None]
    inside_columns = _window(centre_columns, size[1], x.shape[2])[:, None, :, None]
    return jnp.where(inside_rows & inside_columns, 0, x)


def flip(x: Array, flipped: Array) -> Array:
    """Mirrors left and right where asked to.

    Args:
      x: [B, H, W, channels].
      flipped: [B] or [1] bool.

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1)
      >>> flip(x, jnp.array([True])).ravel().tolist()
      [2.0, 1.0]
    """
    return jnp.where(_spread(flipped), x[:, :, ::-1], x)


def scale(
    x: Array, scale_x: Array, scale_y: Array, *, align_corners: bool = False
) -> Array:
    """Samples each picture at ``(scale_x gx, scale_y gy)``, bilinearly.

    Args:
      x: [B, H, W, channels]; zero outside.
      scale_x: [B] or [1] along the columns; above 1 the picture shrinks.
      scale_y: [B] or [1] along the rows.
      align_corners: the convention for positions, see the module.

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> x, two = jnp.ones((1, 4, 4, 1)), jnp.array([2.0])
      >>> scale(x, two, two)[0, :, 1, 0].tolist()
      [0.0, 1.0, 1.0, 0.0]
    """
    height, width = x.shape[1:3]
    rows = scale_y[:, None] * _grid(height, align_corners)[None]
    columns = scale_x[:, None] * _grid(width, align_corners)[None]
    rows = _pixels(rows, height, align_corners)
    columns = _pixels(columns, width, align_corners)
    return _resample(x, rows, columns)


def resized_crop(x: Array, top: Array, left: Array, side: Array) -> Array:
    """Enlarges a part of each picture to the full size, bilinearly.

    Output row k shows row ``top + (k + 1/2) side - 1/2``, clipped to the picture.

    Args:
      x: [B, H, W, channels].
      top: [B] or [1] first row of the part, from 0 to H (1 - side).
      left: [B] or [1] first column.
      side: [B] or [1] share of the height and of the width, from 0 to 1.

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1)
      >>> zero, half = jnp.array([0.0]), jnp.array([0.5])
      >>> resized_crop(x, zero, half, half).ravel().tolist()
      [1.0, 3.0]
    """
    positions = []
    for start, size in ((top, x.shape[1]), (left, x.shape[2])):
        centres = (jnp.arange(size) + 0.5)[None] * side[:, None]
        positions.append(jnp.clip(start[:, None] + centres - 0.5, 0, size - 1))
    return _resample(x, *positions)


def rotate(x: Array, angle: Array, *, align_corners: bool = False) -> Array:
    """Samples at ``(cos a gx - sin a gy, sin a gx + cos a gy)``, bilinearly.

    Args:
      x: [B, H, W, channels]; zero outside.
      angle: [B] or [1], in radians.
      align_corners: the convention for positions, see the module.

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
      >>> rotate(x, jnp.array([jnp.pi / 2]))[0, 0, :, 0].round(3).tolist()
      [2.0, 5.0, 8.0]
    """
    height, width = x.shape[1:3]
    grid_x = _grid(width, align_corners)[None, None, :]
    grid_y = _grid(height, align_corners)[None, :, None]
    cosine, sine = (fn(angle)[:, None, None] for fn in (jnp.cos, jnp.sin))
    columns = _pixels(cosine * grid_x - sine * grid_y, width, align_corners)
    rows = _pixels(sine * grid_x + cosine * grid_y, height, align_corners)
    return _sample_points(x, rows, columns)


def _spread(parameter: Array) -> Array:
    """[E] -> [E, 1, 1, 1]."""
    return parameter[:, None, None, None]


def _window(centre: Array, size: int, length: int) -> Array:
    """[E] -> [E, length], true from centre - size // 2 on."""
    start = (centre - size // 2)[:, None]
    position = jnp.arange(length)[None]
    return (position >= start) & (position < start + size)


def _grid(size: int, align_corners: bool) -> Array:
    """The positions of `size` pixels between -1 and 1."""
    if not align_corners:
        return (2 * jnp.arange(size) + 1) / size - 1
    return jnp.linspace(-1.0, 1.0, size) if size > 1 else jnp.zeros((1,))


def _pixels(position: Array, size: int, align_corners: bool) -> Array:
    """From positions between -1 and 1 to (fractional) numbers of pixels."""
    if align_corners:
        return (position + 1) / 2 * (size - 1)
    return ((position + 1) * size - 1) / 2


def _resample(x: Array, rows: Array, columns: Array) -> Array:
    """Bilinear samples on a grid: a small matrix for each axis.

    Args:
      x: [B, H, W, channels].
      rows: [E, H] positions in pixels; [E, W] for columns.
      columns: see rows.

    Returns:
      [B, H, W, channels], zero outside the picture.
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


def _hat(position: Array, size: int) -> Array:
    """[E, n] -> [E, n, size]: the share of each pixel in a sample at a position."""
    distance = position[..., None] - jnp.arange(size).reshape(1, 1, -1)
    return jnp.maximum(1 - jnp.abs(distance), 0)


def _sample_points(x: Array, rows: Array, columns: Array) -> Array:
    """Bilinear samples at any points [E, H, W], zero outside the picture."""
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


def _take(flat: Array, index: Array) -> Array:
    """[B, N, K] at [B, n] (or at [1, n] for all) -> [B, n, K]."""
    if index.shape[0] == 1:
        return jnp.take(flat, index[0], axis=1, mode="clip")
    return jax.vmap(lambda x, i: jnp.take(x, i, axis=0, mode="clip"))(flat, index)
