# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The product of a run: a distilled set with all that is needed to use it.

A distilled set is two files. ``distilled.npz`` holds the arrays, ``distilled.json``
the facts: how the targets are meant, the training recipe, the fingerprint of the data,
the config, the measured accuracies, and the SHA-256 of the ``.npz`` and of the facts
themselves. The examples are stored in the space the networks see; with ``u`` the
picture in the unit range,

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

``weight``, ``target`` and ``learning_rate`` are there where a set has them. New data
goes the other way: ``(raw * normalizer_scale - normalizer_mean) / normalizer_std``,
flattened and times ``normalizer_whiten`` where there is one. Several arrays are such as
``x_inside`` and ``x_boundary``, with ``weight_inside`` and so on; ``y`` may be missing.
"""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.storage import (
    bounds,
    conversion,
    description,
    digests,
    label_checks,
    npz_json,
    set_checks,
)

__all__ = ["DistilledSet"]

_FACTS = ("targets", "recipe", "data_fingerprint", "data", "config", "results")
_ROWS = ("x", "y", "weight", "target")  # Arrays, or mappings of arrays.
_FIRST_ARRAYS = {  # What version 1 of the format knows.
    *("x", "y", "weight", "learning_rate"),
    *(f"normalizer_{name}" for name in set_checks.NORMALIZER_FIELDS),
}
_X_DTYPES = (np.float32, np.float64, np.float16)
_NAMED_DTYPES = (*_X_DTYPES, *"?bhilqBHILQ")  # Also what is true, and whole numbers.


@dataclasses.dataclass(frozen=True, eq=False)
class DistilledSet:
    """A distilled set on the host.

    Examples may be one array, or several with names, numbers of rows and weights of
    their own, such as the points inside and on the boundary of a domain.

    Attributes:
      x: [M, ...] inputs in the space the networks see, or a mapping of names to arrays
        [M_k, ...]. Floating types are kept, in a mapping those of whole numbers too;
        all else becomes float32.
      y: [M, C] targets; with several arrays also a mapping of names to [M_k, C], or
        ``None`` where nothing is labelled. Labels, weights and targets are float32, or
        what they were where examples are float64.
      weight: [M], or a mapping of names to [M_k]; ``None`` where all examples count the
        same.
      learning_rate: the learned learning rate, or ``None``.
      targets: what ``y`` is: "probabilities", "centred" or "values".
      normalizer: arrays ``scale``, ``mean``, ``std``, for ZCA ``whiten`` and
        ``unwhiten`` [D, D], and ``pixel_range`` [2], the ``u`` of black and white where
        it is not 0 and 1; for values ``target_mean`` and ``target_std`` [C], with which
        a raw value is ``y * target_std + target_mean``. Entries that are ``None`` are
        left out; empty for none.
      recipe: how a network is trained on the set: the description of the network, the
        optimiser, steps, augmentation and loss.
      data_fingerprint: SHA-256 of the data the set was distilled from.
      data: ``name``, ``shape`` of one example and ``class_names``.
      config: the config of the run.
      results: measured accuracies and the like.
      label_mass: what a row of probabilities sums to: "one", or "free" where the sum
        weighs the example.
      target: [M, C] what a representation learns, of the kind of ``y`` and in the same
        forms; ``None`` where that is ``y``.

    Mappings of facts are made plain (JSON): tuples become lists, numpy scalars become
    numbers, and numbers that are not finite become text.

    Raises:
      InputError: when arrays do not fit each other or are not finite, labels are not
        what ``targets`` and ``label_mass`` say, the learning rate is not positive, or a
        fact cannot be written as JSON.

    Example:
      >>> import tempfile
      >>> x = np.zeros((2, 4, 4, 1), np.float32)
      >>> distilled = DistilledSet(x=x, y=np.eye(2))
      >>> distilled.num_bytes
      144
      >>> distilled
      DistilledSet(x [2, 4, 4, 1] float32, y [2, 2] probabilities)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = distilled.save(folder)
      ...     path.name, DistilledSet.load(folder).y.tolist()
      ('distilled.npz', [[1.0, 0.0], [0.0, 1.0]])
      >>> points = {"inside": np.zeros((25, 2)), "boundary": np.ones((24, 2))}
      >>> DistilledSet(points, weight={"boundary": np.ones(24)}).num_examples
      49
    """

    x: Any
    y: Any = None
    weight: Any = None
    learning_rate: float | None = None
    targets: str = "probabilities"
    normalizer: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data_fingerprint: str = ""
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    results: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    label_mass: str = "one"
    target: Any = None

    _is_sealed = True  # Not if an earlier version stored it; it is saved as it was.

    def __post_init__(self):
        x = conversion.to_arrays(self.x, "x", _X_DTYPES, named=_NAMED_DTYPES)
        if x is None:
            raise errors.InputError("`x` is None; a distilled set needs examples.")
        dtypes = conversion.precision_of(x)
        rows = {
            name: conversion.to_arrays(getattr(self, name), name, dtypes)
            for name in _ROWS[1:]
        }
        normalizer = {
            name: conversion.to_array(value, f"normalizer {name}", dtypes)
            for name, value in self.normalizer.items()
            if value is not None
        }
        facts = {
            name: conversion.to_plain(getattr(self, name), name) for name in _FACTS
        }
        set_checks.check_facts(facts)
        rate = self.learning_rate
        label_checks.check_rate(rate)
        rate = None if rate is None else float(np.float32(np.asarray(rate).item()))
        set_checks.check_rows(x, **rows)
        set_checks.check_targets(
            self.targets, self.label_mass, rows["y"], rows["target"]
        )
        set_checks.check_normalizer(normalizer, x)
        arrays = {"x": x, **rows, "normalizer": normalizer, "learning_rate": rate}
        for name, value in (arrays | facts).items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"DistilledSet({description.in_words(self)})"

    @property
    def num_examples(self) -> int:
        """Rows of ``x``; of all its arrays where they are not labelled together."""
        if not isinstance(self.x, Mapping):
            return len(self.x)
        is_labelled = isinstance(self.y, np.ndarray)
        return len(self.y) if is_labelled else sum(map(len, self.x.values()))

    @property
    def num_bytes(self) -> int:
        """Bytes of what a learner trains on: all arrays but those of the normaliser."""
        return sum(
            array.nbytes
            for name, array in self._arrays().items()
            if not name.startswith("normalizer_")
        )

    @property
    def arrays_sha256(self) -> str:
        """The digest of all arrays with their names: what the set is, without facts."""
        return digests.of_json(
            {name: digests.of_array(array) for name, array in self._arrays().items()}
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        """All arrays under the names they have in the file."""
        names = ("x", "y", "weight", "learning_rate", "normalizer", "target")
        fields = {name: getattr(self, name) for name in names}
        if self.learning_rate is not None:
            fields["learning_rate"] = np.asarray(self.learning_rate, np.float32)
        return conversion.flatten(fields)

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
        arrays = self._arrays()
        facts = {name: getattr(self, name) for name in _FACTS}
        facts["num_bytes"] = self.num_bytes
        is_new = not set(arrays) <= _FIRST_ARRAYS
        is_new |= any(array.dtype != np.float32 for array in arrays.values())
        if description.is_free(self):
            facts["label_mass"], is_new = "free", True
        return npz_json.write(
            path,
            arrays,
            facts,
            format_version=2 if is_new else 1,
            is_sealed=self._is_sealed,
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "DistilledSet":
        """Reads a distilled set, checks it against its digests, and never unpickles.

        Args:
          path: the folder, either of the two files, or their common stem.

        Returns:
          The set as it was saved.

        Raises:
          InputError: when a file is missing, damaged, of a newer format, or does not
            belong to the other, or no network can train on what it holds.

        Example:
          >>> import tempfile
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     distilled = DistilledSet(np.ones((2, 3)), np.eye(2), weight=[1, 2])
          ...     DistilledSet.load(distilled.save(folder)).weight.tolist()
          [1.0, 2.0]
        """
        arrays, facts = npz_json.read(path, facts=_FACTS, arrays=())
        rows: dict[str, Any] = {name: conversion.nest(arrays, name) for name in _ROWS}
        rows["learning_rate"] = arrays.get("learning_rate")
        try:
            with bounds.reading("A field has another form ({error}); distil again."):
                stored = cls(
                    **rows,
                    normalizer=conversion.nest(arrays, "normalizer") or {},
                    label_mass=facts.get("label_mass")
                    or _former_mass(facts, rows["y"]),
                    **{name: facts[name] for name in _FACTS},
                )
        except errors.InputError as error:
            raise errors.InputError(
                f"The distilled set in {os.fspath(path)} cannot be used. {error}"
            ) from error
        object.__setattr__(stored, "_is_sealed", digests.is_sealed(facts))
        return stored

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
        if isinstance(self.x, Mapping):
            raise errors.InputError(
                f"The examples are the arrays {sorted(self.x)}, which are not pictures."
            )
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


def _former_mass(facts: Mapping[str, Any], y: Any) -> str:
    """The mass of the labels of a set that was stored before one could say it."""
    if facts["targets"] != "probabilities" or not isinstance(y, np.ndarray):
        return "one"
    try:
        label_checks.check_labels(y, "probabilities")
    except errors.InputError:
        return "free"
    return "one"
