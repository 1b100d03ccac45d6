# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The convolution of a processor: its three products, each by its fastest program.

    sum_{b, r, c, o} cotangent[b, r, c, o] (x * kernel)[b, r, c, o]

is linear in the pictures, in the kernel and in the cotangent. Its derivatives for the
three are the convolution itself (of pictures and kernel), the one for the pictures (of
cotangent and kernel) and the one for the kernel (of pictures and cotangent), and the
derivatives of each of these are the other two, to any order. Here they are primitives
of jax that know this of each other.

XLA has a fast program for a convolution of ``NHWC`` by ``HWIO``, which writes no
patches; it does not recognise others, such as the derivatives it makes of the first by
itself, and is then up to a hundred times slower. So the first two are brought to that
form, or to tiles (:mod:`distill_jax.nets.winograd`) where they are wide, and the third,
as all where kernels are mapped over by ``vmap``, to matrix products.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir

from distill_jax.nets import winograd
from distill_jax.types import Array

__all__ = ["convolve", "patches_of", "pixel_patches"]

# Products of patches are the faster ones for 3x3 of one channel, and for the kernel's
# gradient up to that of three colours.
_LARGEST_PATCH = 9
_LARGEST_PATCH_FOR_KERNEL = 27


def convolve(x: Array, kernel: Array, padding: int) -> Array:
    """Convolves pictures with a kernel, with stride one.

    Args:
      x: [B, H, W, I].
      kernel: [rows, columns, I, O].
      padding: zeros added at each side of both axes.

    Returns:
      [B, H + 2 padding - rows + 1, W + 2 padding - columns + 1, O].

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.arange(9.0).reshape(1, 3, 3, 1)
      >>> print(convolve(x, jnp.ones((3, 3, 1, 1)), 0)[0, 0, 0])
      [36.]
    """
    dtype = jnp.result_type(x, kernel)
    return _forward.bind(x.astype(dtype), kernel.astype(dtype), padding=padding)


def patches_of(
    x: Array, shape: tuple[int, int], padding: int, stride: int = 1
) -> Array:
    """Shifted views side by side in the channels.

    Args:
      x: [B, H, W, I].
      shape: rows and columns of a patch.
      padding: zeros added at each side of both axes.
      stride: between two patches, in both axes.

    Returns:
      [B, h, w, rows * columns * I].

    Example:
      >>> import jax.numpy as jnp
      >>> patches_of(jnp.ones((2, 8, 8, 3)), (3, 3), 1).shape
      (2, 8, 8, 27)
    """
    num_rows, num_columns = shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    height = (x.shape[1] - num_rows) // stride + 1
    width = (x.shape[2] - num_columns) // stride + 1
    span_rows, span_columns = stride * (height - 1) + 1, stride * (width - 1) + 1
    views = [
        x[:, i : i + span_rows : stride, j : j + span_columns : stride, :]
        for i in range(num_rows)
        for j in range(num_columns)
    ]
    return jnp.concatenate(views, axis=-1)


def pixel_patches(x: Array, shape: tuple[int, int], padding: int) -> Array:
    """The patches of few channels with the pixels last, where neighbours stay together.

    Args:
      x: [B, H, W, I].
      shape: rows and columns of a patch.
      padding: zeros added at each side of both axes.

    Returns:
      [B, rows * columns * I, h * w].

    Example:
      >>> import jax.numpy as jnp
      >>> pixel_patches(jnp.ones((2, 8, 8, 3)), (3, 3), 1).shape
      (2, 27, 64)
    """
    num_rows, num_columns = shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    x = x.transpose(0, 3, 1, 2)
    height, width = x.shape[2] - num_rows + 1, x.shape[3] - num_columns + 1
    views = [
        x[:, :, i : i + height, j : j + width]
        for i in range(num_rows)
        for j in range(num_columns)
    ]
    patches = jnp.stack(views, axis=1)
    return patches.reshape(len(x), num_rows * num_columns * x.shape[1], height * width)


def _conv(x: Array, kernel: Array, *, padding: int) -> Array:
    if math.prod(kernel.shape[:3]) <= _LARGEST_PATCH:
        rows, columns = kernel.shape[:2]
        patches = pixel_patches(x, (rows, columns), padding)
        out = patches.swapaxes(1, 2) @ kernel.reshape(-1, kernel.shape[-1])
        height, width = (
            size + 2 * padding - span + 1
            for size, span in zip(x.shape[1:3], (rows, columns), strict=True)
        )
        return out.reshape(len(x), height, width, -1)
    return _by_xla_or_tiles(x, kernel, padding)


def _by_xla_or_tiles(x: Array, kernel: Array, padding: int) -> Array:
    if winograd.is_tiled(x, kernel, padding):
        return winograd.convolve_tiles(x, kernel, padding)
    return _by_xla(x, kernel, padding)


def _by_xla(x: Array, kernel: Array, padding: int) -> Array:
    """The form that XLA has a fast program for."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((padding, padding), (padding, padding)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _conv_for_x(cotangent: Array, kernel: Array, *, padding: int) -> Array:
    if math.prod(kernel.shape[:3]) > _LARGEST_PATCH:
        return _by_xla_or_tiles(*_turned(cotangent, kernel, padding), 0)
    num_examples, height, width, num_out = cotangent.shape
    rows, columns, num_in, _ = kernel.shape
    x = jax.ShapeDtypeStruct(
        (
            num_examples,
            height + rows - 1 - 2 * padding,
            width + columns - 1 - 2 * padding,
            num_in,
        ),
        cotangent.dtype,
    )
    pixels = cotangent.reshape(num_examples, -1, num_out).swapaxes(1, 2)
    patches = kernel.reshape(-1, num_out) @ pixels
    add_up = jax.linear_transpose(
        lambda x: pixel_patches(x, (rows, columns), padding), x
    )
    return add_up(patches)[0]


def _conv_for_kernel(x: Array, cotangent: Array, *, padding: int) -> Array:
    """A product of shifted pictures and the cotangent for each place of the kernel."""
    rows, columns = _kernel_shape(x.shape, cotangent.shape, padding)
    if rows * columns * x.shape[-1] <= _LARGEST_PATCH_FOR_KERNEL:
        return _products_for_kernel(x, cotangent, padding=padding)
    _, height, width, num_out = cotangent.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    # Outputs first is twice as fast as the transposed pictures times the cotangent,
    # into which XLA would turn it without the barriers.
    outputs = jax.lax.optimization_barrier(cotangent.reshape(-1, num_out).T)
    products = [
        outputs @ x[:, i : i + height, j : j + width].reshape(-1, x.shape[-1])
        for i in range(rows)
        for j in range(columns)
    ]
    stacked = jnp.stack(jax.lax.optimization_barrier(products))
    return stacked.swapaxes(1, 2).reshape(rows, columns, -1, num_out)


def _products(x: Array, kernel: Array, *, padding: int) -> Array:
    if winograd.is_tiled(x, kernel, padding):
        return winograd.convolve_tiles(x, kernel, padding)
    patches = patches_of(x, (kernel.shape[0], kernel.shape[1]), padding)
    return patches @ kernel.reshape(-1, kernel.shape[-1])


def _products_for_x(cotangent: Array, kernel: Array, *, padding: int) -> Array:
    return _products(*_turned(cotangent, kernel, padding), padding=0)


def _products_for_kernel(x: Array, cotangent: Array, *, padding: int) -> Array:
    """A product for each example; their sum is the kernel's."""
    num_examples, _, _, num_out = cotangent.shape
    shape = _kernel_shape(x.shape, cotangent.shape, padding)
    patches = pixel_patches(x, shape, padding)
    out = patches @ cotangent.reshape(num_examples, -1, num_out)
    return out.sum(axis=0).reshape(*shape, -1, num_out)


def _turned(cotangent: Array, kernel: Array, padding: int) -> tuple[Array, Array]:
    """What has to be convolved, without padding, for the gradient of the pictures."""
    sizes = [size - 1 - padding for size in kernel.shape[:2]]
    config = [(0, 0, 0), *((size, size, 0) for size in sizes), (0, 0, 0)]
    # Where pictures were padded by more than a kernel, the outermost is cut off.
    cotangent = jax.lax.pad(cotangent, jnp.zeros((), cotangent.dtype), config)
    return cotangent, kernel[::-1, ::-1].swapaxes(2, 3)


def _kernel_shape(x: tuple, cotangent: tuple, padding: int) -> tuple[int, int]:
    rows, columns = (
        size + 2 * padding - out + 1
        for size, out in zip(x[1:3], cotangent[1:3], strict=True)
    )
    return rows, columns


def _primitive(
    name: str,
    program: Callable[..., Array],
    mapped: Callable[..., Array],
    *,
    folds: bool,
) -> core.Primitive:
    """A product of two arrays as an operation of jax.

    Args:
      name: of the operation.
      program: what it is compiled as.
      mapped: the same function in a form that may be mapped over both arguments.
      folds: whether rows of the first argument alone are nothing but more examples.
    """
    primitive = core.Primitive(name)
    compiled = jax.jit(program, static_argnames="padding")
    primitive.def_impl(compiled)

    @functools.cache
    def shape(a: Array, b: Array, padding: int):
        return jax.eval_shape(lambda a, b: program(a, b, padding=padding), a, b).shape

    def type_of(a, b, *, padding: int):
        plain = [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in (a, b)]
        return jax.core.ShapedArray(shape(*plain, padding), a.dtype)

    def map_rows(args, axes, **params: Any):
        (a, b), (axis, other) = args, axes
        if not folds or other is not None:
            return jax.vmap(lambda a, b: mapped(a, b, **params), axes)(a, b), 0
        a = jnp.moveaxis(a, axis, 0)
        out = primitive.bind(
            a.reshape(math.prod(a.shape[:2]), *a.shape[2:]), b, **params
        )
        return out.reshape(*a.shape[:2], *out.shape[1:]), 0

    primitive.def_abstract_eval(type_of)
    mlir.register_lowering(primitive, mlir.lower_fun(program, multiple_results=False))
    batching.primitive_batchers[primitive] = map_rows
    return primitive


_forward = _primitive("convolution", _conv, _products, folds=True)
_for_x = _primitive("convolution_for_x", _conv_for_x, _products_for_x, folds=True)
_for_kernel = _primitive(
    "convolution_for_kernel", _conv_for_kernel, _products_for_kernel, folds=False
)

# Of each the derivatives for both arguments, given a cotangent of its result.
ad.defbilinear(
    _forward,
    lambda out, _, kernel, **params: _for_x.bind(out, kernel, **params),
    lambda out, x, _, **params: _for_kernel.bind(x, out, **params),
)
ad.defbilinear(
    _for_x,
    lambda out, _, kernel, **params: _forward.bind(out, kernel, **params),
    lambda out, cotangent, _, **params: _for_kernel.bind(out, cotangent, **params),
)
ad.defbilinear(
    _for_kernel,
    lambda out, _, cotangent, **params: _for_x.bind(cotangent, out, **params),
    lambda out, x, _, **params: _forward.bind(x, out, **params),
)
