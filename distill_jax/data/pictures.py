# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Picture files as viewers show them, decoded with Pillow.

Turned as their EXIF says, laid on white where they are transparent, the first frame of
animated ones; grey where grey is all they hold. Only the formats of
:data:`SUFFIXES` are decoded, whatever a file is called.
"""

import collections
import os
import pathlib
import warnings
import zlib
from collections.abc import Sequence
from typing import IO

import numpy as np
import PIL.Image

from distill_jax import errors
from distill_jax.storage import bounds

__all__ = ["SUFFIXES", "load"]

SUFFIXES = tuple(
    sorted(
        {
            *(".apng", ".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg"),
            *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
        }
    )
)
# What these files hold; PostScript, which starts an interpreter, is none of them.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GREY_MODES = ("1", "L", "LA", "La")
COLOUR_MODES = ("RGB", "RGBA", "RGBa", "P", "PA", "CMYK", "YCbCr", "RGBX")
ALPHA_MODES = ("LA", "La", "RGBA", "RGBa", "PA")
_PNG = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112  # The tag of EXIF.
_Turn = PIL.Image.Transpose
UPRIGHT = {
    2: _Turn.FLIP_LEFT_RIGHT,
    3: _Turn.ROTATE_180,
    4: _Turn.FLIP_TOP_BOTTOM,
    5: _Turn.TRANSPOSE,
    6: _Turn.ROTATE_270,
    7: _Turn.TRANSVERSE,
    8: _Turn.ROTATE_90,
}


def load(files: Sequence[pathlib.Path], where: str | os.PathLike) -> np.ndarray:
    """Reads pictures of one size.

    A warning says how many were laid on white, and of how many the first frame was
    read.

    Args:
      files: of the pictures, at least one.
      where: what to call all of them together.

    Returns:
      [N, H, W, 1] uint8 where all are grey, else [N, H, W, 3].

    Raises:
      InputError: when a picture cannot be read, has another size than the first, or
        all of them need more memory than there is.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = pathlib.Path(folder, "0.png")
      ...     PIL.Image.new("L", (4, 3)).save(file)
      ...     load([file], folder).shape
      (1, 3, 4, 1)
    """
    notes: collections.Counter[str] = collections.Counter()
    arrays: list[np.ndarray] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        for file in files:
            array = _load_one(file, files[0], arrays[0] if arrays else None, notes)
            if not arrays:
                _check_memory(2 * len(files) * array.size, len(files), where)
            arrays.append(array)
    for words, count in sorted(notes.items()):
        errors.warn(f'Of the pictures in "{where}", {count} {words}.')
    num_channels = max(array.shape[2] for array in arrays)
    return np.stack([np.broadcast_to(a, (*a.shape[:2], num_channels)) for a in arrays])


def _load_one(
    file: pathlib.Path,
    first_file: pathlib.Path,
    first: np.ndarray | None,
    notes: collections.Counter[str],
) -> np.ndarray:
    """One picture, [H, W, 1 or 3] uint8, of the size of the first."""
    message = f'The picture "{file}" cannot be read ({{error}}); replace or remove it.'
    with (
        bounds.reading(message),
        # A stream, since Pillow mixes up the rows of turned TIFF files that it maps.
        file.open("rb") as stream,
        _opened(stream) as picture,
    ):
        turn = _turn(picture)
        # What the head says, before anything is decoded.
        width, height = picture.size[:: -1 if turn in (5, 6, 7, 8) else 1]
        if first is not None:
            _check_size(file, (height, width), first_file, first.shape)
        bounds.check_size(
            width * height * 4,
            packed=file.stat().st_size,
            what=f'The picture "{file}", {width}x{height},',
        )
        if picture.mode not in (*GREY_MODES, *COLOUR_MODES):
            raise errors.InputError(
                f'The picture "{file}" has pixels of the kind {picture.mode}; only '
                "pictures with 8 bits for each channel are read, so convert it first."
            )
        if getattr(picture, "is_animated", False) and picture.format != "MPO":
            notes["are animated: their first frame is read, the others are not"] += 1
        picture.load()
        upright = picture.transpose(UPRIGHT[turn]) if turn in UPRIGHT else picture
        array, is_laid = _to_array(upright)
        if is_laid:
            notes["are transparent in part: they are laid on white ground"] += 1
    if first is not None:
        _check_size(file, array.shape, first_file, first.shape)
    return array


def _opened(stream: IO[bytes]) -> PIL.Image.Image:
    """The picture in a file, before it is decoded."""
    _check_sums(stream)
    try:
        return PIL.Image.open(stream, formats=FORMATS)
    except PIL.UnidentifiedImageError as error:
        raise ValueError(f"it holds no {', '.join(FORMATS)}") from error


def _check_sums(stream: IO[bytes]) -> None:
    """Raises for a PNG whose pixels have another checksum; Pillow never looks at it."""
    if stream.read(len(_PNG)) == _PNG:
        while len(head := stream.read(8)) == 8 and head[4:] != b"IEND":
            content = stream.read(int.from_bytes(head[:4]))
            found = stream.read(4)
            if head[4:] != b"IDAT" or len(found) < 4:
                continue
            if zlib.crc32(content, zlib.crc32(b"IDAT")) != int.from_bytes(found):
                raise ValueError("the checksum of its pixels differs")
    stream.seek(0)


def _turn(picture: PIL.Image.Image) -> int:
    """How EXIF says that the picture is turned, 1 where it is upright."""
    if picture.format == "TIFF":
        return 1  # Pillow turns these itself.
    try:
        return int(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # Viewers show pictures with damaged EXIF as they are.
        return 1


def _to_array(picture: PIL.Image.Image) -> tuple[np.ndarray, bool]:
    """The pixels, [H, W, 1 or 3] uint8, and whether some of them are transparent."""
    mode, palette = picture.mode, picture.palette
    has_alpha = mode in ALPHA_MODES or "transparency" in picture.info
    has_alpha |= palette is not None and palette.mode.endswith("A")
    is_laid = False
    if has_alpha:
        rgba = np.asarray(picture.convert("RGBA")).astype(np.uint16)
        pixels, alpha = rgba[..., :3], rgba[..., 3:]
        is_laid = bool((alpha < 255).any())
        pixels = (pixels * alpha + 255 * (255 - alpha) + 127) // 255
        pixels = pixels.astype(np.uint8)
    elif mode in GREY_MODES:
        return np.asarray(picture.convert("L"))[..., None], False
    else:
        pixels = np.asarray(picture.convert("RGB"))
    is_grey = mode in GREY_MODES or (
        mode in ("P", "PA") and bool((pixels == pixels[..., :1]).all())
    )
    return (pixels[..., :1] if is_grey else pixels), is_laid


def _check_size(file, shape: Sequence[int], first_file, first: Sequence[int]) -> None:
    """Raises unless a picture has as many rows and columns as the first."""
    if tuple(shape[:2]) != tuple(first[:2]):
        raise errors.InputError(
            f'The picture "{file}" is {shape[1]}x{shape[0]} pixels, but "{first_file}" '
            f"is {first[1]}x{first[0]}; all pictures must have the same size, so "
            "resize them first."
        )


def _check_memory(num_bytes: int, num_pictures: int, where: str | os.PathLike) -> None:
    """Raises when all pictures together do not fit into memory."""
    free = bounds.available_memory()
    if num_bytes > free:
        raise errors.InputError(
            f'The {num_pictures} pictures in "{where}" take {num_bytes / 1e9:.1f} GB '
            f"of memory to read, but only {free / 1e9:.1f} GB are free; make them "
            "smaller, or use a part of them."
        )
