# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kernels of infinitely wide fully connected ReLU networks, in closed form.

Sigma_0 = W^2 <x, x'> / D + b^2                                       Theta_0 = Sigma_0
Sigma_l = W^2 sqrt(q q') (sin t + (pi - t) cos t) / (2 pi) + b^2
Theta_l = W^2 (pi - t) / (2 pi) Theta_{l-1} + Sigma_l

with ``q = Sigma_{l-1}(x, x)`` and ``cos t = Sigma_{l-1}(x, x') / sqrt(q q')``: the
arc-cosine kernels of Cho and Saul, "Kernel Methods for Deep Learning", 2009.
``Sigma`` is the kernel of the network at its start (NNGP), ``Theta`` that of its
training by gradient descent (NTK).
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.types import Array

__all__ = ["Kernel", "Kernels", "fully_connected", "fully_connected_kernel"]

Kernel = Callable[[Array, Array], Array]  # (x [N, ...], x' [M, ...]) -> [N, M]

# Rounding gives one example's cosine with itself an error of some units in the last
# place. Pairs within this many of them have the angle 0.
_COINCIDENT = 64


class Kernels(NamedTuple):
    """Both kernels between two sets of examples."""

    nngp: Array  # [N, M] covariance of the outputs of random networks
    ntk: Array  # [N, M] inner products of the gradients in the parameters


def fully_connected(
    x: Array,
    y: Array,
    *,
    depth: int = 1,
    weight_std: float = math.sqrt(2),
    bias_std: float = 0.1,
) -> Kernels:
    """The kernels of a fully connected ReLU network of infinite width.

    Parameters are standard normal, a layer computes ``W / sqrt(width) w h + b beta``
    (the "NTK parametrisation"); all layers are trained.

    Values and gradients are finite everywhere, and correct where two examples
    coincide: there the angle is 0 to all digits, and its derivative, which has no
    limit, is taken as 0, the mean over all directions.

    Args:
      x: ``[N, ...]``, flattened here.
      y: ``[M, ...]``.
      depth: hidden layers.
      weight_std: ``W``.
      bias_std: ``b``.

    Returns:
      :class:`Kernels`, differentiable in both examples.

    Raises:
      InputError: for a depth below 1, a deviation that is negative or, of the weights,
        0, or examples of two sizes.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.eye(2)
      >>> print(fully_connected(x, x, bias_std=0.0).nngp.round(2))
      [[1.   0.32]
       [0.32 1.  ]]

    Reference:
      Arthur Jacot, Franck Gabriel, Clément Hongler, "Neural Tangent Kernel: Convergence
      and Generalization in Neural Networks", 2018, theorem 1.
    """
    _check(depth, weight_std, bias_std)
    x, y = (examples.reshape(examples.shape[0], -1) for examples in (x, y))
    num_inputs = x.shape[1]
    if y.shape[1] != num_inputs:
        raise errors.InputError(
            f"A kernel is between examples of one size, but these have {num_inputs} "
            f"and {y.shape[1]} values; pass two sets of the same data."
        )
    widen = lambda inner: weight_std**2 * inner + bias_std**2
    # TF32 would put the same example a hundredth of a radian from itself.
    product = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    nngp = widen(product / num_inputs)
    q_x, q_y = (widen(jnp.mean(examples**2, axis=1)) for examples in (x, y))
    ntk = nngp
    for _ in range(depth):
        norm = _root(q_x)[:, None] * _root(q_y)[None, :]
        cosine = nngp / jnp.where(norm > 0, norm, 1.0)
        nngp = widen(norm * _arc_cosine_1(cosine))
        ntk = weight_std**2 * _arc_cosine_0(cosine) * ntk + nngp
        q_x, q_y = widen(q_x / 2), widen(q_y / 2)
    return Kernels(nngp, ntk)


def fully_connected_kernel(
    *,
    depth: int = 1,
    kind: Literal["ntk", "nngp"] = "ntk",
    weight_std: float = math.sqrt(2),
    bias_std: float = 0.1,
) -> Kernel:
    """One kernel of :func:`fully_connected`, as a function of two sets of examples.

    Args:
      depth: hidden layers.
      kind: of a network trained by gradient descent, or of its last layer alone.
      weight_std: the deviation of the weights.
      bias_std: of the biases.

    Returns:
      ``(x [N, ...], y [M, ...]) -> [N, M]``.

    Raises:
      InputError: for an unknown kind, a depth below 1 or a deviation out of range.

    Example:
      >>> import jax.numpy as jnp
      >>> kernel = fully_connected_kernel(depth=2)
      >>> kernel(jnp.ones((3, 8, 8, 1)), jnp.ones((5, 8, 8, 1))).shape
      (3, 5)
    """
    _check(depth, weight_std, bias_std)
    if kind not in Kernels._fields:
        hint = errors.nearest(kind, Kernels._fields)
        raise errors.InputError(f'There is no kernel of the kind "{kind}". {hint}')

    def kernel(x: Array, y: Array) -> Array:
        kernels = fully_connected(
            x, y, depth=depth, weight_std=weight_std, bias_std=bias_std
        )
        return getattr(kernels, kind)

    return kernel


@jax.custom_jvp
def _arc_cosine_0(cosine: Array) -> Array:
    """``(pi - t) / (2 pi)``, the mean product of two ReLUs' derivatives."""
    return (math.pi - _angle(cosine)) / (2 * math.pi)


@_arc_cosine_0.defjvp
def _arc_cosine_0_jvp(primals, tangents):
    (cosine,), (tangent,) = primals, tangents
    sine = jnp.sin(_angle(cosine))
    # Zero where the angle is 0 or pi: the cusp has no derivative there.
    slope = jnp.where(sine > 0, 1 / jnp.where(sine > 0, sine, 1.0), 0.0)
    return _arc_cosine_0(cosine), slope / (2 * math.pi) * tangent


@jax.custom_jvp
def _arc_cosine_1(cosine: Array) -> Array:
    """``(sin t + (pi - t) cos t) / (2 pi)``, the mean product of two ReLUs."""
    angle = _angle(cosine)
    value = jnp.sin(angle) + (math.pi - angle) * jnp.cos(angle)
    return value / (2 * math.pi)


@_arc_cosine_1.defjvp
def _arc_cosine_1_jvp(primals, tangents):
    (cosine,), (tangent,) = primals, tangents
    return _arc_cosine_1(cosine), _arc_cosine_0(cosine) * tangent


def _angle(cosine: Array) -> Array:
    """The angle, exactly 0 or pi where rounding could have brought it there."""
    limit = 1 - _COINCIDENT * jnp.finfo(cosine.dtype).eps
    is_open = jnp.abs(cosine) < limit
    angle = jnp.arccos(jnp.where(is_open, cosine, 0.0))
    return jnp.where(is_open, angle, jnp.where(cosine > 0, 0.0, math.pi))


def _root(q: Array) -> Array:
    """The square root, with derivative 0 at 0."""
    return jnp.where(q > 0, jnp.sqrt(jnp.where(q > 0, q, 1.0)), 0.0)


def _check(depth: int, weight_std: float, bias_std: float) -> None:
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise errors.InputError(
            "`depth` must be a whole number of hidden layers, at least 1, got "
            f"{depth!r}."
        )
    if not weight_std > 0:
        raise errors.InputError(f"`weight_std` must be positive, got {weight_std}.")
    if not bias_std >= 0:
        raise errors.InputError(f"`bias_std` must be 0 or more, got {bias_std}.")
