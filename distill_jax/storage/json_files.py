# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""JSON files that are replaced whole, each with its SHA-256 beside it.

``config.json`` is what a user passed, and nothing is added to it; its digest lies in
``config.json.sha256``, in the form of the command ``sha256sum``. Both are replaced
together.
"""

import contextlib
import json
import pathlib
from typing import Any

from distill_jax import errors
from distill_jax.storage import atomic, digests

__all__ = ["digest_beside", "is_as_written", "read", "with_digest"]

_SUFFIX = ".sha256"


def with_digest(path: pathlib.Path, text: str) -> dict[pathlib.Path, bytes]:
    """Returns the contents of a file and of the digest beside it, to be replaced.

    Args:
      path: of the file.
      text: what is to be in it.

    Example:
      >>> files = with_digest(pathlib.Path("config.json"), "{}")
      >>> files[pathlib.Path("config.json.sha256")].split()[1]
      b'config.json'
    """
    content = text.encode()
    line = f"{digests.of_bytes(content)}  {path.name}\n"
    return {path: content, _beside(path): line.encode()}


def read(path: pathlib.Path, *, advice: str, is_required: bool = False) -> Any:
    """Reads a file, and checks it against the digest beside it.

    Args:
      path: of the file.
      advice: what to do if it is damaged.
      is_required: whether a file without a digest is damaged. Else it is of an earlier
        version: it is taken, and the log says that it cannot be checked.

    Returns:
      What the JSON stands for.

    Raises:
      FileNotFoundError: when there is no such file.
      DamagedError: when it cannot be read, or is not what was written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "rows.json")
      ...     atomic.replace_files(with_digest(path, "[1, 2]"))
      ...     print(read(path, advice="make it again"))
      [1, 2]
    """
    known = is_as_written(path)
    if known is False or (known is None and is_required and path.exists()):
        how = "differs" if known is False else "is missing"
        raise errors.DamagedError(
            f"`{path}` is not what was written (the SHA-256 in `{_beside(path).name}` "
            f"{how}), so it was changed or is damaged; {advice}."
        )
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise errors.DamagedError(
            f"`{path}` could not be read as JSON ({error}); {advice}."
        ) from error
    if known is None:
        digests.say_unchecked(path)
    return document


def is_as_written(path: pathlib.Path) -> bool | None:
    """Tells whether a file has the digest beside it; None where there is no digest.

    Args:
      path: of the file; one that is missing is not as written.

    Example:
      >>> print(is_as_written(pathlib.Path("/nowhere/config.json")))
      None
    """
    digest = digest_beside(path)
    if digest is None:
        return None
    try:
        return digests.of_file(path) == digest
    except OSError:
        return False


def digest_beside(path: pathlib.Path) -> str | None:
    """Returns the digest beside a file; None where there is none.

    Args:
      path: of the file, which may be missing.

    Example:
      >>> print(digest_beside(pathlib.Path("/nowhere/config.json")))
      None
    """
    with contextlib.suppress(OSError):  # A disk that is read only has what it has.
        atomic.finish(_beside(path))
    try:
        content = _beside(path).read_bytes()
    except OSError:
        return None
    return content.decode(errors="replace").partition(" ")[0]


def _beside(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + _SUFFIX)
