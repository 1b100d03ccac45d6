# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Teachers of one's own: any function from images to logits, or a file of logits.

    y(x) = softmax( f(x) / T ),   f any function

A file of logits names the images that its rows are of by their SHA-256, so that rows
can lie in any order and may be of more images than are asked for. What was said of
other images is refused.
"""

import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from distill_jax import errors
from distill_jax.labels import logits as logits_lib
from distill_jax.storage import bounds, digests, npz_files, npz_json
from distill_jax.types import Array

__all__ = [
    "from_teacher",
    "image_digests",
    "read_logits",
    "teacher_logits",
    "write_logits",
]

_FORM = '"logits" [N, C] or [E, N, C], and "sha256" [N] or "images" [N, ...]'


def from_teacher(
    teacher: Callable[[Any], Any],
    images: Any,
    *,
    temperature: float = 1.0,
    num_classes: int | None = None,
    batch_size: int = 256,
) -> Array:
    """Lets any function label images.

    Args:
      teacher: from images [B, ...] to logits [B, C]; not traced, so that it may be of
        another library.
      images: [N, ...], in whatever space the teacher takes them.
      temperature: T > 0, by which logits are divided.
      num_classes: C, where it is to be checked.
      batch_size: the most images that the teacher sees at once.

    Returns:
      [N, C] probabilities, in the order of the images.

    Raises:
      InputError: when T is not above 0, or what the teacher says is not finite or of
        another shape.

    Example:
      >>> images = np.array([[[1.0]], [[3.0]]])
      >>> both = lambda x: np.stack([x.sum((1, 2)), np.ones(len(x))], axis=1)
      >>> from_teacher(both, images).round(2).tolist()[0]
      [0.5, 0.5]
    """
    said = teacher_logits(
        teacher, images, num_classes=num_classes, batch_size=batch_size
    )
    return logits_lib.from_logits(jnp.asarray(said), temperature)


def teacher_logits(
    teacher: Callable[[Any], Any],
    images: Any,
    *,
    num_classes: int | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """Asks any function for the logits of images.

    Args:
      teacher: as :func:`from_teacher` takes it.
      images: [N, ...].
      num_classes: C, where it is to be checked.
      batch_size: the most images that the teacher sees at once.

    Returns:
      [N, C] float32.

    Raises:
      InputError: when what the teacher says is not finite or of another shape.

    Example:
      >>> teacher_logits(lambda x: x.reshape(len(x), -1), np.zeros((5, 2, 2))).shape
      (5, 4)
      >>> teacher_logits(lambda x: x.sum(), np.zeros((5, 2, 2)))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The teacher said logits of shape () of 5 images...
    """
    errors.check_counts(batch_size=batch_size)
    parts = []
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        said = np.asarray(teacher(part), np.float32)
        if said.ndim != 2 or len(said) != len(part):
            raise errors.InputError(
                f"The teacher said logits of shape {said.shape} of {len(part)} images; "
                "it must return a row for each, [B, C]."
            )
        parts.append(said)
    whole = np.concatenate(parts)
    _check_logits(whole, num_classes, "The teacher")
    return whole


def image_digests(images: np.ndarray) -> list[str]:
    """Names every image by the SHA-256 of its bytes.

    Args:
      images: [N, ...] as they are stored: of their own type and scale, such as
        ``dataset.train.x``.

    Returns:
      N times 64 hexadecimal digits.

    Example:
      >>> [digest[:8] for digest in image_digests(np.zeros((2, 1), np.uint8))]
      ['6e340b9c', '6e340b9c']
    """
    return [digests.of_array(image) for image in np.asarray(images)]


def write_logits(
    path: str | os.PathLike[str], images: np.ndarray, logits: Any
) -> pathlib.Path:
    """Writes a file of logits, as ``distill-jax label --teacher=PATH`` takes it.

    Args:
      path: of the file, which ends in ``.npz``.
      images: [N, ...] raw ones, such as ``dataset.train.x``; more than will be labelled
        do no harm.
      logits: [N, C], or [E, N, C] of several teachers.

    Returns:
      The path.

    Raises:
      InputError: when shapes do not fit, logits are not finite, or the file cannot be
        written.

    Example:
      >>> import tempfile
      >>> images = np.arange(3, dtype=np.uint8)[:, None]
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = write_logits(f"{folder}/mine.npz", images, np.eye(3))
      ...     print(read_logits(path, image_digests(images[::-1]))[0, 0])
      [0. 0. 1.]
    """
    import io

    path, logits = pathlib.Path(path), np.asarray(logits, np.float32)
    _check_logits(logits, None, "The teacher")
    if logits.ndim not in (2, 3) or logits.shape[-2] != len(images):
        raise errors.InputError(
            f"The logits have the shape {logits.shape} for {len(images)} images; pass "
            "[N, C] or [E, N, C]."
        )
    stream = io.BytesIO()
    np.savez(stream, logits=logits, sha256=np.array(image_digests(images)))
    npz_json.write_files({path: stream.getvalue()})
    return path


def read_logits(
    path: str | os.PathLike[str],
    wanted: Sequence[str],
    *,
    num_classes: int | None = None,
) -> np.ndarray:
    """Reads what teachers said of images, by the digests of these.

    Args:
      path: of a file of :func:`write_logits`, or one with the same arrays. Where it
        has the ``images`` in place of their digests, these are taken.
      wanted: digests of the images, from :func:`image_digests`.
      num_classes: C, where it is to be checked.

    Returns:
      [E, len(wanted), C] float32, in the order of the images.

    Raises:
      InputError: when the file cannot be read, is of other images or another number of
        classes, or holds what is not finite.
    """
    arrays = _read(pathlib.Path(path))
    logits = arrays["logits"]
    logits = np.asarray(logits[None] if logits.ndim == 2 else logits, np.float32)
    known = (
        [str(digest) for digest in arrays["sha256"]]
        if "sha256" in arrays
        else image_digests(arrays["images"])
    )
    if logits.ndim != 3 or logits.shape[1] != len(known):
        raise errors.InputError(
            f"The file {path} has logits of shape {arrays['logits'].shape} of "
            f"{len(known)} images; it must hold {_FORM}."
        )
    places = {digest: place for place, digest in enumerate(known)}
    missing = [number for number, digest in enumerate(wanted) if digest not in places]
    if missing:
        raise errors.InputError(
            f"The file {path} says nothing of {len(missing)} of the {len(wanted)} "
            f"images, the first of them in row {missing[0]} (by the SHA-256 of their "
            "raw bytes), so it is of other images; let the teacher label "
            "`dataset.train.x` whole, or the images that are passed."
        )
    _check_logits(logits, num_classes, f"The file {path}")
    return logits[:, [places[digest] for digest in wanted]]


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of a file of logits."""
    if not path.is_file():
        raise errors.InputError(
            f"There is no file {path}; pass a .npz of `labels.write_logits`."
        )
    with bounds.reading(
        f"The file {path} could not be read ({{error}}); write it again"
        " with `labels.write_logits`."
    ):
        arrays = npz_files.read(path, what=f"The file {path}")
    if "logits" not in arrays or not {"sha256", "images"} & set(arrays):
        raise errors.InputError(
            f"The file {path} holds {sorted(arrays)}; it must hold {_FORM}, as "
            "`labels.write_logits` writes it."
        )
    return arrays


def _check_logits(logits: np.ndarray, num_classes: int | None, who: str) -> None:
    """Raises for logits [..., C] of another number of classes, or not finite."""
    if num_classes is not None and logits.shape[-1] != num_classes:
        raise errors.InputError(
            f"{who} tells {logits.shape[-1]} classes apart, but the data set has "
            f"{num_classes}; logits must be [N, {num_classes}]."
        )
    if not np.isfinite(logits).all():
        raise errors.InputError(
            f"{who} has logits that are not finite, of which no labels can be made; "
            "look for a teacher that diverged, or for logarithms of 0."
        )
