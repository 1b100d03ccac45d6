# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder of a run: one config each, and disk errors said in sentences.

``config.json`` has its SHA-256 beside it. When it is damaged or gone, the same config
makes it whole; another one is refused.
"""

import contextlib
import errno
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from distill_jax import errors
from distill_jax.compute import processes
from distill_jax.storage import atomic, digests, json_files, locks

__all__ = ["claim", "locked", "writing"]

_ABSENT = "nothing"


@contextlib.contextmanager
def locked(workdir: pathlib.Path | None) -> Iterator[None]:
    """Keeps other runs out of a folder, until this one ends or its process dies.

    The lock belongs to a run: of its processes the first one takes it.

    Args:
      workdir: the folder of the run, made where missing; ``None`` locks nothing.

    Raises:
      InputError: when another run is at work there, in all processes of this one, or
        the folder cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder, locked(pathlib.Path(folder)):
      ...     print("alone")
      alone
    """
    with contextlib.ExitStack() as stack:

        def take(folder: pathlib.Path) -> None:
            with writing(folder):
                atomic.make_folder(folder)
                stack.enter_context(locks.locked(folder))

        if workdir is not None:
            processes.by_first(lambda: take(workdir))
        yield


def claim(workdir: pathlib.Path, config: Mapping[str, Any] | None) -> None:
    """Writes ``config.json`` into a folder, or checks that it is the same already.

    Any difference is refused, a larger ``num_steps`` too: a learning-rate schedule may
    depend on it, and then the longer run is not the shorter one continued.

    Args:
      workdir: the folder of the run; made where missing.
      config: any mapping that JSON can hold; ``None`` counts as empty.

    Raises:
      DamagedError: when the one in the folder is damaged, and was another one.
      InputError: when the config is not plain, differs from the one in the folder, or
        the folder cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     claim(pathlib.Path(folder), {"rate": 0.1})
      ...     claim(pathlib.Path(folder), {"rate": 0.2})
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The folder ... `rate` was 0.1, now 0.2; ...
    """
    text = _to_json(config or {})
    path = workdir / "config.json"
    with writing(workdir):
        atomic.make_folder(workdir)
        atomic.sweep(workdir)
        former = path.read_bytes() if path.exists() else None
        digest = json_files.digest_beside(path)
    if digest not in (None, former and digests.of_bytes(former)):
        former = _repaired(path, text, digest, former)
    if former is not None:
        _check_same(path, former, text)
    if former is None or digest is None:
        with writing(workdir):
            atomic.replace_files(json_files.with_digest(path, text))


def _repaired(
    path: pathlib.Path, text: str, digest: str, former: bytes | None
) -> bytes | None:
    """What a damaged config was, as far as it can be told; None if it is to be written.

    Either the file or the digest beside it has changed.
    """
    how = "gone" if former is None else "not what was written, so it is damaged"
    if digests.of_bytes(text.encode()) == digest:
        errors.warn(f"`{path}` is {how}; it is written again, since this run has it.")
        return None
    try:
        if former is not None and not _differences(
            json.loads(former), json.loads(text)
        ):
            errors.warn(f"The digest of `{path}` is damaged; it is written again.")
            return None
    except (ValueError, RecursionError):
        pass
    raise errors.DamagedError(
        f"`{path}` is {how}, and it was not the config that is used now; start the run "
        "with its own config, which makes it whole, or use another folder."
    )


def _check_same(path: pathlib.Path, former: bytes, text: str) -> None:
    """Raises unless a stored config is the one that is used now."""
    try:
        differences = _differences(json.loads(former), json.loads(text))
    except (ValueError, RecursionError) as error:
        raise errors.InputError(
            f"{path} is not valid JSON ({error}); use another folder for the run."
        ) from None
    if differences:
        raise errors.InputError(
            f"The folder {path.parent} holds a run with another config: "
            f"{', '.join(differences)}; use another folder, or the former values."
        )


@contextlib.contextmanager
def writing(workdir: pathlib.Path | None) -> Iterator[None]:
    """Turns the errors of the disk into sentences.

    Args:
      workdir: the folder that is written to, if any.

    Raises:
      InputError: in place of any ``OSError``.

    Example:
      >>> with writing(pathlib.Path("/nowhere")):
      ...     raise OSError(errno.ENOSPC, "No space left on device")
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The disk of /nowhere is full ...
    """
    try:
        yield
    except TimeoutError:
        raise  # Another process did not come; that is no fault of the disk.
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise errors.InputError(
                f"The disk of {workdir} is full (or the quota on it); free some space "
                "and start the same run again, it goes on from its last checkpoint."
            ) from error
        raise errors.InputError(
            f"The folder {workdir} cannot be written ({error.strerror or error}); "
            "choose a folder where files can be made."
        ) from error


def _to_json(config: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(config), default=_plain, indent=2, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise errors.InputError(
            f"The config cannot be written as JSON ({error}); use plain mappings, "
            "lists, strings, booleans and finite numbers."
        ) from None


def _plain(value: Any) -> Any:
    """What `json` does not know: other mappings, arrays and numpy numbers."""
    if hasattr(value, "keys"):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} is of type {type(value).__name__}")


def _differences(former: Any, now: Any) -> list[str]:
    """The fields that differ, each with both values."""
    old, new = _flatten(former), _flatten(now)
    names = sorted(set(old) | set(new))
    return [
        f"`{name}` was {old.get(name, _ABSENT)}, now {new.get(name, _ABSENT)}"
        for name in names
        if old.get(name, _ABSENT) != new.get(name, _ABSENT)
    ]


def _flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names, values as JSON."""
    if not isinstance(value, dict) or (prefix and not value):
        return {prefix: json.dumps(value)}
    fields = {}
    for name, inner in value.items():
        fields |= _flatten(inner, f"{prefix}.{name}" if prefix else name)
    return fields
