# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One convolution in two forms with the same parameters and the same results.

    out[b, r, c, o] = sum_{i, j, k} x[b, s r + i - p, s c + j - p, k] kernel[i, j, k, o]

The form "matmul" writes it as one matrix product: all derivatives are then products
too. On the CPU, XLA's own convolution runs many times slower inside loops, for second
derivatives and under ``vmap`` over kernels; on accelerators it is the faster one.
"""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.types import Array

__all__ = ["Form", "check_form", "conv2d"]

Form = Literal["auto", "matmul", "xla"]


def conv2d(
    x: Array, kernel: Array, *, padding: int = 1, stride: int = 1, form: Form = "auto"
) -> Array:
    """Convolves pictures with a kernel (as networks do: without flipping it).

    Args:
      x: [B, H, W, I].
      kernel: [rows, columns, I, O].
      padding: zeros added at each side of both axes.
      stride: step of the output in both axes.
      form: ``"matmul"``, ``"xla"``, or ``"auto"``: the matrix product on the CPU,
        XLA's convolution elsewhere.

    Returns:
      [B, (H + 2 padding - rows) // stride + 1, (same for W), O].

    Raises:
      InputError: if the form is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax import nets
      >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
      >>> print(nets.conv2d(x, jnp.ones((3, 3, 1, 1)), padding=0)[0, 0, 0])
      [36.]
    """
    check_form(form)
    if form == "auto":
        form = "matmul" if jax.default_backend() == "cpu" else "xla"
    if form == "matmul":
        return _as_matmul(x, kernel, padding, stride)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def check_form(form: str) -> None:
    """Raises unless a form of the convolution is known.

    Args:
      form: what was passed as ``form`` or ``conv``.

    Raises:
      InputError: if it is none of ``"auto"``, ``"matmul"`` and ``"xla"``.

    Example:
      >>> check_form("matmul")
    """
    if form not in get_args(Form):
        raise errors.InputError(
            f'A convolution has no form "{form}". '
            f"{errors.nearest(str(form), get_args(Form))}"
        )


def _as_matmul(x: Array, kernel: Array, padding: int, stride: int) -> Array:
    """The shifted views side by side in the channels, times the flattened kernel."""
    num_rows, num_columns, _, num_out = kernel.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height = (x.shape[1] - num_rows) // stride + 1
    width = (x.shape[2] - num_columns) // stride + 1
    span_rows, span_columns = stride * (height - 1) + 1, stride * (width - 1) + 1
    views = [
        x[:, i : i + span_rows : stride, j : j + span_columns : stride, :]
        for i in range(num_rows)
        for j in range(num_columns)
    ]
    patches = jnp.concatenate(views, axis=-1)
    rows = patches.reshape(-1, patches.shape[-1])
    out = rows @ kernel.reshape(-1, num_out)
    return out.reshape(x.shape[0], height, width, num_out)
