# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads what is kept of the results of a run, whole or so far."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from distill_jax import errors

if TYPE_CHECKING:
    import distill_jax as dj

__all__ = [
    "JUDGING",
    "NOT_JUDGED",
    "check_there",
    "in_sentences",
    "is_judged",
    "read",
    "read_judging",
    "read_partial",
    "so_far",
    "unfinished",
]

JUDGING = "judging.json"  # The arms that have ended, while others have not.
NOT_JUDGED = {"state": "not judged yet"}  # Of the results of a set.


def read(workdir: pathlib.Path) -> dict[str, Any]:
    """Reads the results of a run, and checks them against their digest.

    Args:
      workdir: the folder of a run.

    Returns:
      What `results.json` holds, without its digest.

    Raises:
      DamagedError: when they are not what was written.
      InputError: when there are none.

    Example:
      >>> read(pathlib.Path("nowhere"))
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no file nowhere/results.json; the folder \
does not hold a finished run of `distill-jax distill`.
    """
    from distill_jax.storage import digests

    path = workdir / "results.json"
    advice = "the same `distill-jax distill` writes it again"
    try:
        document = _fields(path)
        if not isinstance(document.get("arms"), list):
            raise ValueError("it has no arms")  # Nor had any version such results.
    except FileNotFoundError as error:
        raise unfinished(path) from error
    except (OSError, ValueError, RecursionError) as error:
        raise errors.DamagedError(
            f"The file {path} could not be read ({error}); {advice}."
        ) from error
    return digests.unsealed(document, path, advice=advice)


def check_there(workdir: pathlib.Path) -> None:
    """Raises where a folder has neither results nor a set.

    Args:
      workdir: the folder of a run.

    Raises:
      InputError: where it has not.

    Example:
      >>> check_there(pathlib.Path("nowhere"))
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no file nowhere/results.json; the folder \
does not hold a finished run of `distill-jax distill`.
    """
    if not any(
        (workdir / name).exists() for name in ("distilled.json", "results.json")
    ):
        raise unfinished(workdir / "results.json")


def is_judged(results: Mapping[str, Any]) -> bool:
    """Tells whether results of a run are all there.

    Args:
      results: of a stored set.

    Example:
      >>> is_judged(NOT_JUDGED), is_judged({}), is_judged({"arms": []})
      (False, False, True)
    """
    return "arms" in results and "state" not in results


def read_judging(workdir: pathlib.Path) -> dict[str, Any]:
    """Reads the arms that have ended of a set that is being judged.

    Args:
      workdir: the folder of a run.

    Returns:
      Their records under ``"arms"``, and the digest of the set; empty where there are
      none, or they are damaged.

    Example:
      >>> read_judging(pathlib.Path("nowhere"))
      {}
    """
    from distill_jax.cli import arm_records

    def check(document: dict[str, Any]) -> None:
        for record in document["arms"].values():
            arm_records.checked(record)

    return read_partial(workdir / JUDGING, "arms", check)


def read_partial(
    path: pathlib.Path,
    what: str,
    check_fn: Callable[[dict[str, Any]], None] = lambda document: None,
) -> dict[str, Any]:
    """Reads a document of what has ended so far, and can be trained again.

    Args:
      path: of the document.
      what: it holds, in words.
      check_fn: raises for a document of another form.

    Returns:
      Its fields without the digest; empty where it is not there, or is damaged, of
      which a warning tells.

    Example:
      >>> read_partial(pathlib.Path("nowhere/choice.json"), "students")
      {}
    """
    from distill_jax.storage import bounds, digests

    message = f"The file {path} is damaged, so its {what} are left out ({{error}})."
    try:
        with bounds.reading(message):
            if not path.exists():
                return {}
            document = _fields(path)
            if not digests.is_sealed(document):
                raise ValueError("it has no digest")
            advice = f"the {what} are trained again"
            document = digests.unsealed(document, path, advice=advice)
            check_fn(document)
            return document
    except errors.InputError as error:
        errors.warn(str(error))
        return {}


def so_far(workdir: pathlib.Path, stored: dj.DistilledSet) -> dict[str, Any]:
    """Reads the results of a run; of one that is not judged yet, those there are.

    Args:
      workdir: the folder of the run.
      stored: its set.

    Returns:
      The results; with a ``"state"`` where they are not all.

    Raises:
      InputError: when there are none, or they are damaged.
    """
    if (workdir / "results.json").exists() or stored.results.get("state") is None:
        return read(workdir)
    kept, results = read_judging(workdir), dict(stored.results)
    if kept.get("set_sha256") == stored.arrays_sha256:
        results["arms"] = [record["row"] for record in kept["arms"].values()]
    return results


def unfinished(path: pathlib.Path) -> errors.InputError:
    """The error of a folder that lacks a file of a finished run.

    Args:
      path: of the file.

    Example:
      >>> print(unfinished(pathlib.Path("runs/none/results.json")))
      There is no file runs/none/results.json; the folder does not hold a finished run \
of `distill-jax distill`.
    """
    return errors.InputError(
        f"There is no file {path}; the folder does not hold a finished run of "
        "`distill-jax distill`."
    )


@contextlib.contextmanager
def in_sentences(workdir: pathlib.Path, *, command: str = "distill") -> Iterator[None]:
    """Says what is wrong with what a run has left, where it cannot be shown.

    Args:
      workdir: the folder of the run.
      command: that made it.

    Raises:
      InputError: in place of whatever a field that is missing or of another type leads
        to; it keeps the cause.

    Example:
      >>> with in_sentences(pathlib.Path("runs/a")):  # doctest: +ELLIPSIS
      ...     {}["arms"]
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: What the run in runs/a has left cannot be shown ...
    """
    from distill_jax.storage import bounds

    message = (
        f"What the run in {workdir} has left cannot be shown ({{error}}); remove "
        f"`results.json`, and the same `distill-jax {command}` writes it again."
    )
    with bounds.reading(message):
        yield


def _fields(path: pathlib.Path) -> dict[str, Any]:
    """The fields of a document; a ValueError where it has none."""
    document = json.loads(path.read_bytes())
    if not isinstance(document, dict):
        raise ValueError("it holds no fields")
    return document
