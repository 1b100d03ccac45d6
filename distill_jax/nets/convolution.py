# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One convolution in two forms with the same parameters and the same results.

    out[b, r, c, o] = sum_{i, j, k} x[b, s r + i - p, s c + j - p, k] kernel[i, j, k, o]

The form "cpu" brings the convolution and its derivatives to what XLA has fast programs
for on processors (:mod:`distill_jax.nets.cpu_convolution`); left to itself, XLA is many
times slower there for kernels' gradients, second derivatives and under ``vmap`` over
kernels. On accelerators its own form is the faster one.
"""

import math
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.nets import cpu_convolution
from distill_jax.types import Array

__all__ = ["Form", "can_fold", "check_form", "conv2d", "normalised_conv2d"]

Form = Literal["auto", "cpu", "xla"]

# The covariance of patches costs their size squared: 3x3 of one channel.
_LARGEST_PATCH_TO_FOLD = 9


def conv2d(
    x: Array, kernel: Array, *, padding: int = 1, stride: int = 1, form: Form = "auto"
) -> Array:
    """Convolves pictures with a kernel (as networks do: without flipping it).

    Args:
      x: [B, H, W, I].
      kernel: [rows, columns, I, O].
      padding: zeros added at each side of both axes.
      stride: step of the output in both axes.
      form: ``"cpu"``, ``"xla"``, or ``"auto"``: the one for processors on the CPU,
        XLA's own convolution elsewhere.

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
    form = _resolve(form)
    if form == "cpu" and stride == 1:
        return cpu_convolution.convolve(x, kernel, padding)
    if form == "cpu":
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
      InputError: if it is none of ``"auto"``, ``"cpu"`` and ``"xla"``.

    Example:
      >>> check_form("cpu")
    """
    if form not in get_args(Form):
        raise errors.InputError(
            f'A convolution has no form "{form}". '
            f"{errors.nearest(str(form), get_args(Form))}"
        )


def normalised_conv2d(
    x: Array,
    kernel: Array,
    scale: Array,
    shift: Array,
    *,
    padding: int = 1,
    epsilon: float = 1e-5,
) -> Array:
    """Convolves, then normalises each channel of each example, without a pass for that.

    With the patches p of an example, their mean m and their covariance V, the outputs
    of a column k of the kernel have mean m'k and variance k'Vk, so

        out = scale (p - m)'k / sqrt(k'Vk + epsilon) + shift

    is a product with a kernel of the example's own. It pays for small patches only.

    Args:
      x: [B, H, W, I].
      kernel: [rows, columns, I, O].
      scale: [O].
      shift: [O].
      padding: zeros added at each side of both axes.
      epsilon: added to the variance, which is that over all places of the output.

    Returns:
      [B, h, w, O]: instance norm of :func:`conv2d`.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
      >>> ones = jnp.ones(1)
      >>> out = normalised_conv2d(x, jnp.ones((2, 2, 1, 1)), ones, 0 * ones, padding=0)
      >>> print((10 * out).ravel().round())
      [-13.  -6.   6.  13.]
    """
    # What is the same everywhere counts nothing; without it the means are small, and
    # the covariance keeps its digits. Beyond the border it is what zero becomes.
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    x = x - x.mean((1, 2), keepdims=True)
    patches = cpu_convolution.pixel_patches(x, (kernel.shape[0], kernel.shape[1]), 0)
    size, num_pixels = patches.shape[1:]
    mean = patches.mean(axis=2)
    covariance = patches @ patches.swapaxes(1, 2) / num_pixels
    covariance = covariance - mean[:, :, None] * mean[:, None, :]
    columns = kernel.reshape(1, size, -1)
    variance = jnp.sum((covariance @ columns[0]) * columns, axis=1)
    # Rounding may leave a constant picture just below zero.
    variance = jnp.maximum(variance, 0)
    slope = scale.reshape(1, -1) * jax.lax.rsqrt(variance + epsilon)
    columns = columns * slope[:, None, :]
    offset = shift.reshape(1, 1, -1) - mean[:, None, :] @ columns
    out = patches.swapaxes(1, 2) @ columns + offset
    height = x.shape[1] - kernel.shape[0] + 1
    return out.reshape(len(x), height, num_pixels // height, -1)


def can_fold(x: Array, kernel_shape: tuple[int, ...], form: Form) -> bool:
    """Whether :func:`normalised_conv2d` is the better way to an instance norm.

    Args:
      x: [B, H, W, I].
      kernel_shape: (rows, columns).
      form: as in :func:`conv2d`.

    Returns:
      True for the form of processors and small patches, in single precision or better.

    Example:
      >>> import jax.numpy as jnp
      >>> can_fold(jnp.ones((1, 8, 8, 1)), (3, 3), "cpu")
      True
    """
    is_small = math.prod(kernel_shape) * x.shape[-1] <= _LARGEST_PATCH_TO_FOLD
    return is_small and _resolve(form) == "cpu" and x.dtype.itemsize >= 4


def _resolve(form: Form) -> Form:
    check_form(form)
    if form == "auto":
        return "cpu" if jax.default_backend() == "cpu" else "xla"
    return form


def _as_matmul(x: Array, kernel: Array, padding: int, stride: int) -> Array:
    """The patches times the flattened kernel."""
    num_rows, num_columns, _, num_out = kernel.shape
    patches = cpu_convolution.patches_of(x, (num_rows, num_columns), padding, stride)
    rows = patches.reshape(-1, patches.shape[-1])
    # Outputs first, so that the kernel's gradient is the product of the transposed
    # cotangent and the rows: on the CPU up to twice as fast as that of the transposed
    # rows and the cotangent, into which XLA would turn it without the barrier.
    columns = jax.lax.optimization_barrier(kernel.reshape(-1, num_out).T)
    out = rows @ columns.T
    return out.reshape(*patches.shape[:3], num_out)
