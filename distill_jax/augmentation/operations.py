# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The operations by name: what random numbers each makes its parameters from.

    u ~ U(0, 1):  brightness offset (u - 1/2) 1.0;  saturation factor 2 u;  contrast
    factor u + 1/2;  shift in {-s..s}, s = floor(side / 8 + 1/2);  angle (2 u - 1) 15°

Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
2021.
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.augmentation import images
from distill_jax.compute import randomness
from distill_jax.types import Array, Key

__all__ = [
    "OPERATIONS",
    "Operation",
    "Strengths",
    "check_fit",
    "sample",
]

Draws = dict[str, Array]  # each [E, ...]
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
    """One operation: what is random in it, and a deterministic half."""

    num: int | None  # of random numbers for a picture; None for one for each value
    read: Callable[[Array, Strengths, Shape], Draws]
    # (numbers in [0, 1) [num, E], strengths, shape)
    apply: Callable[[Draws, Array, Strengths, bool], Array]
    # (draws, x [B, H, W, channels], strengths, align_corners)


def sample(
    key: Key, names: Sequence[str], strengths: Strengths, num: int, shape: Shape
) -> tuple[Array, tuple[Draws, ...]]:
    """Draws the parameters of some operations, all from one draw of random numbers.

    Args:
      key: a random key.
      names: keys of ``OPERATIONS``.
      strengths: how far each goes.
      num: E, for how many examples.
      shape: of one example.

    Returns:
      E numbers in [0, 1) that no operation has seen, and the draws of each operation.

    Example:
      >>> import jax
      >>> spare, (crop, flip) = sample(
      ...     jax.random.key(0), ["crop", "flip"], Strengths(), 5, (8, 8, 1))
      >>> spare.shape, crop["rows"].shape, flip["flipped"].shape
      ((5,), (5,), (5,))
    """
    chosen = [OPERATIONS[name] for name in names]
    sizes = [math.prod(shape) if one.num is None else one.num for one in chosen]
    numbers = jax.random.uniform(key, (1 + sum(sizes), num))
    ends = [1 + sum(sizes[:number]) for number in range(len(sizes) + 1)]
    return numbers[0], tuple(
        operation.read(numbers[start:end], strengths, shape)
        for operation, start, end in zip(chosen, ends, ends[1:], strict=False)
    )


def check_fit(names: Sequence[str], strengths: Strengths, shape: Shape) -> None:
    """Raises unless pictures of a shape can be bent by some operations.

    Args:
      names: keys of ``OPERATIONS``.
      strengths: how far each goes.
      shape: of one example.

    Raises:
      InputError: if the examples are no pictures, or a shift leaves nothing of them.

    Example:
      >>> check_fit(["crop"], Strengths(), (8, 8, 1))
    """
    if len(shape) != 3:
        raise errors.InputError(
            "Augmentation needs pictures of shape (height, width, channels), but one "
            f'example has the shape {shape}; use the augmentation "none".'
        )
    limit = max(_shift_limit(strengths, shape))
    if {"crop", "translate"} & set(names) and limit >= min(shape[:2]):
        raise errors.InputError(
            f"A crop with shifts of up to {limit} pixels leaves nothing of pictures of "
            f"shape {shape}; use at most {min(shape[:2]) - 1} pixels."
        )


def _read_color(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    return (
        _read_brightness(u[:1], strengths, shape)
        | _read_saturation(u[1:2], strengths, shape)
        | _read_contrast(u[2:], strengths, shape)
    )


def _color(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    x = _brightness(draws, x, strengths, align_corners)
    x = _saturation(draws, x, strengths, align_corners)
    return _contrast(draws, x, strengths, align_corners)


def _read_brightness(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    del shape  # The draw is the same for pictures of any size.
    return {"offset": (u[0] - 0.5) * strengths.brightness}


def _brightness(
    draws: Draws, x: Array, strengths: Strengths, align_corners: bool
) -> Array:
    del strengths, align_corners  # The draws say all.
    return images.brightness(x, draws["offset"])


def _read_saturation(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    del shape
    return {"saturation": u[0] * strengths.saturation}


def _saturation(
    draws: Draws, x: Array, strengths: Strengths, align_corners: bool
) -> Array:
    del strengths, align_corners
    return images.saturation(x, draws["saturation"])


def _read_contrast(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    del shape
    return {"contrast": u[0] + strengths.contrast}


def _contrast(
    draws: Draws, x: Array, strengths: Strengths, align_corners: bool
) -> Array:
    del strengths, align_corners
    return images.contrast(x, draws["contrast"])


def _read_shift(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    high, wide = _shift_limit(strengths, shape)
    return {
        "rows": randomness.whole_numbers(u[0], -high, high + 1),
        "columns": randomness.whole_numbers(u[1], -wide, wide + 1),
    }


def _shift(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del align_corners  # Whole pixels.
    limit = _shift_limit(strengths, x.shape[1:])
    fill = _fill(x, strengths)
    return fill + images.shift(x - fill, **draws, limit=limit)


def _read_cutout(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    # The centre may lie just outside where the side is even, as in the original.
    high, wide = (
        length + 1 - size % 2
        for length, size in zip(shape, _cutout_size(strengths, shape), strict=False)
    )
    return {
        "centre_rows": randomness.whole_numbers(u[0], 0, high),
        "centre_columns": randomness.whole_numbers(u[1], 0, wide),
    }


def _cutout(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del align_corners
    return images.cutout(x, **draws, size=_cutout_size(strengths, x.shape[1:]))


def _read_flip(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    del shape
    return {"flipped": u[0] < strengths.flip}


def _flip(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del strengths, align_corners
    return images.flip(x, draws["flipped"])


def _read_scale(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    del shape
    low, high = strengths.scale
    factors = low + u * (high - low)
    return {"scale_x": factors[0], "scale_y": factors[1]}


def _scale(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    fill = _fill(x, strengths)
    return fill + images.scale(x - fill, **draws, align_corners=align_corners)


def _read_rotate(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    del shape
    degrees = (u[0] - 0.5) * 2 * strengths.rotate
    return {"angle": degrees * (jnp.pi / 180)}


def _rotate(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    fill = _fill(x, strengths)
    return fill + images.rotate(x - fill, **draws, align_corners=align_corners)


def _read_noise(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    middle = u + jnp.finfo(u.dtype).eps / 2  # Never 0 or 1.
    normal = jax.scipy.special.ndtri(middle)
    return {"noise": normal.T.reshape(-1, *shape) * strengths.noise}


def _noise(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del strengths, align_corners
    return x + draws["noise"]


def _read_rrc(u: Array, strengths: Strengths, shape: Shape) -> Draws:
    low, high = strengths.area
    side = jnp.sqrt(low + u[0] * (high - low))
    corner = u[1:] * (1 - side)[None]
    return {"top": corner[0] * shape[0], "left": corner[1] * shape[1], "side": side}


def _rrc(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del strengths, align_corners  # Nothing comes from outside.
    return images.resized_crop(x, **draws)


def _shift_limit(strengths: Strengths, shape: Shape) -> tuple[int, int]:
    if strengths.shift_pixels is not None:
        return strengths.shift_pixels, strengths.shift_pixels
    return int(shape[0] * strengths.shift + 0.5), int(shape[1] * strengths.shift + 0.5)


def _cutout_size(strengths: Strengths, shape: Shape) -> tuple[int, int]:
    return (
        int(shape[0] * strengths.cutout + 0.5),
        int(shape[1] * strengths.cutout + 0.5),
    )


def _fill(x: Array, strengths: Strengths) -> Array | float:
    """What lies outside the pictures."""
    return x.mean((0, 1, 2), keepdims=True) if strengths.fill == "mean" else 0.0


OPERATIONS: dict[str, Operation] = {
    "color": Operation(3, _read_color, _color),
    "brightness": Operation(1, _read_brightness, _brightness),
    "saturation": Operation(1, _read_saturation, _saturation),
    "contrast": Operation(1, _read_contrast, _contrast),
    "crop": Operation(2, _read_shift, _shift),
    "translate": Operation(2, _read_shift, _shift),
    "cutout": Operation(2, _read_cutout, _cutout),
    "flip": Operation(1, _read_flip, _flip),
    "scale": Operation(2, _read_scale, _scale),
    "rotate": Operation(1, _read_rotate, _rotate),
    "noise": Operation(None, _read_noise, _noise),
    "rrc": Operation(3, _read_rrc, _rrc),
}
