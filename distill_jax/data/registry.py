# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All data sets by name, and the way from what a reader returns to a data set.

read -> check -> split off validation (stratified) -> fit the normaliser on train
"""

import functools
import os
from collections.abc import Callable
from typing import Literal

import numpy as np

from distill_jax import errors
from distill_jax.data import (
    checks,
    cifar,
    dataset,
    digits,
    folder,
    idx,
    npz,
    prepared,
    split,
    svhn,
)
from distill_jax.data import normalizer as normalizers

__all__ = ["NORMALIZATIONS", "from_arrays", "load", "names"]

NORMALIZATIONS = ("auto", "published", "fitted", "zca", "none")
TEST_FRACTION = 0.2  # Of sets that come without a test set.
VALIDATION_FRACTION = 0.1
VALIDATION_FRACTIONS = {"digits": 0.2}

Reader = Callable[[str, str | os.PathLike | None], dataset.RawSet]

READERS: dict[str, Reader] = {
    "digits": digits.read_digits,
    "digits100": digits.read_digits100,
    "mnist": idx.read,
    "fashion_mnist": idx.read,
    "kmnist": idx.read,
    "cifar10": cifar.read,
    "cifar100": cifar.read,
    "svhn": svhn.read,
    "usps": npz.read_usps,
}
PREFIXES = ("npz:PATH", "folder:PATH", "tfds:NAME")


def names() -> tuple[str, ...]:
    """The names that :func:`load` knows, and the forms of those it does not.

    Returns:
      Names, and "npz:PATH", "folder:PATH", "tfds:NAME".

    Example:
      >>> names()[:2], names()[-1]
      (('digits', 'digits100'), 'tfds:NAME')
    """
    return (*READERS, *PREFIXES)


def load(
    name: str,
    data_dir: str | os.PathLike | None = None,
    *,
    normalization: str = "auto",
    validation_fraction: float | None = None,
    seed: int = 0,
) -> dataset.Dataset:
    """Loads a data set into memory.

    Args:
      name: one of :func:`names`. "digits" and "digits100" are embedded; the others
        are read from ``data_dir/name`` or ``data_dir``; "npz:PATH" and "folder:PATH"
        from their own path; "tfds:NAME" where tensorflow_datasets prepared it.
      data_dir: the folder of data sets; without it, the one that the environment
        variable ``DISTILL_JAX_DATA`` names.
      normalization: "published" means and deviations of the literature; "fitted" mean
        and deviation of each channel, or "zca" whitening (eps 0.1 on unit values, no
        mean and deviation), both fitted on the training part alone, without
        validation; "none" unit values as they are; "auto" published where there are
        any, else fitted.
      validation_fraction: the share of the source's training set that is split off,
        stratified; 0.1 where it is not given, 0.2 for "digits".
      seed: of that split. The test set never depends on it.

    Returns:
      A :class:`~distill_jax.data.Dataset` whose arrays keep the source's own type.

    Raises:
      InputError: when the name is unknown, files are missing or damaged, examples
        cannot be learned from, or an option is out of range.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> data.train.x.shape, data.validation.x.shape, data.test.x.shape
      ((960, 8, 8, 1), (240, 8, 8, 1), (597, 8, 8, 1))
    """
    if validation_fraction is None:
        validation_fraction = VALIDATION_FRACTIONS.get(name, VALIDATION_FRACTION)
    _check_normalization(name, normalization)
    raw = _reader(name, data_dir)()
    return _assemble(name, raw, normalization, validation_fraction, seed)


def from_arrays(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    name: str = "arrays",
    targets: Literal["classes", "values"] = "classes",
    normalization: str = "fitted",
    validation_fraction: float = VALIDATION_FRACTION,
    seed: int = 0,
) -> dataset.Dataset:
    """Makes a data set of arrays in memory.

    Args:
      x_train: inputs ``[N, H, W, channels]``, ``[N, H, W]`` or ``[N, D]``. Whole
        numbers within 0 .. 255 become bytes, all else float32.
      y_train: classes ``[N]``, whole numbers from 0; or values ``[N]`` or ``[N, T]``.
      x_test: test inputs; without them a fifth is split off, stratified by class.
      y_test: test classes or values.
      name: what to call it.
      targets: whether ``y`` are classes, or "values" to be regressed; see
        :func:`distill_jax.tasks.regression`.
      normalization: "fitted", "zca" or "none", as in :func:`load`.
      validation_fraction: the share of the training set that is split off.
      seed: of that split.

    Returns:
      A :class:`~distill_jax.data.Dataset`.

    Raises:
      InputError: when the arrays do not fit together or an option is out of range.

    Example:
      >>> x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
      >>> data = from_arrays(x, y, validation_fraction=0.25)
      >>> len(data.train.y), len(data.validation.y), len(data.test.y)
      (12, 4, 4)
      >>> from_arrays(x, x[:, 0] / 3, targets="values").train.y.shape
      (14, 1)
    """
    _check_normalization(name, normalization)
    if targets not in ("classes", "values"):
        raise errors.InputError(
            f"There is no kind {targets!r} of targets. "
            f"{errors.nearest(str(targets), ['classes', 'values'])}"
        )
    if (x_test is None) != (y_test is None):
        raise errors.InputError(
            "Only one of `x_test` and `y_test` was passed; pass both or none."
        )
    raw = npz.raw_from_arrays(x_train, y_train, x_test, y_test, targets=targets)
    return _assemble(name, raw, normalization, validation_fraction, seed)


def _reader(name: str, data_dir) -> Callable[[], dataset.RawSet]:
    """What reads the data set of that name."""
    if name in READERS:
        return functools.partial(READERS[name], name, data_dir)
    prefix, separator, rest = str(name).partition(":")
    if separator and rest and prefix in ("npz", "folder"):
        read_fn = npz.read if prefix == "npz" else folder.read
        return functools.partial(read_fn, rest)
    if separator and rest and prefix == "tfds":
        return functools.partial(prepared.read, rest, data_dir)
    raise errors.InputError(
        f'There is no data set "{name}". {errors.nearest(str(name), names())}'
    )


def _check_normalization(name: str, normalization: str) -> None:
    """Raises unless the kind is known and possible for the data set."""
    if normalization not in NORMALIZATIONS:
        raise errors.InputError(
            f'There is no normalization "{normalization}". '
            f"{errors.nearest(str(normalization), NORMALIZATIONS)}"
        )
    if normalization == "published" and name not in normalizers.PUBLISHED:
        raise errors.InputError(
            f'No mean and deviation are published for "{name}"; use "fitted".'
        )


def _assemble(
    name: str,
    raw: dataset.RawSet,
    normalization: str,
    validation_fraction: float,
    seed: int,
) -> dataset.Dataset:
    """Checks, splits and normalises what a reader returned."""
    num_classes = len(raw.class_names)
    what = f'the training set of "{name}"'
    checks.check_examples(
        *raw.train, num_classes=num_classes, what=what, needs_every_class=True
    )
    of_file = {"train": np.arange(len(raw.train.y))}
    if raw.test is not None:
        of_file["test"] = np.arange(len(raw.test.y))
    if raw.test is None:
        groups = dataset.groups_of(raw.train.y, num_classes)
        kept, taken = split.stratified_split(groups, TEST_FRACTION, seed=0)
        raw = raw._replace(train=_take(raw.train, kept), test=_take(raw.train, taken))
        of_file = {"train": kept, "test": taken}
    train, test = raw.train, raw.test
    assert test is not None
    checks.check_examples(
        *test, num_classes=num_classes, what=f'the test set of "{name}"'
    )
    groups = dataset.groups_of(train.y, num_classes)
    kept, taken = split.stratified_split(groups, validation_fraction, seed=seed)
    part = _take(train, kept) if taken.size else train
    if normalization == "auto":
        normalization = "published" if name in normalizers.PUBLISHED else "fitted"
    hashed = [train.x, train.y, test.x, test.y]
    if normalization in ("fitted", "zca"):
        hashed.append(kept)  # The statistics depend on what they were fitted on.
    spec = dataset.DataSpec(
        name=name,
        shape=train.x.shape[1:],
        num_classes=num_classes,
        class_names=raw.class_names,
        normalizer=_normalizer(name, raw, part.x, normalization),
        fingerprint=dataset.fingerprint(hashed, normalization),
        normalization=normalization,
        **({} if num_classes else _moments(part.y)),
    )
    rows = {
        "train": of_file["train"][kept] if taken.size else of_file["train"],
        "validation": of_file["train"][taken],
        "test": of_file["test"],
    }
    rows = {name: of_split.astype(np.int32) for name, of_split in rows.items()}
    return dataset.Dataset(part, _take(train, taken), test, spec, rows)


def _normalizer(
    name: str, raw: dataset.RawSet, x: np.ndarray, normalization: str
) -> normalizers.Normalizer:
    """The normaliser of a kind; `x` is the training part."""
    options = {"scale": raw.scale, "pixel_range": raw.pixel_range}
    if normalization == "fitted":
        return normalizers.mean_std_normalizer(x, **options)
    if normalization == "zca":
        return normalizers.zca_normalizer(x, **options)
    num_channels = x.shape[-1]
    plain = ((0.0,) * num_channels, (1.0,) * num_channels)
    is_published = normalization == "published"
    mean, std = normalizers.PUBLISHED[name] if is_published else plain
    return normalizers.Normalizer(
        scale=np.asarray(raw.scale, np.float32),
        mean=np.asarray(mean, np.float32),
        std=np.asarray(std, np.float32),
        pixel_range=np.asarray(raw.pixel_range, np.float32),
    )


def _moments(y: np.ndarray) -> dict[str, np.ndarray]:
    """The mean and the deviation of each target."""
    std = y.std(axis=0, dtype=np.float64)
    return {
        "target_mean": y.mean(axis=0, dtype=np.float64).astype(np.float32),
        "target_std": np.where(std > 0, std, 1.0).astype(np.float32),
    }


def _take(arrays: dataset.Arrays, index: np.ndarray) -> dataset.Arrays:
    """Some rows of a split."""
    return dataset.Arrays(arrays.x[index], arrays.y[index])
