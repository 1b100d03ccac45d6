# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The manifest of a checkpoint: what belongs to it, with the SHA-256 of each part.

``manifest.json`` lists the leaves of the state and the files of the checkpoint, holds
the facts that were saved with it, and is sealed itself. The files are checked before
anything parses them, the leaves once they are back in memory.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from distill_jax import errors
from distill_jax.storage import bounds, digests

__all__ = ["NAME", "Manifest", "check_files", "check_leaves", "make", "read", "write"]

NAME = "manifest.json"
_ADVICE = "take the checkpoint before it, or a copy"


class Manifest(NamedTuple):
    """What a checkpoint holds."""

    leaves: list[str]  # the name, type and shape of each leaf
    leaf_sha256: list[str]  # of the bytes of each leaf
    files: dict[str, str]  # path within the checkpoint -> SHA-256
    facts: dict[str, Any]  # what else is known about it; plain JSON


def make(
    folder: pathlib.Path,
    leaves: Sequence[str],
    arrays: Sequence[np.ndarray],
    facts: Mapping[str, Any],
) -> Manifest:
    """Makes the manifest of a checkpoint whose files are written.

    Args:
      folder: of the checkpoint.
      leaves: the name, type and shape of each leaf.
      arrays: what was written.
      facts: what else is known about it.

    Returns:
      The :class:`Manifest`.

    Raises:
      OSError: when a file cannot be read.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     made = make(pathlib.Path(folder), ["x float64[2]"], [np.ones(2)], {})
      >>> made.leaves, len(made.leaf_sha256[0]), made.files
      (['x float64[2]'], 64, {})
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return Manifest(
        leaves=list(leaves),
        leaf_sha256=[digests.of_array(array) for array in arrays],
        files={
            path.relative_to(folder).as_posix(): digests.of_file(path) for path in paths
        },
        facts=dict(facts),
    )


def write(folder: pathlib.Path, manifest: Manifest) -> None:
    """Writes a manifest into the folder of its checkpoint.

    Args:
      folder: of the checkpoint, which nobody reads yet.
      manifest: from :func:`make`.

    Raises:
      OSError: when it cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write(pathlib.Path(folder), Manifest([], [], {}, {"step": 3}))
      ...     read(pathlib.Path(folder)).facts
      {'step': 3}
    """
    document = digests.sealed(manifest._asdict())
    (folder / NAME).write_text(json.dumps(document, indent=1), "utf-8")


def read(folder: pathlib.Path) -> Manifest | None:
    """Reads the manifest of a checkpoint.

    Args:
      folder: of the checkpoint.

    Returns:
      The :class:`Manifest`; ``None`` where there is none, as in checkpoints of earlier
      versions.

    Raises:
      DamagedError: when it is not what was written.

    Example:
      >>> print(read(pathlib.Path("/nowhere")))
      None
    """
    path = folder / NAME
    message = (
        f"`{path}` could not be read ({{error}}), so the checkpoint is damaged; "
        f"{_ADVICE}."
    )
    with bounds.reading(message, errors.DamagedError):
        try:
            document = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        if not digests.is_sealed(document):
            raise ValueError("it has no digest")
        manifest = Manifest(**digests.unsealed(document, path, advice=_ADVICE))
        _check_form(manifest)
        return manifest


def _check_form(manifest: Manifest) -> None:
    """Raises unless the fields of a manifest have their types."""
    leaves, leaf_sha256, files, facts = manifest
    is_whole = (
        all(isinstance(field, list) for field in (leaves, leaf_sha256))
        and all(isinstance(field, dict) for field in (files, facts))
        and all(isinstance(word, str) for word in (*leaves, *leaf_sha256, *files))
        and len(leaves) == len(leaf_sha256)
    )
    if not is_whole:
        raise ValueError("a field has another form")


def check_files(folder: pathlib.Path, manifest: Manifest) -> None:
    """Raises unless the files of a checkpoint are those that were written.

    Args:
      folder: of the checkpoint.
      manifest: of it.

    Raises:
      DamagedError: for the first file that is missing or another.

    Example:
      >>> check_files(pathlib.Path("/nowhere"), Manifest([], [], {"a": "0" * 64}, {}))
      Traceback (most recent call last):
      ...
      distill_jax.errors.DamagedError: The checkpoint /nowhere is damaged: its file \
`a` is missing; take the checkpoint before it, or a copy.
    """
    for name, digest in manifest.files.items():
        try:
            found = digests.of_file(folder / name)
        except FileNotFoundError:
            found, how = None, "is missing"
        except (OSError, ValueError) as error:  # A name that no file can have.
            words = getattr(error, "strerror", None) or error
            found, how = None, f"could not be read ({words})"
        else:
            how = "has changed"
        if found != digest:
            raise errors.DamagedError(
                f"The checkpoint {folder} is damaged: its file `{name}` {how}; "
                f"{_ADVICE}."
            )


def check_leaves(
    folder: pathlib.Path, manifest: Manifest, arrays: Sequence[np.ndarray]
) -> None:
    """Raises unless the arrays that were read are those that were saved.

    Args:
      folder: of the checkpoint.
      manifest: of it.
      arrays: every leaf as it came from the disk.

    Raises:
      DamagedError: for the first leaf that is another.

    Example:
      >>> one = Manifest(["x int8[1]"], [digests.of_array(np.int8([1]))], {}, {})
      >>> check_leaves(pathlib.Path("here"), one, [np.int8([2])])
      Traceback (most recent call last):
      ...
      distill_jax.errors.DamagedError: The checkpoint here is damaged: `x int8[1]` \
is not what was saved; take the checkpoint before it, or a copy.
    """
    triples = zip(manifest.leaves, manifest.leaf_sha256, arrays, strict=True)
    for name, digest, array in triples:
        if digests.of_array(array) != digest:
            raise errors.DamagedError(
                f"The checkpoint {folder} is damaged: `{name}` is not what was saved; "
                f"{_ADVICE}."
            )
