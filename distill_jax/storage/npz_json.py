# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Arrays and facts in a pair of files that belong together.

``NAME.npz`` holds the arrays; ``NAME.json`` holds the facts, a list of the arrays, the
SHA-256 of the ``.npz``, and that of all it says itself. Both are replaced together or
not at all, and reading never unpickles. Numpy and the standard library alone are
needed.
"""

import contextlib
import io
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distill_jax import errors
from distill_jax.storage import atomic, bounds, digests, npz_files

__all__ = ["FORMAT_VERSION", "read", "write", "write_files"]

FORMAT_VERSION = 2  # The newest that is read.
_REQUIRED = ("format_version", "sha256", "arrays")
_AGAIN = "copy the files again, or distil again"


def write(
    path: str | os.PathLike[str],
    arrays: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
    *,
    format_version: int = FORMAT_VERSION,
    is_sealed: bool = True,
) -> pathlib.Path:
    """Writes arrays and facts: both files or neither.

    Args:
      path: a folder that exists or ends in a slash (the files are called
        ``distilled``), either file, or their stem. Missing folders are made.
      arrays: what goes into the ``.npz``.
      facts: what goes into the ``.json``; must be plain.
      format_version: the lowest that holds all of it, which earlier versions of the
        library may know.
      is_sealed: whether the ``.json`` carries its own digest; those of earlier versions
        do not.

    Returns:
      The path of the ``.npz`` file.

    Raises:
      InputError: when the files cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write(f"{folder}/small", {"x": np.zeros(2)}, {"note": "two zeros"}).name
      'small.npz'
    """
    npz_path, json_path = _paths(path)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    content = buffer.getvalue()
    document = {
        "format_version": format_version,
        "sha256": digests.of_bytes(content),
        "arrays": _listing(arrays),
        **facts,
    }
    document = digests.sealed(document) if is_sealed else document
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_files({npz_path: content, json_path: (text + "\n").encode()})
    return npz_path


def read(
    path: str | os.PathLike[str], *, facts: Sequence[str], arrays: Sequence[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Reads what :func:`write` has written, and checks it against its digests.

    Args:
      path: the folder, either of the two files, or their common stem.
      facts: names of the facts that must be there.
      arrays: names of the arrays that must be there.

    Returns:
      The arrays, and the whole ``.json`` document.

    Raises:
      InputError: when a file is missing, damaged, of a newer format, or does not
        belong to the other.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = write(f"{folder}/small", {"x": np.zeros(2)}, {"note": "zeros"})
      ...     arrays, document = read(path, facts=["note"], arrays=["x"])
      >>> arrays["x"].tolist(), document["note"]
      ([0.0, 0.0], 'zeros')
    """
    npz_path, json_path = _paths(path)
    with contextlib.suppress(OSError):  # A disk that is read only has what it has.
        atomic.finish(json_path)
    for one, other in ((npz_path, json_path), (json_path, npz_path)):
        if not one.is_file():
            beside = f", only `{other}`" if other.is_file() else ""
            raise errors.InputError(
                f"There is no file `{one}`{beside}; a distilled set is a .npz and "
                "a .json of the same name: pass their folder, stem or either file."
            )
    document = _read_document(json_path, (*_REQUIRED, *facts))
    content = _read_arrays(npz_path, document, arrays)
    digests.unsealed(document, json_path, advice=_AGAIN)
    return content, document


def write_files(files: Mapping[pathlib.Path, bytes]) -> None:
    """Writes files of one folder, all or none, and says in a sentence if it cannot.

    Args:
      files: the content of each file. A missing folder is made.

    Raises:
      InputError: when a file cannot be written; what was there before still is.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "note.txt"
      ...     write_files({path: b"done"})
      ...     path.read_text()
      'done'
    """
    try:
        for target in files:
            atomic.make_folder(target.parent)
            if target.is_dir():
                raise IsADirectoryError(f"{target} is a folder")
        for folder in {target.parent for target in files}:
            atomic.sweep(folder)
        atomic.replace_files(files)
    except OSError as error:
        names = " and ".join(f"`{target}`" for target in files)
        raise errors.InputError(
            f"{names} could not be written ({error}); nothing was left half written, "
            "so free some space or pass another path, and save again."
        ) from error


def _listing(
    arrays: Mapping[str, np.ndarray | bounds.Header],
) -> dict[str, dict[str, Any]]:
    """Shape and dtype of each array."""
    return {
        name: {"shape": list(array.shape), "dtype": str(array.dtype)}
        for name, array in arrays.items()
    }


def _paths(path: str | os.PathLike[str]) -> tuple[pathlib.Path, pathlib.Path]:
    """The two files that a folder, file or stem stands for."""
    text = os.fspath(path)
    stem = pathlib.Path(text)
    if stem.is_dir() or text.endswith(("/", os.sep)):
        stem = stem / "distilled"
    elif stem.suffix in (".npz", ".json"):
        stem = stem.with_suffix("")
    return stem.with_name(f"{stem.name}.npz"), stem.with_name(f"{stem.name}.json")


def _read_document(path: pathlib.Path, required: Sequence[str]) -> dict[str, Any]:
    """The facts, after checking that they are all there."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise errors.DamagedError(
            f"`{path}` could not be read as JSON ({error}); {_AGAIN}."
        ) from error
    known = document if isinstance(document, dict) else {}
    version = known.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise errors.NewerError(
            f"`{path}` has the format version {version}, but this library reads "
            f"versions up to {FORMAT_VERSION}; install a newer distill_jax."
        )
    missing = [name for name in required if name not in known]
    if missing:
        raise errors.InputError(
            f"`{path}` has no {', '.join(missing)}, so it is not the description of a "
            "distilled set; pass a file that `DistilledSet.save` has written."
        )
    return known


def _read_arrays(
    path: pathlib.Path, document: Mapping[str, Any], required: Sequence[str]
) -> dict[str, np.ndarray]:
    """The arrays, after checking hash, names, shapes and dtypes."""
    message = f"`{path}` could not be read as plain arrays ({{error}}); {_AGAIN}."
    with bounds.reading(message):
        size = path.stat().st_size
        bounds.check_size(size, packed=size, what=f"`{path}`")
        content = path.read_bytes()
    digest = digests.of_bytes(content)
    if digest != document["sha256"]:
        raise errors.DamagedError(
            f"`{path}` has the SHA-256 {digest[:12]}..., but its .json names "
            f"{str(document['sha256'])[:12]}..., so it was changed or belongs to "
            f"another set; {_AGAIN}."
        )

    def check(headers: Mapping[str, bounds.Header]) -> None:
        listing = _listing(headers)
        if listing != document["arrays"] or not set(required) <= set(listing):
            needed = f" and have {', '.join(required)}" if required else ""
            raise errors.InputError(
                f"`{path}` holds {listing}, but its .json lists "
                f"{document['arrays']}; they must agree{needed}, so {_AGAIN}."
            )

    with bounds.reading(message):
        return npz_files.read(content, what=f"`{path}`", check_fn=check)
