# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Normalisation as a pytree of arrays, and its inverse.

    u = scale * raw          unit values, [0, 1] for pixels
    x = (u - mean) / std     mean and deviation of each channel, or
    x = (u - mean) W         ZCA whitening, W = U diag((s + eps)^-1/2) U^T

where ``U diag(s) U^T`` is the covariance of the flattened training images. A
:class:`Normalizer` is an argument of jitted functions, never a captured constant: the
whitening matrix of CIFAR-10 has 38 MB.

The published means and deviations are those of the code of Zhao & Bilen, "Dataset
Condensation with Differentiable Siamese Augmentation" (2021); whitening with
``eps = 0.1`` on images in [0, 1] follows Cazenavette et al., "Dataset Distillation by
Matching Training Trajectories" (2022).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.types import Array

__all__ = [
    "PUBLISHED",
    "Normalizer",
    "denormalize",
    "identity_normalizer",
    "mean_std_normalizer",
    "normalize",
    "pixel_bounds",
    "to_pixels",
    "zca_normalizer",
]

CHUNK = 1024  # Examples that are turned into floats at a time.

# Mean and deviation of each channel of pixels in [0, 1].
PUBLISHED = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion_mnist": ((0.2861,), (0.3530,)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
}

UNIT_RANGE = np.array([0.0, 1.0], np.float32)


class Normalizer(NamedTuple):
    """The map from raw inputs to what networks see, as arrays."""

    scale: Any  # [] raw value -> unit value
    mean: Any  # [channels], or the shape of an example with whitening
    std: Any  # [channels]
    whiten: Any = None  # [D, D] or None
    unwhiten: Any = None  # [D, D] or None
    pixel_range: Any = UNIT_RANGE  # [2] unit values shown as black and white


def identity_normalizer(num_channels: int) -> Normalizer:
    """Makes the normaliser that leaves inputs as they are.

    Args:
      num_channels: the size of the last axis of an example.

    Example:
      >>> normalize(identity_normalizer(1), np.array([[0.5]])).tolist()
      [[0.5]]
    """
    zero, one = np.zeros(num_channels, np.float32), np.ones(num_channels, np.float32)
    return Normalizer(np.float32(1), zero, one)


def normalize(normalizer: Normalizer, x: Any) -> Array:
    """Turns raw inputs into what networks see; pure and jit-able.

    Args:
      normalizer: arrays, as in ``spec.normalizer``.
      x: raw inputs ``[..., H, W, channels]`` or ``[..., D]``, any number of leading
        axes.

    Returns:
      Float32 inputs of the same shape.

    Example:
      >>> half = Normalizer(np.float32(1 / 255), np.full(1, 0.5), np.full(1, 0.5))
      >>> normalize(half, np.array([[0], [255]], np.uint8)).tolist()
      [[-1.0], [1.0]]
    """
    scale = jnp.asarray(normalizer.scale)
    x = jnp.asarray(x).astype(scale.dtype) * scale
    x = (x - _rank_of(x, normalizer.mean)) / _rank_of(x, normalizer.std)
    if normalizer.whiten is None:
        return x
    return _flat_matmul(x, normalizer.whiten, normalizer.mean)


def pixel_bounds(normalizer: Normalizer) -> tuple[list[float], list[float]] | None:
    """The values that black and white have for the networks.

    Args:
      normalizer: arrays, as in ``spec.normalizer``.

    Returns:
      The lowest and the highest value of each channel; ``None`` after whitening, where
      a value belongs to many pixels.

    Example:
      >>> half = Normalizer(np.float32(1 / 255), np.full(1, 0.5), np.full(1, 0.5))
      >>> pixel_bounds(half)
      ([-1.0], [1.0])
    """
    if normalizer.whiten is not None:
        return None
    mean, std = np.atleast_1d(normalizer.mean), np.atleast_1d(normalizer.std)
    low, high = ((unit - mean) / std for unit in np.asarray(normalizer.pixel_range))
    return low.tolist(), high.tolist()


def denormalize(normalizer: Normalizer, x: Any) -> Array:
    """Turns what networks see back into the raw scale; pure and jit-able.

    Args:
      normalizer: arrays, as in ``spec.normalizer``.
      x: normalised inputs ``[..., H, W, channels]`` or ``[..., D]``.

    Returns:
      Floats in the scale of the source (0 .. 255 for bytes), neither rounded nor
      clipped.

    Example:
      >>> half = Normalizer(np.float32(0.5), np.full(1, 0.5), np.full(1, 0.5))
      >>> denormalize(half, np.array([[-1.0], [1.0]])).tolist()
      [[0.0], [2.0]]
    """
    return _to_unit(normalizer, x) / jnp.asarray(normalizer.scale)


def to_pixels(normalizer: Normalizer, x: Any) -> np.ndarray:
    """Turns what networks see into pictures in true colours.

    Args:
      normalizer: arrays, as in ``spec.normalizer``.
      x: normalised images ``[..., H, W, channels]``.

    Returns:
      uint8 of the same shape: black is 0, white 255, what lies outside is clipped.

    Example:
      >>> plain = Normalizer(np.float32(1 / 16), np.zeros(1), np.ones(1))
      >>> to_pixels(plain, np.array([[[0.0], [0.5], [3.0]]])).tolist()
      [[[0], [128], [255]]]
    """
    low, high = np.asarray(normalizer.pixel_range)
    unit = np.asarray(_to_unit(normalizer, x), np.float64)
    pixels = np.nan_to_num((unit - low) / (high - low)) * 255
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def mean_std_normalizer(
    x: np.ndarray, *, scale: float, pixel_range: tuple[float, float] = (0.0, 1.0)
) -> Normalizer:
    """Fits the mean and deviation of each channel.

    Args:
      x: raw inputs ``[N, ..., channels]``, the training part only.
      scale: raw value to unit value.
      pixel_range: unit values that pictures show as black and white.

    Returns:
      A normaliser with which each channel of ``x`` has mean 0 and deviation 1. A
      channel that never varies keeps the deviation 1.

    Example:
      >>> mean_std_normalizer(np.array([[0.0], [4.0]]), scale=0.5).mean.tolist()
      [1.0]
    """
    axes = tuple(range(x.ndim - 1))
    num = x.size // x.shape[-1]
    mean, square = np.zeros(x.shape[-1:]), np.zeros(x.shape[-1:])
    for chunk in _chunks(x):
        mean += chunk.sum(axes, dtype=np.float64) / num
    for chunk in _chunks(x):
        square += np.square(chunk - mean).sum(axes) / num
    std = np.sqrt(square) * scale
    return Normalizer(
        scale=np.asarray(scale, np.float32),
        mean=np.asarray(mean * scale, np.float32),
        # What is left of a constant after rounding is no deviation.
        std=np.where(std > 1e-7 * np.abs(mean * scale), std, 1.0).astype(np.float32),
        pixel_range=np.asarray(pixel_range, np.float32),
    )


def zca_normalizer(
    x: np.ndarray,
    *,
    scale: float,
    eps: float = 0.1,
    pixel_range: tuple[float, float] = (0.0, 1.0),
) -> Normalizer:
    """Fits ZCA whitening: ``W = U diag((s + eps)^-1/2) U^T``.

    The covariance divides by ``N - 1``. It is accumulated in float64 over chunks that
    are multiplied in float32, or in float64 where ``x`` is float64; the result has
    the type of the products.

    Args:
      x: raw inputs ``[N, ...]``, the training part only.
      scale: raw value to unit value; whitening follows it directly.
      eps: what is added to the eigenvalues of the covariance.
      pixel_range: unit values that pictures show as black and white.

    Returns:
      A normaliser with the matrix and its inverse. The covariance of the whitened
      ``x`` has the eigenvalues ``s / (s + eps)``.

    Example:
      >>> x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
      >>> zca_normalizer(x, scale=1.0, eps=0.0).whiten.round(3).tolist()
      [[0.866, 0.0], [0.0, 0.866]]

    Reference:
      Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009),
      appendix A.
    """
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    mean = np.zeros(x.shape[1:])
    for chunk in _chunks(x):
        mean += chunk.sum(0, dtype=np.float64) * (scale / len(x))
    covariance = np.zeros((mean.size, mean.size))
    for chunk in _chunks(x):
        centred = (chunk * dtype(scale) - mean.astype(dtype)).reshape(len(chunk), -1)
        covariance += centred.T @ centred
    values, vectors = np.linalg.eigh(covariance / max(len(x) - 1, 1))
    root = np.sqrt(np.maximum(values, 0) + eps)
    return Normalizer(
        scale=np.asarray(scale, dtype),
        mean=mean.astype(dtype),
        std=np.ones(x.shape[-1:], dtype),
        whiten=((vectors / root) @ vectors.T).astype(dtype),
        unwhiten=((vectors * root) @ vectors.T).astype(dtype),
        pixel_range=np.asarray(pixel_range, np.float32),
    )


def _to_unit(normalizer: Normalizer, x: Any) -> Array:
    """Undoes all of the normalisation but the scale."""
    x = jnp.asarray(x)
    if normalizer.unwhiten is not None:
        x = _flat_matmul(x, normalizer.unwhiten, normalizer.mean)
    return x * _rank_of(x, normalizer.std) + _rank_of(x, normalizer.mean)


def _flat_matmul(x: Array, matrix: Any, example: Any) -> Array:
    """Multiplies each example, flattened, with a matrix `[D, D]`."""
    lead = x.shape[: x.ndim - example.ndim]
    flat = x.reshape(*lead, -1)
    # Full precision: TF32 would lose what the small eigenvalues hold.
    flat = jnp.matmul(flat, matrix, precision=jax.lax.Precision.HIGHEST)
    return flat.reshape(x.shape)


def _rank_of(x: Array, leaf: Any) -> Array:
    """Gives a statistic the number of axes of `x`, for explicit broadcasting."""
    leaf = jnp.asarray(leaf, x.dtype)
    return leaf.reshape((1,) * (x.ndim - leaf.ndim) + leaf.shape)


def _chunks(x: np.ndarray):
    """The examples, a thousand at a time."""
    return (x[start : start + CHUNK] for start in range(0, len(x), CHUNK))
