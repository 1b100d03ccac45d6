# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Examples put together into pictures: arrays to arrays, and arrays to PNG bytes."""

import io
import math

import numpy as np
import PIL.Image

__all__ = ["MAX_CLASSES", "MAX_PER_CLASS", "png", "stack", "strip"]

MAX_CLASSES = 20  # How many classes a report shows.
MAX_PER_CLASS = 10  # How many examples of a class it shows.


def strip(images: np.ndarray) -> np.ndarray:
    """Sets examples side by side, with transparent gaps.

    Args:
      images: [K, H, W, channels] uint8 with 1, 3 or 4 channels.

    Returns:
      [H, K * W + gaps, 4] uint8 with an opacity channel.

    Example:
      >>> strip(np.zeros((3, 8, 8, 1), np.uint8)).shape
      (8, 26, 4)
    """
    num, height, width, channels = images.shape
    pitch = width + _gap(width)
    row = np.zeros((height, num * pitch - _gap(width), 4), np.uint8)
    for position, image in enumerate(images):
        place = row[:, position * pitch : position * pitch + width]
        place[..., :3] = image[..., : min(channels, 3)]
        place[..., 3] = image[..., 3] if channels == 4 else 255
    return row


def stack(images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Sets the strips of classes below each other, or one example each in a square.

    Args:
      images: [C, K, H, W, channels] uint8.

    Returns:
      [height, width, 4] uint8, and the vertical centre [C] of each class; ``None``
      for the centres where K is 1 and the rows are no classes.

    Example:
      >>> picture, centres = stack(np.zeros((2, 3, 8, 8, 1), np.uint8))
      >>> picture.shape, centres.tolist()
      ((17, 26, 4), [3.5, 12.5])
      >>> stack(np.zeros((4, 1, 8, 8, 1), np.uint8))[0].shape
      (17, 17, 4)
    """
    rows = list(images)
    if images.shape[1] == 1:
        side = math.ceil(math.sqrt(len(images)))
        rows = [images[i : i + side, 0] for i in range(0, len(images), side)]
    strips = [strip(row) for row in rows]
    height, width, _ = strips[0].shape
    pitch = height + _gap(images.shape[3])
    picture = np.zeros((len(rows) * pitch - pitch + height, width, 4), np.uint8)
    for position, row in enumerate(strips):
        top = position * pitch
        picture[top : top + height, : row.shape[1]] = row
    if images.shape[1] == 1:
        return picture, None
    return picture, np.arange(len(rows)) * pitch + (height - 1) / 2


def png(picture: np.ndarray) -> bytes:
    """Encodes a picture, losslessly.

    Args:
      picture: [H, W, 4] uint8.

    Returns:
      The bytes of a PNG file.

    Example:
      >>> png(np.zeros((2, 2, 4), np.uint8))[1:4]
      b'PNG'
    """
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture, "RGBA").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _gap(width: int) -> int:
    """Pixels between two examples."""
    return max(1, round(width / 14))
