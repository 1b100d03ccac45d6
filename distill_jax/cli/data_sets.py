# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The data set of a config, whole or in part, and found again from any folder."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from distill_jax import data, errors
from distill_jax.data import dataset as datasets

__all__ = ["check_fingerprint", "load_again", "load_for", "place_of"]

OWN = ("npz", "folder")  # The sets that are named by a path.


def load_for(config: Mapping[str, Any]) -> data.Dataset:
    """Loads the data set of a config.

    Args:
      config: a config, or a dictionary with its section ``data``.

    Returns:
      The data set.

    Raises:
      InputError: when it cannot be loaded, or less than one example of each class is
        to be kept.

    Example:
      >>> from distill_jax.cli import settings
      >>> load_for(settings.default()).spec.shape
      (8, 8, 1)
    """
    section = config["data"]
    dataset = data.load(
        section["name"],
        section["data_dir"],
        normalization=section["normalization"],
        validation_fraction=section["validation_fraction"],
    )
    limits = {
        name: section[name]
        for name in ("max_per_class", "max_test_per_class")
        if section.get(name) is not None
    }
    errors.check_counts(of="`config.data`", **limits)
    if most := limits.get("max_per_class"):
        chosen = np.concatenate(_part_of(dataset.train, dataset.spec, most))
        selection = data.make_selection(dataset, chosen)
        dataset = data.select(dataset, selection)
    if most := limits.get("max_test_per_class"):
        dataset = _with_part_of_tests(dataset, most)
    return dataset


def check_fingerprint(stored: Any, dataset: data.Dataset) -> None:
    """Raises unless a distilled set was made from this data set.

    Args:
      stored: a :class:`~distill_jax.DistilledSet`.
      dataset: at hand.

    Raises:
      InputError: when their fingerprints differ.

    Example:
      >>> import distill_jax as dj
      >>> stored = dj.DistilledSet(x=np.eye(2), y=np.eye(2), data_fingerprint="f")
      >>> check_fingerprint(stored, data.load("digits"))
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The data set "digits" at hand is not the one that \
the distilled set was made from (their fingerprints differ); point --data_dir to the \
same files, or --data to a file or folder of your own, and keep normalisation and \
validation split.
    """
    if dataset.spec.fingerprint != stored.data_fingerprint:
        raise errors.InputError(
            f'The data set "{dataset.spec.name}" at hand is not the one that the '
            "distilled set was made from (their fingerprints differ); point --data_dir "
            "to the same files, or --data to a file or folder of your own, and keep "
            "normalisation and validation split."
        )


def place_of(section: Mapping[str, Any]) -> dict[str, str]:
    """Says where the data set of a config lies, for whoever is in another folder.

    Args:
      section: ``data`` of the config.

    Returns:
      The absolute ``path`` of one's own file or folder; the absolute ``data_dir`` of a
      set that is looked for there; nothing where the environment names the folder.

    Example:
      >>> place_of({"name": "npz:/data/mine.npz", "data_dir": None})
      {'path': '/data/mine.npz'}
      >>> place_of({"name": "mnist", "data_dir": "/data"})
      {'data_dir': '/data'}
    """
    own = _own_path(section["name"])
    if own is not None:
        return {"path": str(own[1].absolute())}
    if section["data_dir"] is not None:
        folder = pathlib.Path(section["data_dir"]).expanduser()
        return {"data_dir": str(folder.absolute())}
    return {}


def load_again(
    stored: Any,
    section: Mapping[str, Any],
    *,
    beside: pathlib.Path,
    data_dir: str | None = None,
    name: str | None = None,
) -> data.Dataset:
    """Loads the data set that a distilled set was made from, from any folder.

    It is looked for where it was, then where its relative path leads from here and
    from the folders above the distilled set. The first that has the fingerprint is
    taken.

    Args:
      stored: a :class:`~distill_jax.DistilledSet`.
      section: ``data`` of the config that it was made with.
      beside: where the distilled set lies.
      data_dir: where data sets are now; one's own file or folder too.
      name: the data set itself, such as ``"npz:PATH"``; or its path.

    Returns:
      The data set, under the name of the config.

    Raises:
      InputError: when it is nowhere, or what is found has another fingerprint.

    Example:
      >>> from distill_jax.cli import settings
      >>> import distill_jax as dj
      >>> digits = data.load("digits").spec.fingerprint
      >>> stored = dj.DistilledSet(x=np.eye(2), y=np.eye(2), data_fingerprint=digits)
      >>> section = settings.default().data
      >>> load_again(stored, section, beside=pathlib.Path()).spec.name
      'digits'
    """
    places = _places(stored, section, beside, data_dir, name)
    first_error = None
    for where in places:
        try:
            dataset = load_for({"data": {**section, **where}})
            check_fingerprint(stored, dataset)
        except errors.InputError as error:
            first_error = first_error or error
            continue
        spec = dataclasses.replace(dataset.spec, name=section["name"])
        return dataclasses.replace(dataset, spec=spec)
    assert first_error is not None
    raise first_error


def _places(
    stored: Any,
    section: Mapping[str, Any],
    beside: pathlib.Path,
    data_dir: str | None,
    name: str | None,
) -> list[dict[str, str | None]]:
    """The names and folders under which the data set may be, the likeliest first."""
    own = _own_path(section["name"])
    if name is not None:
        is_bare = own is not None and ":" not in name and name not in data.names()
        named = f"{own[0]}:{name}" if own is not None and is_bare else name
        return [{"name": named, "data_dir": data_dir or section["data_dir"]}]
    if own is None:
        known = [section["data_dir"], stored.data.get("data_dir")]
        folders = [data_dir] if data_dir else [folder for folder in known if folder]
        return [{"data_dir": folder} for folder in dict.fromkeys(folders)] or [{}]
    kind, path = own
    if data_dir is not None:
        folder = pathlib.Path(data_dir).expanduser()
        inside = [folder / path, folder / path.name, folder]
        if kind == "npz":
            inside.pop()
    else:
        known = stored.data.get("path")
        inside = [pathlib.Path(known), path] if known else [path]
        inside += [above / path for above in beside.absolute().parents]
    found = [place for place in _distinct(inside) if place.exists()]
    if not found:
        tried = " nor at ".join(f'"{place}"' for place in _distinct(inside)[:2])
        raise errors.InputError(
            f'The data set "{section["name"]}" is not at {tried}; pass '
            f"--data={kind}:PATH with the place where it is now."
        )
    return [{"name": f"{kind}:{place}"} for place in found]


def _distinct(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Absolute paths, each once."""
    return list(dict.fromkeys(path.absolute() for path in paths))


def _own_path(name: str) -> tuple[str, pathlib.Path] | None:
    """The kind and the path of a data set of one's own, `None` for others."""
    kind, separator, path = name.partition(":")
    if not separator or kind not in OWN:
        return None
    return kind, pathlib.Path(path).expanduser()


def _part_of(split: data.Arrays, spec: data.DataSpec, most: int) -> list[np.ndarray]:
    """At most so many positions of each class, random, and nested in `most`."""
    classes = data.groups_of(split.y, spec.num_classes)
    rng = np.random.default_rng(0)
    return [
        rng.permutation(np.flatnonzero(classes == label))[:most]
        for label in np.unique(classes)
    ]


def _with_part_of_tests(dataset: data.Dataset, most: int) -> data.Dataset:
    """The data set with at most so many held-out examples of each class."""
    parts, rows = {}, dict(dataset.rows)
    total = len(dataset.validation.y) + len(dataset.test.y)
    for name in ("validation", "test"):
        split = getattr(dataset, name)
        if not len(split.y):
            continue
        kept = np.sort(np.concatenate(_part_of(split, dataset.spec, most)))
        parts[name] = data.Arrays(split.x[kept], split.y[kept])
        rows[name] = rows[name][kept]
    if sum(len(part.y) for part in parts.values()) == total:
        return dataset
    fingerprint = datasets.fingerprint(
        [rows["validation"], rows["test"]], dataset.spec.fingerprint
    )
    spec = dataclasses.replace(dataset.spec, fingerprint=fingerprint)
    return dataclasses.replace(dataset, **parts, spec=spec, rows=rows)
