# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What augmentation does to pictures, as functions of explicit parameters.

    y[b] = A(x[b]; w[b]),  linear (or affine) in the pixels, differentiable to any order

Every parameter has a leading axis of length B, one for each picture, or of length 1,
shared by all. Pictures need not be square. Positions of scale and rotate go from -1 to
1: to the outer border of a picture (``align_corners=False``, as in DC, DSA and DM) or
to the centres of its outer pixels (``True``, as in MTT and after it).

Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", 2021.
"""

import jax
import jax.numpy as jnp

from distill_jax.augmentation import resampling
from distill_jax.types import Array

__all__ = [
    "brightness",
    "color",
    "contrast",
    "cutout",
    "flip",
    "noise",
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
    return _stretch(x, factor, 3)


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
    return _stretch(x, factor, (1, 2, 3))


def color(x: Array, offset: Array, saturation: Array, contrast: Array) -> Array:
    """Changes brightness, then saturation, then contrast.

    Args:
      x: [B, H, W, channels].
      offset: [B] or [1] of :func:`brightness`.
      saturation: [B] or [1], the factor of :func:`saturation`.
      contrast: [B] or [1], the factor of :func:`contrast`.

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> x, one = jnp.array([1.0, 3.0]).reshape(1, 1, 1, 2), jnp.array([1.0])
      >>> color(x, one, 2 * one, 0.5 * one).ravel().tolist()
      [2.0, 4.0]
    """
    x = _stretch(x + _spread(offset), saturation, 3)
    return _stretch(x, contrast, (1, 2, 3))


def noise(x: Array, noise: Array) -> Array:
    """Adds a number to each value, ``x + noise``.

    Args:
      x: [B, H, W, channels].
      noise: [B, H, W, channels] or [1, H, W, channels].

    Returns:
      [B, H, W, channels].

    Example:
      >>> import jax.numpy as jnp
      >>> noise(jnp.ones((1, 1, 1, 1)), jnp.full((1, 1, 1, 1), 0.5)).item()
      1.5
    """
    return x + noise


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
    rows = scale_y[:, None] * resampling.grid(height, align_corners)[None]
    columns = scale_x[:, None] * resampling.grid(width, align_corners)[None]
    rows = resampling.pixels(rows, height, align_corners)
    columns = resampling.pixels(columns, width, align_corners)
    return resampling.on_lines(x, rows, columns)


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
    return resampling.on_lines(x, *positions)


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
    grid_x = resampling.grid(width, align_corners)[None, None, :]
    grid_y = resampling.grid(height, align_corners)[None, :, None]
    cosine, sine = (fn(angle)[:, None, None] for fn in (jnp.cos, jnp.sin))
    columns = resampling.pixels(cosine * grid_x - sine * grid_y, width, align_corners)
    rows = resampling.pixels(sine * grid_x + cosine * grid_y, height, align_corners)
    return resampling.at_points(x, rows, columns)


def _spread(parameter: Array) -> Array:
    """[E] -> [E, 1, 1, 1]."""
    return parameter[:, None, None, None]


def _stretch(x: Array, factor: Array, axes: int | tuple[int, ...]) -> Array:
    """Stretches values about their mean over some axes."""
    mean = x.mean(axes, keepdims=True)
    return (x - mean) * _spread(factor) + mean


def _window(centre: Array, size: int, length: int) -> Array:
    """[E] -> [E, length], true from centre - size // 2 on."""
    start = (centre - size // 2)[:, None]
    position = jnp.arange(length)[None]
    return (position >= start) & (position < start + size)
