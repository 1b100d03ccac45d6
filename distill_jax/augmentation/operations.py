# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The operations by name: what random numbers each makes its parameters from.

    u ~ U(0, 1):  brightness offset (u - 1/2) 1.0;  saturation factor 2 u;  contrast
    factor u + 1/2;  shift in {-s..s}, s = floor(side / 8 + 1/2);  angle (2 u - 1) 15°

Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
2021.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.augmentation import images
from distill_jax.compute import randomness
from distill_jax.types import Array, Key

__all__ = ["NAMES", "Operation", "Strengths", "bind", "sample"]

NAMES = (
    "color",
    "brightness",
    "saturation",
    "contrast",
    "crop",
    "translate",
    "cutout",
    "flip",
    "scale",
    "rotate",
    "noise",
    "rrc",
)

Parameters = dict[str, Array]  # each [E, ...]
Shape = tuple[int, ...]  # [H, W, channels]


class Strengths(NamedTuple):
    """How far each operation goes; the defaults are those of DSA."""

    brightness: float = 1.0  # width of the range of the offset
    saturation: float = 2.0  # upper end of the factor
    contrast: float = 0.5  # lower end of the factor, whose range has width 1
    shift: float = 0.125  # share of the side ...
    shift_pixels: int | None = None  # ... or a number of pixels
    cutout: float = 0.5  # share of the side
    flip: float = 0.5  # probability
    scale: tuple[float, float] = (1 / 1.2, 1.2)  # range of the grid's factor
    rotate: float = 15.0  # degrees
    noise: float = 0.001  # standard deviation
    area: tuple[float, float] = (0.08, 1.0)  # share of the area of a resized crop
    fill: Literal["zero", "mean"] = "zero"  # outside: zero, or the batch's mean colour


class Operation(NamedTuple):
    """One operation: what is random in it, and a deterministic half.

    Ranges, limits, sizes and fills are bound; what is left are the arguments here.
    """

    num_random: int  # numbers for each picture
    draw: Callable[[Array], Parameters]  # of numbers in [0, 1) [num_random, E]
    apply: Callable[..., Array]  # (x [B, H, W, channels], **parameters) -> x


def bind(
    names: Sequence[str],
    strengths: Strengths,
    shape: Shape,
    *,
    align_corners: bool = False,
) -> tuple[Operation, ...]:
    """Makes operations for pictures of one shape.

    Args:
      names: of the operations, from :data:`NAMES`.
      strengths: how far each goes.
      shape: [H, W, channels] of one example.
      align_corners: the convention of scale and rotate.

    Returns:
      One :class:`Operation` for each name.

    Raises:
      InputError: if the examples are no pictures, or a shift leaves nothing of them.

    Example:
      >>> (shift,) = bind(["crop"], Strengths(), (8, 8, 1))
      >>> drawn = shift.draw(jnp.array([[0.1], [0.9]]))
      >>> drawn["rows"].tolist(), drawn["columns"].tolist()
      ([-1], [1])
      >>> shift.apply(jnp.ones((1, 8, 8, 1)), **drawn).sum().item()
      49.0
    """
    _check_shape(shape)
    limit, size = _shift_limit(strengths, shape), _cutout_size(strengths, shape)
    if {"crop", "translate"} & set(names):
        _check_limit(limit, shape)
    bound = functools.partial
    filled = bound(_filled, strengths.fill)
    shift = Operation(2, bound(_shift, limit), filled(images.shift, limit=limit))
    scale = filled(images.scale, align_corners=align_corners)
    rotate = filled(images.rotate, align_corners=align_corners)
    num_values, area = math.prod(shape), strengths.area
    table = {
        "color": Operation(3, bound(_color, strengths), images.color),
        "brightness": Operation(1, bound(_offset, strengths), images.brightness),
        "saturation": Operation(1, bound(_saturation, strengths), images.saturation),
        "contrast": Operation(1, bound(_contrast, strengths), images.contrast),
        "crop": shift,
        "translate": shift,
        "cutout": Operation(
            2, bound(_centre, size, shape), bound(images.cutout, size=size)
        ),
        "flip": Operation(1, bound(_flipped, strengths), images.flip),
        "scale": Operation(2, bound(_scales, strengths.scale), scale),
        "rotate": Operation(1, bound(_angle, strengths.rotate), rotate),
        "noise": Operation(num_values, bound(_noise, strengths, shape), images.noise),
        "rrc": Operation(3, bound(_part, area, shape), images.resized_crop),
    }
    return tuple(table[name] for name in names)


def sample(
    key: Key, names: Sequence[str], strengths: Strengths, num: int, shape: Shape
) -> tuple[Array, tuple[Parameters, ...]]:
    """Draws the parameters of some operations, all from one draw of random numbers.

    Args:
      key: a random key.
      names: of the operations, from :data:`NAMES`.
      strengths: how far each goes.
      num: E, for how many examples.
      shape: [H, W, channels] of one example.

    Returns:
      E numbers in [0, 1) that no operation has seen, and the parameters of each
      operation.

    Raises:
      InputError: as :func:`bind`.

    Example:
      >>> spare, (crop, flip) = sample(
      ...     jax.random.key(0), ["crop", "flip"], Strengths(), 5, (8, 8, 1))
      >>> spare.shape, crop["rows"].shape, flip["flipped"].shape
      ((5,), (5,), (5,))
    """
    bound = bind(names, strengths, shape)
    ends = [1]
    for operation in bound:
        ends.append(ends[-1] + operation.num_random)
    numbers = jax.random.uniform(key, (ends[-1], num))
    return numbers[0], tuple(
        operation.draw(numbers[start:end])
        for operation, start, end in zip(bound, ends[:-1], ends[1:], strict=True)
    )


def _color(strengths: Strengths, u: Array) -> Parameters:
    return {
        "offset": _offset(strengths, u[:1])["offset"],
        "saturation": _saturation(strengths, u[1:2])["factor"],
        "contrast": _contrast(strengths, u[2:])["factor"],
    }


def _offset(strengths: Strengths, u: Array) -> Parameters:
    return {"offset": (u[0] - 0.5) * strengths.brightness}


def _saturation(strengths: Strengths, u: Array) -> Parameters:
    return {"factor": u[0] * strengths.saturation}


def _contrast(strengths: Strengths, u: Array) -> Parameters:
    return {"factor": u[0] + strengths.contrast}


def _shift(limit: tuple[int, int], u: Array) -> Parameters:
    high, wide = limit
    return {
        "rows": randomness.whole_numbers(u[0], -high, high + 1),
        "columns": randomness.whole_numbers(u[1], -wide, wide + 1),
    }


def _centre(size: tuple[int, int], shape: Shape, u: Array) -> Parameters:
    # It may lie just outside where the side is even, as in the original.
    high, wide = (
        length + 1 - side % 2 for length, side in zip(shape, size, strict=False)
    )
    return {
        "centre_rows": randomness.whole_numbers(u[0], 0, high),
        "centre_columns": randomness.whole_numbers(u[1], 0, wide),
    }


def _flipped(strengths: Strengths, u: Array) -> Parameters:
    return {"flipped": u[0] < strengths.flip}


def _scales(limits: tuple[float, float], u: Array) -> Parameters:
    low, high = limits
    factors = low + u * (high - low)
    return {"scale_x": factors[0], "scale_y": factors[1]}


def _angle(limit: float, u: Array) -> Parameters:
    degrees = (u[0] - 0.5) * 2 * limit
    return {"angle": degrees * (jnp.pi / 180)}


def _noise(strengths: Strengths, shape: Shape, u: Array) -> Parameters:
    middle = u + jnp.finfo(u.dtype).eps / 2  # Never 0 or 1.
    normal = jax.scipy.special.ndtri(middle)
    return {"noise": normal.T.reshape(-1, *shape) * strengths.noise}


def _part(area: tuple[float, float], shape: Shape, u: Array) -> Parameters:
    low, high = area
    side = jnp.sqrt(low + u[0] * (high - low))
    corner = u[1:] * (1 - side)[None]
    return {"top": corner[0] * shape[0], "left": corner[1] * shape[1], "side": side}


def _filled(
    fill: Literal["zero", "mean"], fn: Callable[..., Array], **options: object
) -> Callable[..., Array]:
    """An operation that brings in something from outside the pictures."""

    def apply(x: Array, **parameters: Array) -> Array:
        outside = x.mean((0, 1, 2), keepdims=True) if fill == "mean" else 0.0
        return outside + fn(x - outside, **parameters, **options)

    return apply


def _shift_limit(strengths: Strengths, shape: Shape) -> tuple[int, int]:
    if strengths.shift_pixels is not None:
        return strengths.shift_pixels, strengths.shift_pixels
    return int(shape[0] * strengths.shift + 0.5), int(shape[1] * strengths.shift + 0.5)


def _cutout_size(strengths: Strengths, shape: Shape) -> tuple[int, int]:
    return (
        int(shape[0] * strengths.cutout + 0.5),
        int(shape[1] * strengths.cutout + 0.5),
    )


def _check_shape(shape: Shape) -> None:
    if len(shape) != 3:
        raise errors.InputError(
            "Augmentation needs pictures of shape (height, width, channels), but one "
            f'example has the shape {shape}; use the augmentation "none".'
        )


def _check_limit(limit: tuple[int, int], shape: Shape) -> None:
    if max(limit) >= min(shape[:2]):
        raise errors.InputError(
            f"A crop with shifts of up to {max(limit)} pixels leaves nothing of "
            f"pictures of shape {shape}; use at most {min(shape[:2]) - 1} pixels."
        )
