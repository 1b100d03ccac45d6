# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""SHA-256 of what is kept, so that what a disk or a hand has changed is noticed.

A *sealed* document is a JSON object that carries the digest of its other fields, under
the names ``facts_version`` and ``facts_sha256``. Whoever has the one must have the
other; a document with neither is of an earlier version, and cannot be checked.
"""

import hashlib
import json
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from distill_jax import errors

__all__ = [
    "is_sealed",
    "of_array",
    "of_bytes",
    "of_file",
    "of_json",
    "say_unchecked",
    "sealed",
    "unsealed",
]

_VERSION, _DIGEST = "facts_version", "facts_sha256"


def of_bytes(content: bytes) -> str:
    """Returns the SHA-256 of bytes as 64 hexadecimal digits.

    Example:
      >>> of_bytes(b"")[:8]
      'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()


def of_file(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file, which need not fit into memory.

    Args:
      path: the file.

    Raises:
      OSError: when it cannot be read.

    Example:
      >>> of_file(pathlib.Path("/dev/null")) == of_bytes(b"")
      True
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_array(array: np.ndarray) -> str:
    """Returns the SHA-256 of the bytes of an array, row by row.

    Args:
      array: of any type that has no references.

    Example:
      >>> of_array(np.zeros(1)) == of_bytes(bytes(8)), of_array(np.ones((0, 2)))[:8]
      (True, 'e3b0c442')
    """
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.sha256(flat.data).hexdigest()


def of_json(document: Any) -> str:
    """Returns the SHA-256 of a JSON document; layout and order of fields are nothing.

    Args:
      document: of what JSON knows.

    Example:
      >>> of_json({"a": 1, "b": 2}) == of_json({"b": 2, "a": 1})
      True
    """
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return of_bytes(text.encode())


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the digest of a JSON object to it.

    Args:
      document: the object; one that is sealed already is sealed anew.

    Returns:
      A copy with two more fields, the digest last.

    Example:
      >>> list(sealed({"accuracy": 0.5}))
      ['accuracy', 'facts_version', 'facts_sha256']
    """
    plain = {name: document[name] for name in document if name != _DIGEST}
    plain = {**plain, _VERSION: 1}
    return {**plain, _DIGEST: of_json(plain)}


def is_sealed(document: Mapping[str, Any]) -> bool:
    """Tells whether an object carries a digest, or says that it should.

    Example:
      >>> is_sealed(sealed({})), is_sealed({"accuracy": 0.5})
      (True, False)
    """
    return bool({_VERSION, _DIGEST} & set(document))


def unsealed(
    document: Mapping[str, Any], source: str | os.PathLike[str], *, advice: str
) -> dict[str, Any]:
    """Checks an object against its digest, and takes the digest away.

    Args:
      document: the object. One without a digest is of an earlier version: it is taken,
        and the log says that it cannot be checked.
      source: the file it was read from, for the sentence.
      advice: what to do if it is damaged.

    Returns:
      The object without the two fields.

    Raises:
      DamagedError: if it is not what was sealed.

    Example:
      >>> unsealed(sealed({"accuracy": 0.5}), "results.json", advice="run it again")
      {'accuracy': 0.5}
      >>> changed = {**sealed({"accuracy": 0.5}), "accuracy": 0.9}
      >>> unsealed(changed, "results.json", advice="run it again")
      Traceback (most recent call last):
      ...
      distill_jax.errors.DamagedError: `results.json` is not what was written (the \
SHA-256 of its facts differs), so it was changed or is damaged; run it again.
    """
    if not is_sealed(document):
        say_unchecked(source)
        return dict(document)
    plain = {name: document[name] for name in document if name != _DIGEST}
    if document.get(_DIGEST) != of_json(plain):
        how = "differs" if _DIGEST in document else "is missing"
        raise errors.DamagedError(
            f"`{os.fspath(source)}` is not what was written (the SHA-256 of its facts "
            f"{how}), so it was changed or is damaged; {advice}."
        )
    return {name: plain[name] for name in plain if name != _VERSION}


def say_unchecked(source: str | os.PathLike[str]) -> None:
    """Says in the log that what an earlier version has written cannot be checked.

    Args:
      source: the file.

    Example:
      >>> say_unchecked("results.json")
    """
    logging.getLogger("distill_jax").warning(
        "`%s` was written by an earlier version, without a digest, so it cannot be "
        "checked.",
        os.fspath(source),
    )
