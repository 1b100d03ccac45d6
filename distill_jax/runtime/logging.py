# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run tells while it runs: ``metrics.jsonl``, a progress bar, TensorBoard.

``metrics.jsonl`` has one JSON object per line: ``{"step", "loss", "metrics",
"seconds", "compile_seconds"}`` for a logged step, and ``{"step", "evaluation",
"seconds", "compile_seconds"}`` for an evaluation. Numbers that are not finite are
``null``. Each checkpoint keeps the *extent* of the file: how many bytes it had then,
and their SHA-256.
"""

import hashlib
import json
import math
import os
import pathlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich import console as rich_console
from rich import progress as rich_progress

from distill_jax import errors
from distill_jax.storage import atomic, bounds, digests

__all__ = ["Journal", "ProgressBar", "check_extent", "read_rows"]

Extent = Mapping[str, Any]  # num_bytes, and the sha256 of as many first bytes


def read_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads ``metrics.jsonl``; a last line that was cut off by a kill is left out.

    Args:
      path: the file; it need not exist.

    Returns:
      One dictionary for each line.

    Raises:
      InputError: when it cannot be read, or a line before the last is not a JSON object
        with a step.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "metrics.jsonl"
      ...     _ = path.write_bytes(b'{"step": 1, "loss": 0.5}' + bytes([10]) + b'{"st')
      ...     read_rows(path)
      [{'step': 1, 'loss': 0.5}]
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    with bounds.reading(f"{path} could not be read ({{error}}); use another folder."):
        return _parse(path, path.read_bytes())


def check_extent(path: pathlib.Path, extent: Extent | None) -> bytes:
    """Returns what a journal had when a checkpoint was saved, if it still has it.

    Args:
      path: of ``metrics.jsonl``.
      extent: from the facts of the checkpoint; ``None`` of earlier versions, which
        checks nothing and returns all.

    Returns:
      The first bytes of the file.

    Raises:
      DamagedError: when they are not what was written.

    Example:
      >>> check_extent(pathlib.Path("/nowhere"), {"num_bytes": 9, "sha256": "0"})
      Traceback (most recent call last):
      ...
      distill_jax.errors.DamagedError: `/nowhere` is missing or shorter than it was...
    """
    message = f"`{path}` could not be read ({{error}}); put a copy back."
    with bounds.reading(message, errors.DamagedError):
        content = path.read_bytes() if path.exists() else b""
        if extent is None:
            return content
        content = content[: extent["num_bytes"]]
        if digests.of_bytes(content) == extent["sha256"]:
            return content
    how = "missing or shorter than it was"
    if len(content) == extent["num_bytes"]:
        how = "not what was written (its SHA-256 differs)"
    raise errors.DamagedError(
        f"`{path}` is {how}, so rows of the history were changed or lost; put a copy "
        "back, or remove the file to go on without the rows so far."
    )


def _parse(path: pathlib.Path, content: bytes) -> list[dict[str, Any]]:
    """The rows of whole lines."""
    rows = []
    lines = content.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # The last has no newline.
        try:
            row = json.loads(line)
            row["step"] = int(row["step"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise errors.InputError(
                f"Line {number} of {path} is not a JSON object with a step, so the "
                "file was changed; remove it, or use another folder for the run."
            ) from None
        rows.append(row)
    return rows


class Journal:
    """The rows of a run, in memory and, where there is a folder, on disk.

    Args:
      workdir: the folder of ``metrics.jsonl``; ``None`` keeps rows in memory only.
      last_step: rows of later steps are dropped, since the run goes on from here;
        ``None`` drops all.
      extent: of the file at that step, from the checkpoint; what is behind it is
        dropped. ``None`` where the checkpoint is of an earlier version.
      use_tensorboard: whether to write event files to ``workdir/tensorboard`` too.

    Raises:
      DamagedError: when the file no longer has what it had.
      InputError: when TensorBoard is asked for without a folder, or without the
        package that writes its files.
      OSError: from here and from `write`, when the folder cannot be written.

    Example:
      >>> journal = Journal(None, last_step=None)
      >>> journal.write([{"step": 1, "loss": float("nan")}])
      >>> journal.rows
      [{'step': 1, 'loss': None}]
    """

    def __init__(
        self,
        workdir: pathlib.Path | None,
        *,
        last_step: int | None,
        extent: Extent | None = None,
        use_tensorboard: bool = False,
    ):
        self.rows: list[dict[str, Any]] = []
        self._path = None if workdir is None else workdir / "metrics.jsonl"
        self._sha256, self._num_bytes = hashlib.sha256(), 0
        if self._path is not None:
            content = b""
            if last_step is not None:
                content = check_extent(self._path, extent)
                rows = _parse(self._path, content)
                self.rows = [row for row in rows if row["step"] <= last_step]
            if extent is None:
                content = _to_lines(self.rows).encode()
            atomic.replace_file(self._path, content)
            self._count(content)
        self._events = _event_writer(workdir, last_step) if use_tensorboard else None

    @property
    def extent(self) -> dict[str, Any]:
        """How much is written, for a checkpoint: ``num_bytes`` and their ``sha256``."""
        return {"num_bytes": self._num_bytes, "sha256": self._sha256.hexdigest()}

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        """Adds rows; what cannot be written whole is taken back."""
        rows = [_finite(row) for row in rows]
        if self._path is not None:
            content = _to_lines(rows).encode()
            _append(self._path, content)
            self._count(content)
        self.rows += rows
        if self._events is not None:
            for row in rows:
                for name, value in _scalars(row).items():
                    self._events.add_scalar(name, value, row["step"])

    def flush(self) -> None:
        """Puts the file onto the disk, as a checkpoint that names its extent needs."""
        if self._path is not None and self._path.exists():
            atomic.flush(self._path)

    def _count(self, content: bytes) -> None:
        self._sha256.update(content)
        self._num_bytes += len(content)

    def close(self) -> None:
        """Closes the event files."""
        if self._events is not None:
            self._events.close()


class ProgressBar:
    """Steps done, steps per second, loss and time left, on the standard error.

    Args:
      num_steps: of the whole run.
      step: how many are done already.
      is_shown: ``None`` shows it where the standard error is a terminal.

    Example:
      >>> with ProgressBar(num_steps=10, step=0, is_shown=False) as bar:
      ...     bar.update(5, loss=0.25, steps_per_second=100.0)
    """

    def __init__(self, *, num_steps: int, step: int, is_shown: bool | None):
        is_shown = sys.stderr.isatty() if is_shown is None else is_shown
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("distil"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.fields[rate]} steps/s"),
            rich_progress.TextColumn("loss {task.fields[loss]}"),
            rich_progress.TimeRemainingColumn(),
            console=rich_console.Console(stderr=True),
            disable=not is_shown,
        )
        self._task = self._bar.add_task(
            "steps", total=num_steps, completed=step, rate="-", loss="-"
        )

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def update(self, step: int, *, loss: float, steps_per_second: float) -> None:
        """Shows how far the run is."""
        self._bar.update(
            self._task,
            completed=step,
            loss=f"{loss:.4g}",
            rate=f"{steps_per_second:.3g}",
            refresh=True,
        )


def _to_lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def _finite(value: Any) -> Any:
    """The value with `None` for numbers that JSON does not know."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _append(path: pathlib.Path, content: bytes) -> None:
    """Appends all of the content, or cuts the file back to what it was."""
    with open(path, "ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            while content:
                content = content[file.write(content) :]
        except OSError:
            file.truncate(size)
            raise


def _scalars(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row under the names that TensorBoard groups them by."""
    kind = "evaluation" if "evaluation" in row else "metrics"
    named = {f"{kind}/{name}": value for name, value in row.get(kind, {}).items()}
    if "loss" in row:
        named["loss"] = row["loss"]
    return {name: value for name, value in named.items() if value is not None}


def _event_writer(workdir: pathlib.Path | None, last_step: int | None) -> Any:
    if workdir is None:
        raise errors.InputError(
            "`tensorboard` needs a folder to write to, but `workdir` is None; pass one."
        )
    try:
        import tensorboardX
    except ImportError:
        raise errors.InputError(
            "`tensorboard` was asked for, but the package tensorboardX is not "
            "installed; install `distill_jax[tensorboard]`, or leave it off: "
            "metrics.jsonl holds the same numbers."
        ) from None
    purge_step = 0 if last_step is None else last_step + 1
    return tensorboardX.SummaryWriter(
        str(workdir / "tensorboard"), purge_step=purge_step
    )
