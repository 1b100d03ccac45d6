# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sets prepared by tensorflow_datasets (`tfds:NAME`), read without TensorFlow.

Preparing a set of images needs TensorFlow once, on any machine::

    tfds.builder("cifar10", data_dir=DIR, file_format="array_record")
        .download_and_prepare()

What that leaves in ``DIR/NAME/VERSION`` is read here by random access. The library is
imported when it is needed and not before.
"""

import importlib
import json
import os
import pathlib
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.data import arrays, dataset, files
from distill_jax.storage import bounds

__all__ = ["read"]

HOME = "~/tensorflow_datasets"  # Where the library itself keeps what it prepared.
_OWN_CLASSES = "tensorflow_datasets.core.features."


def read(name: str, data_dir: str | os.PathLike | None) -> dataset.RawSet:
    """Reads a prepared set with one input and one class for each example.

    Args:
      name: its name in the catalogue, "mnist", or with a configuration,
        "cifar10_corrupted/brightness_1".
      data_dir: the folder that sets were prepared in; ``None`` for the one that the
        environment names, or else the library's own.

    Returns:
      The splits "train", "validation" and "test"; the latter two ``None`` where there
      are none.

    Raises:
      InputError: when the library or the set is missing, or has another form.

    Example:
      >>> read("mnist", "/")
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The set "tfds:mnist" is not prepared in "/mnist"; \
prepare it once with tfds.builder("mnist", data_dir="/", file_format="array_record")\
.download_and_prepare(), which needs TensorFlow for images.
    """
    named = data_dir if data_dir is not None else os.environ.get(files.ENVIRONMENT)
    folder = pathlib.Path(named or HOME).expanduser()
    version = _newest_version(name, folder)
    library = _import_library()
    message = (
        f'The set "tfds:{name}" in "{version}" cannot be read ({{error}}); prepare it '
        "again."
    )
    with bounds.reading(message):
        _check_classes(version / "features.json")
        return _read_version(name, version, library)


def _read_version(name: str, version: pathlib.Path, library: Any) -> dataset.RawSet:
    """The splits of one prepared version."""
    builder = library.builder_from_directory(version)
    if builder.info.file_format.value != "array_record":
        raise errors.InputError(
            f'The set "tfds:{name}" is prepared in "{version}" as '
            f"{builder.info.file_format.value}, which cannot be read without "
            'TensorFlow; prepare it again with file_format="array_record".'
        )
    keys = _keys(name, builder.info)
    x, y = {}, {}
    for split in dataset.SPLITS:
        if split == "train" or split in builder.info.splits:
            x[split], y[split] = _read_split(name, builder, split, keys)
    raw = arrays.raw_from_arrays(
        x["train"],
        y["train"],
        x.get("test"),
        y.get("test"),
        x_val=x.get("validation"),
        y_val=y.get("validation"),
    )
    return raw._replace(class_names=tuple(builder.info.features[keys[1]].names))


def _check_classes(path: pathlib.Path) -> None:
    """Raises where a file names a class that would be imported from elsewhere."""
    if not path.exists():
        return
    left = [json.loads(path.read_bytes())]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            former = ("type",) if "content" in node else ()
            for key in ("pythonClassName", "python_class_name", *former):
                named = node.get(key)
                if isinstance(named, str) and not named.startswith(_OWN_CLASSES):
                    raise errors.InputError(
                        f'The file "{path}" names the class {named}, which was not '
                        "imported; only features of tensorflow_datasets are read."
                    )
        if isinstance(node, dict | list):
            left += node.values() if isinstance(node, dict) else node


def _newest_version(name: str, folder: pathlib.Path) -> pathlib.Path:
    """The folder of the newest prepared version."""
    versions = [info.parent for info in (folder / name).glob("*/dataset_info.json")]
    if not versions:
        raise errors.InputError(
            f'The set "tfds:{name}" is not prepared in "{folder / name}"; prepare it '
            f'once with tfds.builder("{name}", data_dir="{folder}", '
            'file_format="array_record").download_and_prepare(), which needs '
            "TensorFlow for images."
        )
    return max(versions, key=lambda version: _numbers(version.name))


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, to compare 10.0.0 with 9.0.0."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _import_library() -> Any:
    """The library, imported only now."""
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        raise errors.InputError(
            f'Sets named "tfds:..." need tensorflow_datasets ({error}); install it, or '
            "store the set as npz:PATH."
        ) from error


def _keys(name: str, info: Any) -> tuple[str, str]:
    """The names of the input and of the class among the features."""
    keys = info.supervised_keys
    features = info.features or {}
    has_keys = isinstance(keys, tuple) and len(keys) == 2 and set(keys) <= set(features)
    if not has_keys or not hasattr(features[keys[1]], "names"):
        raise errors.InputError(
            f'The set "tfds:{name}" does not pair one input with one class; its '
            f"features are {', '.join(sorted(features))}. Store what is wanted of it "
            "as npz:PATH."
        )
    return keys


def _read_split(
    name: str, builder: Any, split: str, keys: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and classes of one split."""
    if split not in builder.info.splits:
        raise errors.InputError(
            f'The set "tfds:{name}" has no split "{split}"; it has '
            f"{', '.join(sorted(builder.info.splits))}."
        )
    examples = [
        (np.asarray(example[keys[0]]), int(example[keys[1]]))
        for example in builder.as_data_source(split=split)
    ]
    shapes = sorted({x.shape for x, _ in examples})
    if len(shapes) > 1:
        raise errors.InputError(
            f'The inputs of "tfds:{name}" have different shapes, among them '
            f"{shapes[0]} and {shapes[1]}; resize them and store the set as npz:PATH."
        )
    return np.stack([x for x, _ in examples]), np.array([y for _, y in examples])
