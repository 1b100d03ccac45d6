# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The product of a run: a distilled set with all that is needed to use it.

A distilled set is two files. ``distilled.npz`` holds the arrays, ``distilled.json``
the facts: how the targets are meant, the training recipe, the fingerprint of the data,
the config, the measured accuracies, and the SHA-256 of the ``.npz``. The examples are
stored in the space the networks see; with ``u`` the picture in the unit range,

    x = whiten((u - mean) / std),    u = mean + std * unwhiten(x),

where the two matrices act on flattened examples and are absent without whitening.
Reading the files needs numpy alone::

    import json, pathlib, numpy as np

    facts = json.loads(pathlib.Path("distilled.json").read_text("utf-8"))
    with np.load("distilled.npz", allow_pickle=False) as file:
        x, y = file["x"], file["y"]           # train on these, by facts["recipe"]
        u = x
        if "normalizer_unwhiten" in file:             # only where ZCA was used
            u = (u.reshape(len(u), -1) @ file["normalizer_unwhiten"]).reshape(u.shape)
        u = u * file["normalizer_std"] + file["normalizer_mean"]   # pictures in [0, 1]

``weight`` and ``learning_rate`` are there where they were learned. New data goes the
other way: ``(raw * normalizer_scale - normalizer_mean) / normalizer_std``, flattened
and times ``normalizer_whiten`` where there is one.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.storage import npz_json

__all__ = ["DistilledSet"]

_TARGETS = ("probabilities", "centred", "values")  # `types.Targets`, without jax
_NORMALIZER_FIELDS = ("scale", "mean", "std", "whiten", "unwhiten", "pixel_range")
_FACTS = ("targets", "recipe", "data_fingerprint", "data", "config", "results")


@dataclasses.dataclass(frozen=True, eq=False)
class DistilledSet:
    """A distilled set on the host.

    Attributes:
      x: [M, ...] float32 inputs in the space the networks see.
      y: [M, C] float32 targets.
      weight: [M] float32, or ``None`` where all examples count the same.
      learning_rate: the learned learning rate, or ``None``.
      targets: what ``y`` is: "probabilities", "centred" or "values".
      normalizer: arrays ``scale``, ``mean``, ``std``, for ZCA ``whiten`` and
        ``unwhiten`` [D, D], and ``pixel_range`` [2], the ``u`` of black and white where
        it is not 0 and 1. Entries that are ``None`` are left out; empty for none.
      recipe: how a network is trained on the set: the description of the network, the
        optimiser, steps, augmentation and loss.
      data_fingerprint: SHA-256 of the data the set was distilled from.
      data: ``name``, ``shape`` of one example and ``class_names``.
      config: the config of the run.
      results: measured accuracies and the like.

    Mappings of facts are made plain (JSON): tuples become lists, numpy scalars become
    numbers, and numbers that are not finite become text.

    Raises:
      InputError: when arrays do not fit each other or are not finite, or a fact cannot
        be written as JSON.

    Example:
      >>> import tempfile
      >>> distilled = DistilledSet(x=np.zeros((2, 4, 4, 1)), y=np.eye(2))
      >>> distilled.num_bytes
      144
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = distilled.save(folder)
      ...     path.name, DistilledSet.load(folder).y.tolist()
      ('distilled.npz', [[1.0, 0.0], [0.0, 1.0]])
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None
    learning_rate: float | None = None
    targets: str = "probabilities"
    normalizer: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data_fingerprint: str = ""
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    results: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        arrays = {name: _float32(getattr(self, name), name) for name in ("x", "y")}
        if self.weight is not None:
            arrays["weight"] = _float32(self.weight, "weight")
        normalizer = {
            name: _float32(value, f"normalizer {name}")
            for name, value in self.normalizer.items()
            if value is not None
        }
        facts = {name: _plain(getattr(self, name), name) for name in _FACTS}
        rate = self.learning_rate
        if rate is not None:
            rate = float(_float32(rate, "learning_rate").reshape(()))
        fields = arrays | facts | {"normalizer": normalizer, "learning_rate": rate}
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        _check_shapes(self)

    @property
    def num_bytes(self) -> int:
        """Bytes of what a learner trains on: x, y, weight and learning rate."""
        arrays = _arrays(self)
        return sum(
            array.nbytes
            for name, array in arrays.items()
            if not name.startswith("normalizer_")
        )

    def save(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Writes ``distilled.npz`` and ``distilled.json``: both or neither.

        Args:
          path: a folder that exists or ends in a slash, or a stem: ``"runs/set"``
            writes ``runs/set.npz`` and ``runs/set.json``. Missing folders are made.

        Returns:
          The path of the ``.npz`` file.

        Raises:
          InputError: when the files cannot be written.

        Example:
          >>> import tempfile
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     distilled = DistilledSet(x=np.zeros((2, 3)), y=np.eye(2))
          ...     distilled.save(f"{folder}/small").name
          'small.npz'
        """
        facts = {name: getattr(self, name) for name in _FACTS}
        facts["num_bytes"] = self.num_bytes
        return npz_json.write(path, _arrays(self), facts)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "DistilledSet":
        """Reads a distilled set, checks it against its hash, and never unpickles.

        Args:
          path: the folder, either of the two files, or their common stem.

        Returns:
          The set as it was saved.

        Raises:
          InputError: when a file is missing, damaged, of a newer format, or does not
            belong to the other.

        Example:
          >>> import tempfile
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     distilled = DistilledSet(np.ones((2, 3)), np.eye(2), weight=[1, 2])
          ...     DistilledSet.load(distilled.save(folder)).weight.tolist()
          [1.0, 2.0]
        """
        arrays, facts = npz_json.read(path, facts=_FACTS, arrays=("x", "y"))
        normalizer = {
            name: arrays[f"normalizer_{name}"]
            for name in _NORMALIZER_FIELDS
            if f"normalizer_{name}" in arrays
        }
        rate = arrays.get("learning_rate")
        return cls(
            x=arrays["x"],
            y=arrays["y"],
            weight=arrays.get("weight"),
            learning_rate=None if rate is None else float(rate),
            normalizer=normalizer,
            **{name: facts[name] for name in _FACTS},
        )

    def to_images(self) -> np.ndarray:
        """The examples as pictures in true colours.

        Returns:
          [M, H, W, C] uint8: ``u = mean + std * unwhiten(x)``, with the pixel range
          spread over 0 to 255, rounded and clipped.

        Raises:
          InputError: when the examples are not pictures.

        Example:
          >>> normalizer = {"scale": 1 / 255, "mean": [0.5], "std": [0.25]}
          >>> distilled = DistilledSet(
          ...     x=np.ones((1, 2, 2, 1)), y=np.ones((1, 1)), normalizer=normalizer)
          >>> distilled.to_images()[0, :, :, 0].tolist()
          [[191, 191], [191, 191]]
        """
        if self.x.ndim != 4 or self.x.shape[-1] not in (1, 3, 4):
            raise errors.InputError(
                f"The examples have the shape {list(self.x.shape[1:])}, which is not a "
                "picture; `to_images` needs height, width and 1, 3 or 4 channels."
            )
        unit, normalizer = self.x, self.normalizer
        if "unwhiten" in normalizer:
            flat = unit.reshape(len(unit), -1) @ normalizer["unwhiten"]
            unit = flat.reshape(self.x.shape)
        if "mean" in normalizer:
            unit = unit * normalizer["std"] + normalizer["mean"]
        low, high = normalizer.get("pixel_range", (0.0, 1.0))
        pixels = 255.0 * (unit - low) / (high - low)
        return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _check_shapes(distilled: DistilledSet) -> None:
    """Raises unless the arrays and the targets of a set fit each other."""
    x, y, weight = distilled.x, distilled.y, distilled.weight
    if distilled.targets not in _TARGETS:
        raise errors.InputError(
            f"`targets` is {distilled.targets!r}, which says nothing about `y`. "
            f"{errors.nearest(str(distilled.targets), _TARGETS)}"
        )
    if x.ndim < 2 or not len(x) or y.ndim != 2 or len(x) != len(y):
        raise errors.InputError(
            f"`x` has the shape {list(x.shape)} and `y` {list(y.shape)}; a distilled "
            "set needs x [M, ...] and y [M, C] with the same M of at least 1."
        )
    if weight is not None and weight.shape != (len(x),):
        raise errors.InputError(
            f"`weight` has the shape {list(weight.shape)}, but there are {len(x)} "
            "examples; pass one weight for each, or None."
        )
    names = set(distilled.normalizer)
    is_complete = {"scale", "mean", "std"} <= names <= set(_NORMALIZER_FIELDS)
    if names and (not is_complete or ("whiten" in names) != ("unwhiten" in names)):
        raise errors.InputError(
            f"The normaliser has {sorted(names)}, which cannot be inverted; it needs "
            "scale, mean and std, and whiten and unwhiten together or not at all."
        )


def _float32(value: Any, name: str) -> np.ndarray:
    """A finite float32 array on the host."""
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f"`{name}` is not an array of numbers ({error}); pass numbers."
        ) from error
    if not np.isfinite(array).all():
        raise errors.InputError(
            f"`{name}` holds numbers that are not finite, and no network can train on "
            "them; store the last finite state of the run."
        )
    return array


def _plain(value: Any, name: str) -> Any:
    """The same value out of what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), name)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise errors.InputError(
        f"`{name}` is a {type(value).__name__}, which cannot be written to a .json "
        "file; pass numbers, text, lists and mappings of these."
    )


def _arrays(distilled: DistilledSet) -> dict[str, np.ndarray]:
    """All arrays of a set under the names they have in the file."""
    arrays = {"x": distilled.x, "y": distilled.y}
    if distilled.weight is not None:
        arrays["weight"] = distilled.weight
    if distilled.learning_rate is not None:
        arrays["learning_rate"] = np.asarray(distilled.learning_rate, np.float32)
    for name, array in distilled.normalizer.items():
        arrays[f"normalizer_{name}"] = array
    return arrays
