# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The images that are labelled: random real ones, or those of a set that is there."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import distill_jax as dj
from distill_jax import data, errors
from distill_jax.cli import data_sets
from distill_jax.evaluation import checks
from distill_jax.storage import bounds, digests, label_checks, npz_files

if TYPE_CHECKING:
    from distill_jax.types import Key

__all__ = ["SPACES", "Images", "from_set", "random_ones"]

SPACES = ("raw", "unit", "normalized")
_IMAGES, _LABELS = ("x", "images"), ("y", "labels")


class Images(NamedTuple):
    """N images that are to be labelled, in their order."""

    x: np.ndarray  # [N, ...] in the space the networks see
    digests: list[str]  # [N] of each as it is stored
    sha256: str  # of all of them as they are stored
    num_bytes: int  # that they take in storage
    words: str  # what they are
    classes: np.ndarray | None = None  # [N], where they are known
    rows: np.ndarray | None = None  # [N] positions in the training split
    own_labels: np.ndarray | None = None  # [N, C] that they came with
    weight: np.ndarray | None = None  # [N]


def random_ones(key: Key, dataset: data.Dataset, num_per_class: int) -> Images:
    """Draws random images of the training split, as many of every class.

    Draws of one key are nested: those of fewer images are the first of those of more.

    Args:
      key: of the draw.
      dataset: that is drawn from.
      num_per_class: of each class.

    Returns:
      The images, class-major.

    Raises:
      InputError: when a class has fewer.

    Example:
      >>> import jax
      >>> images = random_ones(jax.random.key(0), data.load("digits"), 2)
      >>> images.x.shape, images.classes[:4].tolist(), images.words
      ((20, 8, 8, 1), [0, 0, 1, 1], '2 random real images per class')
    """
    index = dj.selection.random_subsets(key, dataset, num_per_class, num_draws=1)[0]
    raw = dataset.train.x[index]
    plural = "s" if num_per_class > 1 else ""
    return Images(
        x=_normalized(dataset, raw),
        digests=dj.labels.image_digests(raw),
        sha256=digests.of_array(raw),
        num_bytes=raw.nbytes,
        words=f"{num_per_class} random real image{plural} per class",
        classes=dataset.train.y[index],
        rows=index,
    )


def from_set(path: pathlib.Path, space: str | None, dataset: data.Dataset) -> Images:
    """Reads the images of a distilled set, or of an npz of somebody else's.

    Args:
      path: of the set: a folder, either of its files; or an npz with images ``x`` and
        perhaps labels ``y``, which are classes [N] or probabilities [N, C].
      space: of the images of an npz, a word of :data:`SPACES`: ``"raw"`` as the files
        of the data set have them, ``"unit"`` with black 0 and white 1, ``"normalized"``
        as the networks see them. None where the npz says it itself, as ``space``.
      dataset: that they belong to.

    Returns:
      The images, in the order of the file.

    Raises:
      InputError: when the file cannot be read, its images are of another data set or
        shape or in a space that nobody tells, or its labels are none.

    Example:
      >>> from_set(pathlib.Path("nowhere"), None, data.load("digits"))
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no distilled set nowhere and no npz of \
that name; pass the folder of a set, or the path of an npz with images "x".
    """
    is_alone = path.suffix == ".npz" and not path.with_suffix(".json").exists()
    if is_alone and path.is_file():
        return _from_npz(path, space, dataset)
    if not any(path.with_suffix(end).exists() for end in ("", ".npz", ".json")):
        raise errors.InputError(
            f"There is no distilled set {path} and no npz of that name; pass the "
            'folder of a set, or the path of an npz with images "x".'
        )
    stored = dj.DistilledSet.load(path)
    if space is not None:
        raise errors.InputError(
            f"The distilled set {path} says itself in which space its images are; "
            "leave `--space` out."
        )
    data_sets.check_fingerprint(stored, dataset)
    checks.check_synthetic(dj.evaluation.to_synthetic(stored), dataset)
    is_probable = stored.targets == "probabilities" and stored.label_mass == "one"
    classes = _classes_of(stored.y)
    return Images(
        x=np.asarray(stored.x, np.float32),
        digests=dj.labels.image_digests(stored.x),
        sha256=digests.of_array(stored.x),
        num_bytes=4 * stored.x.size,
        words=f"the images of {path}",
        classes=classes,
        own_labels=_soft(stored.y, classes) if is_probable else None,
        weight=stored.weight,
    )


def _from_npz(path: pathlib.Path, space: str | None, dataset: data.Dataset) -> Images:
    """The images of an npz that this library did not write."""
    with bounds.reading(
        f"The file {path} could not be read ({{error}}); write it "
        "again with `numpy.savez(path, x=images, y=labels)`."
    ):
        arrays = npz_files.read(path, what=f"The file {path}")
    name = next((name for name in _IMAGES if name in arrays), None)
    if name is None:
        raise errors.InputError(
            f'The file {path} holds {sorted(arrays)}, but no images "x".'
        )
    raw, shape = arrays[name], tuple(dataset.spec.shape)
    if raw.shape[1:] != shape or not len(raw) or raw.dtype.kind not in "uif":
        raise errors.InputError(
            f"The images of {path} have the shape {raw.shape} and the type {raw.dtype},"
            f' but one of "{dataset.spec.name}" has {shape}; pass numbers, the channels'
            " last."
        )
    label_checks.check_finite(raw, f"`{name}` of {path}")
    if space is None and "space" in arrays:
        space = str(arrays["space"])
    x = _in_space(raw, space, path, dataset)
    y = next((arrays[name] for name in _LABELS if name in arrays), None)
    classes, own_labels = _labels_of(y, len(raw), path, dataset)
    return Images(
        x=x,
        digests=dj.labels.image_digests(raw),
        sha256=digests.of_array(raw),
        num_bytes=raw.nbytes,
        words=f"the images of {path}",
        classes=classes,
        own_labels=own_labels,
    )


def _in_space(
    raw: np.ndarray, space: str | None, path: pathlib.Path, dataset: data.Dataset
) -> np.ndarray:
    """Images of a space as the networks see them."""
    if space not in SPACES:
        said = "does not say" if space is None else f'says "{space}" of the space'
        raise errors.InputError(
            f"The file {path} {said} in which its images are; pass --space=raw (as in "
            "the files of the data set), --space=unit (black is 0, white is 1) or "
            "--space=normalized (as the networks see them)."
        )
    if space == "normalized":
        return np.asarray(raw, np.float32)
    if space == "unit":
        raw = np.asarray(raw, np.float32) / np.float32(dataset.spec.normalizer.scale)
    return _normalized(dataset, raw)


def _labels_of(
    y: np.ndarray | None, num_images: int, path: pathlib.Path, dataset: data.Dataset
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The classes of images and their own labels, from what an npz says."""
    if y is None:
        return None, None
    num_classes = dataset.spec.num_classes
    if y.ndim == 1 and len(y) == num_images and y.dtype.kind in "ui":
        if y.min() < 0 or y.max() >= num_classes:
            raise errors.InputError(
                f"The labels of {path} name classes from {y.min()} to {y.max()}, but "
                f'"{dataset.spec.name}" has {num_classes}, from 0.'
            )
        return y.astype(np.int32), None
    if y.shape != (num_images, num_classes) or y.dtype.kind not in "uif":
        raise errors.InputError(
            f"The labels of {path} have the shape {y.shape} for {num_images} images of "
            f"{num_classes} classes; pass classes [{num_images}] or probabilities "
            f"[{num_images}, {num_classes}], or leave them out."
        )
    label_checks.check_labels(y, "probabilities", name=f"`y` of {path}")
    y = np.asarray(y, np.float32)
    classes = _classes_of(y)
    return classes, _soft(y, classes)


def _soft(y: np.ndarray, classes: np.ndarray | None) -> np.ndarray | None:
    """Labels that say more than the classes; else None."""
    if classes is not None and np.array_equal(y, np.eye(y.shape[1])[classes]):
        return None
    return y


def _classes_of(y: Any) -> np.ndarray | None:
    """The classes of the rows, where they can be told."""
    try:
        return checks.classes_of(y)
    except errors.InputError:
        return None


def _normalized(dataset: data.Dataset, raw: np.ndarray) -> np.ndarray:
    return np.asarray(data.normalize(dataset.spec.normalizer, raw))
