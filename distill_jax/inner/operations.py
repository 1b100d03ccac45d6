# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The operations by name: how the parameters of each are drawn, and how strong it is.

    u ~ U(0, 1):  brightness offset (u - 1/2) 1.0;  saturation factor 2 u;  contrast
    factor u + 1/2;  shift in {-s..s}, s = floor(side / 8 + 1/2);  angle (2 u - 1) 15°

Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
2021.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.inner import distortions
from distill_jax.types import Array, Key

__all__ = ["OPERATIONS", "Operation", "Strengths", "check_fit"]

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
    """One operation: a random half and a deterministic half."""

    sample: Callable[[Key, Strengths, int, Shape], Draws]  # (key, strengths, E, shape)
    apply: Callable[[Draws, Array, Strengths, bool], Array]
    # (draws, x [B, H, W, channels], strengths, align_corners)


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


def _sample_color(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    samples = (_sample_brightness, _sample_saturation, _sample_contrast)
    draws = {}
    for key_part, sample in zip(jax.random.split(key, 3), samples, strict=True):
        draws |= sample(key_part, strengths, num, shape)
    return draws


def _color(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    x = _brightness(draws, x, strengths, align_corners)
    x = _saturation(draws, x, strengths, align_corners)
    return _contrast(draws, x, strengths, align_corners)


def _sample_brightness(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    del shape  # The draw is the same for pictures of any size.
    u = jax.random.uniform(key, (num,))
    return {"offset": (u - 0.5) * strengths.brightness}


def _brightness(
    draws: Draws, x: Array, strengths: Strengths, align_corners: bool
) -> Array:
    del strengths, align_corners  # The draws say all.
    return distortions.brightness(x, draws["offset"])


def _sample_saturation(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    del shape
    return {"saturation": jax.random.uniform(key, (num,)) * strengths.saturation}


def _saturation(
    draws: Draws, x: Array, strengths: Strengths, align_corners: bool
) -> Array:
    del strengths, align_corners
    return distortions.saturation(x, draws["saturation"])


def _sample_contrast(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    del shape
    return {"contrast": jax.random.uniform(key, (num,)) + strengths.contrast}


def _contrast(
    draws: Draws, x: Array, strengths: Strengths, align_corners: bool
) -> Array:
    del strengths, align_corners
    return distortions.contrast(x, draws["contrast"])


def _sample_shift(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    key_rows, key_columns = jax.random.split(key)
    high, wide = _shift_limit(strengths, shape)
    return {
        "rows": jax.random.randint(key_rows, (num,), -high, high + 1),
        "columns": jax.random.randint(key_columns, (num,), -wide, wide + 1),
    }


def _shift(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del align_corners  # Whole pixels.
    limit = _shift_limit(strengths, x.shape[1:])
    fill = _fill(x, strengths)
    return fill + distortions.shift(x - fill, **draws, limit=limit)


def _sample_cutout(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    key_rows, key_columns = jax.random.split(key)
    # The centre may lie just outside where the side is even, as in the original.
    high, wide = (
        length + 1 - size % 2
        for length, size in zip(shape, _cutout_size(strengths, shape), strict=False)
    )
    return {
        "centre_rows": jax.random.randint(key_rows, (num,), 0, high),
        "centre_columns": jax.random.randint(key_columns, (num,), 0, wide),
    }


def _cutout(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del align_corners
    return distortions.cutout(x, **draws, size=_cutout_size(strengths, x.shape[1:]))


def _sample_flip(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    del shape
    return {"flipped": jax.random.uniform(key, (num,)) < strengths.flip}


def _flip(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del strengths, align_corners
    return distortions.flip(x, draws["flipped"])


def _sample_scale(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    del shape
    low, high = strengths.scale
    factors = jax.random.uniform(key, (2, num), minval=low, maxval=high)
    return {"scale_x": factors[0], "scale_y": factors[1]}


def _scale(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    fill = _fill(x, strengths)
    return fill + distortions.scale(x - fill, **draws, align_corners=align_corners)


def _sample_rotate(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    del shape
    degrees = (jax.random.uniform(key, (num,)) - 0.5) * 2 * strengths.rotate
    return {"angle": degrees * (jnp.pi / 180)}


def _rotate(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    fill = _fill(x, strengths)
    return fill + distortions.rotate(x - fill, **draws, align_corners=align_corners)


def _sample_noise(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    return {"noise": jax.random.normal(key, (num, *shape)) * strengths.noise}


def _noise(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del strengths, align_corners
    return x + draws["noise"]


def _sample_rrc(key: Key, strengths: Strengths, num: int, shape: Shape) -> Draws:
    low, high = strengths.area
    key_area, key_corner = jax.random.split(key)
    area = jax.random.uniform(key_area, (num,), minval=low, maxval=high)
    side = jnp.sqrt(area)
    corner = jax.random.uniform(key_corner, (2, num)) * (1 - side)[None]
    return {"top": corner[0] * shape[0], "left": corner[1] * shape[1], "side": side}


def _rrc(draws: Draws, x: Array, strengths: Strengths, align_corners: bool) -> Array:
    del strengths, align_corners  # Nothing comes from outside.
    return distortions.resized_crop(x, **draws)


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
    "color": Operation(_sample_color, _color),
    "brightness": Operation(_sample_brightness, _brightness),
    "saturation": Operation(_sample_saturation, _saturation),
    "contrast": Operation(_sample_contrast, _contrast),
    "crop": Operation(_sample_shift, _shift),
    "translate": Operation(_sample_shift, _shift),
    "cutout": Operation(_sample_cutout, _cutout),
    "flip": Operation(_sample_flip, _flip),
    "scale": Operation(_sample_scale, _scale),
    "rotate": Operation(_sample_rotate, _rotate),
    "noise": Operation(_sample_noise, _noise),
    "rrc": Operation(_sample_rrc, _rrc),
}
