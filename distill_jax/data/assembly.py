# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The way from what a reader returns to a data set.

check -> split off test and validation (stratified) -> fit the normaliser on train
"""

import numpy as np

from distill_jax import errors
from distill_jax.data import checks, dataset, scales, split
from distill_jax.data import normalizer as normalizers

__all__ = ["VALIDATION_FRACTION", "assemble"]

TEST_FRACTION = 0.2  # Of sets that come without a test set.
VALIDATION_FRACTION = 0.1
VALIDATION_FRACTIONS = {"digits": 0.2}


def assemble(
    name: str,
    raw: dataset.RawSet,
    normalization: str,
    validation_fraction: float | None,
    seed: int,
) -> dataset.Dataset:
    """Checks, splits and normalises what a reader returned.

    Args:
      name: what to call the data set.
      raw: the splits as they were found.
      normalization: the kind of normaliser, or "auto".
      validation_fraction: the share that is split off where there is no validation
        set; that of :func:`~distill_jax.data.load` where it is ``None``.
      seed: of that split.

    Returns:
      A :class:`~distill_jax.data.Dataset`.

    Raises:
      InputError: when the examples cannot be learned from.

    Example:
      >>> part = dataset.Arrays(np.zeros((20, 2)), np.arange(20) % 2)
      >>> raw = dataset.RawSet(part, None, ("a", "b"))
      >>> len(assemble("mine", raw, "fitted", None, seed=0).test.y)
      4
    """
    num_classes = len(raw.class_names)
    checks.check_splits(name, raw)
    if raw.test is None and raw.validation is not None:
        errors.warn(
            f'"{name}" has a validation split but no test split, so a fifth of its '
            'training examples is kept for testing; if the split called "val" is meant '
            'for testing, call it "test".'
        )
    raw, source = _with_test(raw)
    parts, rows, kept = _with_validation(name, raw, source, validation_fraction, seed)
    if normalization == "auto":
        normalization = "published" if name in normalizers.PUBLISHED else "fitted"
    scales.tell_unusual(parts["train"].x, raw.scale, normalization, name)
    spec = dataset.DataSpec(
        name=name,
        shape=raw.train.x.shape[1:],
        num_classes=num_classes,
        class_names=raw.class_names,
        normalizer=_normalizer(name, raw, parts["train"].x, normalization),
        fingerprint=_fingerprint(raw, kept, normalization),
        normalization=normalization,
        **({} if num_classes else _moments(parts["train"].y)),
    )
    return dataset.Dataset(**parts, spec=spec, rows=rows)


def _with_test(raw: dataset.RawSet) -> tuple[dataset.RawSet, dict[str, np.ndarray]]:
    """The splits with a test set, and where each example stood in its file."""
    groups = dataset.groups_of(raw.train.y, len(raw.class_names))
    kept, taken = np.arange(len(groups)), None
    if raw.test is None:
        kept, taken = split.stratified_split(groups, TEST_FRACTION, seed=0)
        raw = raw._replace(train=_take(raw.train, kept), test=_take(raw.train, taken))
    assert raw.test is not None
    return raw, {
        "train": kept,
        "test": np.arange(len(raw.test.y)) if taken is None else taken,
    }


def _with_validation(
    name: str,
    raw: dataset.RawSet,
    source: dict[str, np.ndarray],
    fraction: float | None,
    seed: int,
) -> tuple[dict[str, dataset.Arrays], dict[str, np.ndarray], np.ndarray]:
    """All splits, their rows in their files, and what statistics are fitted on."""
    train, test, validation = raw.train, raw.test, raw.validation
    assert test is not None
    if validation is not None and fraction is not None:
        errors.warn(
            f'"{name}" has a validation split of its own, {len(validation.y)} '
            f"examples, so `validation_fraction={fraction}` has no effect; leave it "
            "out."
        )
    if fraction is None:
        fraction = VALIDATION_FRACTIONS.get(name, VALIDATION_FRACTION)
    groups = dataset.groups_of(train.y, len(raw.class_names))
    kept, taken = split.stratified_split(
        groups, 0.0 if validation is not None else fraction, seed=seed
    )
    part = _take(train, kept) if taken.size else train
    rows = {
        "train": source["train"][kept],
        "validation": source["train"][taken],
        "test": source["test"],
    }
    if validation is None:
        validation = _take(train, taken)
    else:
        rows["validation"] = np.arange(len(validation.y))
    rows = {name: of_split.astype(np.int32) for name, of_split in rows.items()}
    return {"train": part, "validation": validation, "test": test}, rows, kept


def _fingerprint(raw: dataset.RawSet, kept: np.ndarray, normalization: str) -> str:
    """The hash of all that decides what the networks see."""
    splits = [raw.train, raw.test, raw.validation]
    hashed = [part for arrays in splits if arrays is not None for part in arrays]
    if normalization in ("fitted", "zca"):
        hashed.append(kept)  # The statistics depend on what they were fitted on.
    is_byte = raw.train.x.dtype == np.uint8
    if normalization in ("none", "zca") and raw.scale == (1 if is_byte else 1 / 255):
        hashed.append(np.array([raw.scale]))  # Not the unit that the type suggests.
    return dataset.fingerprint(hashed, normalization)


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
