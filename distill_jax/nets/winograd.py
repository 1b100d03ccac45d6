# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Convolutions with fewer multiplications: 2x2 outputs at a time from 4x4 inputs.

16 multiplications stand in place of 36; in one dimension, with inputs d and kernel g,

    y_0 = m_0 + m_1 + m_2,  y_1 = m_1 - m_2 - m_3,
    m_0 = (d_0 - d_2) g_0,  m_1 = (d_1 + d_2) (g_0 + g_1 + g_2) / 2,
    m_3 = (d_1 - d_3) g_2,  m_2 = (d_2 - d_1) (g_0 - g_1 + g_2) / 2.

Andrew Lavin and Scott Gray, "Fast Algorithms for Convolutional Neural Networks", 2016,
section 4.1; the transforms are Winograd's.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from distill_jax.types import Array

__all__ = ["convolve_tiles", "is_tiled"]

# With 32 input channels the transforms cost what the products save.
_FEWEST_CHANNELS = 64


def is_tiled(x: Array, kernel: Array, padding: int) -> bool:
    """Whether tiles are possible and pay.

    Args:
      x: [B, H, W, I].
      kernel: [rows, columns, I, O].
      padding: zeros added at each side of both axes.

    Returns:
      True for whole 2x2 squares of outputs of a 3x3 kernel and many channels, in single
      precision or better: the transforms add neighbours up, which half does not bear.

    Example:
      >>> import jax.numpy as jnp
      >>> is_tiled(jnp.ones((1, 8, 8, 64)), jnp.ones((3, 3, 64, 2)), 1)
      True
    """
    _, height, width, channels = x.shape
    is_even = height % 2 == width % 2 == 0 and min(height, width) + 2 * padding > 2
    return (
        kernel.shape[:2] == (3, 3)
        and is_even
        and channels >= _FEWEST_CHANNELS
        and jnp.result_type(x, kernel).itemsize >= 4
    )


def convolve_tiles(x: Array, kernel: Array, padding: int) -> Array:
    """Convolves pictures with a 3x3 kernel: a product for each of the 4x4 places.

    Args:
      x: [B, H, W, I].
      kernel: [3, 3, I, O].
      padding: zeros added at each side of both axes.

    Returns:
      [B, H + 2 padding - 2, W + 2 padding - 2, O].

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
      >>> convolve_tiles(x, jnp.ones((3, 3, 1, 1)), 0).ravel().tolist()
      [45.0, 54.0, 81.0, 90.0]
    """
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    batch, height, width, channels = x.shape
    rows, columns = height // 2 - 1, width // 2 - 1
    # Parities apart, a place of all tiles is a plain slice, and so is its derivative.
    x = x.reshape(batch, rows + 1, 2, columns + 1, 2, channels)
    place = lambda i, j: x[
        :, i // 2 : i // 2 + rows, i % 2, j // 2 : j // 2 + columns, j % 2
    ]
    tiles = _both_axes(_of_inputs, [[place(i, j) for j in range(4)] for i in range(4)])
    kernels = _both_axes(_of_kernel, kernel)
    products = [
        [tile @ matrix for tile, matrix in zip(*pair, strict=True)]
        for pair in zip(tiles, kernels, strict=True)
    ]
    out = _both_axes(_of_products, products)
    out = jnp.stack([jnp.stack(row, axis=3) for row in out], axis=2)
    return out.reshape(batch, 2 * rows, 2 * columns, -1)


def _both_axes(fn: Callable, grid: Any) -> list[tuple[Array, ...]]:
    """A transform of sequences, along both axes of a grid (nested, or an array)."""
    rows = [fn(*row) for row in grid]
    columns = [fn(*column) for column in zip(*rows, strict=True)]
    return list(zip(*columns, strict=True))


def _of_inputs(d0: Array, d1: Array, d2: Array, d3: Array) -> tuple[Array, ...]:
    return d0 - d2, d1 + d2, d2 - d1, d1 - d3


def _of_kernel(g0: Array, g1: Array, g2: Array) -> tuple[Array, ...]:
    return g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2


def _of_products(m0: Array, m1: Array, m2: Array, m3: Array) -> tuple[Array, ...]:
    return m0 + m1 + m2, m1 - m2 - m3
