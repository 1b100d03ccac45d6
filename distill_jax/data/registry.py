# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All data sets by name."""

import functools
import os
import pathlib
from collections.abc import Callable
from typing import Literal

import numpy as np

from distill_jax import errors
from distill_jax.data import (
    arrays,
    assembly,
    cifar,
    dataset,
    digits,
    files,
    folder,
    idx,
    npz,
    prepared,
    svhn,
)
from distill_jax.data import normalizer as normalizers

__all__ = ["NORMALIZATIONS", "from_arrays", "load", "names"]

NORMALIZATIONS = ("auto", "published", "fitted", "zca", "none")

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
        stratified; 0.1 where it is not given, 0.2 for "digits". A source with a
        validation set of its own keeps it.
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
    _check_normalization(name, normalization)
    raw = _reader(name, data_dir)()
    return assembly.assemble(name, raw, normalization, validation_fraction, seed)


def from_arrays(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    name: str = "arrays",
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    targets: Literal["classes", "values"] = "classes",
    normalization: str = "fitted",
    validation_fraction: float | None = None,
    seed: int = 0,
) -> dataset.Dataset:
    """Makes a data set of arrays in memory.

    The unit is decided from all splits together. Pictures of whole numbers within
    0 .. 255, and of floats in that range whose largest is above 2, are in units of
    1/255; all others, and every table ``[N, D]``, are their own unit.

    Args:
      x_train: inputs ``[N, H, W, channels]``, ``[N, H, W]`` or ``[N, D]``. Whole
        numbers within 0 .. 255 become bytes, all else float32.
      y_train: classes ``[N]``, whole numbers from 0; or values ``[N]`` or ``[N, T]``.
      x_test: test inputs; without them a fifth is split off, stratified by class.
      y_test: test classes or values.
      name: what to call it.
      validation: validation inputs, and classes or values; without them a part of the
        training set is split off.
      targets: whether ``y`` are classes, or "values" to be regressed; see
        :func:`distill_jax.tasks.regression`.
      normalization: "fitted", "zca" or "none", as in :func:`load`.
      validation_fraction: the share of the training set that is split off, 0.1 where
        it is not given.
      seed: of that split.

    Returns:
      A :class:`~distill_jax.data.Dataset`.

    Raises:
      InputError: when the arrays do not fit together, are of different units, or an
        option is out of range.

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
    if validation_fraction is None and validation is None:
        # Whatever the data set is called.
        validation_fraction = assembly.VALIDATION_FRACTION
    is_pair = isinstance(validation, tuple | list) and len(validation) == 2
    if validation is not None and not is_pair:
        raise errors.InputError(
            f"`validation` is of the type {type(validation).__name__}; pass the pair "
            "(inputs, classes or values)."
        )
    x_val, y_val = (None, None) if validation is None else validation
    raw = arrays.raw_from_arrays(
        x_train, y_train, x_test, y_test, x_val=x_val, y_val=y_val, targets=targets
    )
    return assembly.assemble(name, raw, normalization, validation_fraction, seed)


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
    raise errors.InputError(f'There is no data set "{name}". {_hint(str(name))}')


def _hint(name: str) -> str:
    """What may be meant by a name that is none."""
    prefix, separator, rest = name.partition(":")
    known = [prefix for prefix, _, _ in (form.partition(":") for form in PREFIXES)]
    if separator and rest and prefix.lower().strip() in known:
        return f'Did you mean "{prefix.lower().strip()}:{rest.strip()}"?'
    alike = [reader for reader in READERS if files.bare(reader) == files.bare(name)]
    if alike:
        return f'Did you mean "{alike[0]}"?'
    path = pathlib.Path(name).expanduser()
    if path.suffix.lower() == ".npz":
        return f'Did you mean "npz:{name}"?'
    if path.is_dir():
        return f'Did you mean "folder:{name}"? Known are also {", ".join(names())}.'
    if path.exists() or os.sep in name:
        return (
            "It looks like a path: arrays in one file of numpy.savez are read as "
            '"npz:PATH", a folder of pictures as "folder:PATH".'
        )
    return errors.nearest(name, names())


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
