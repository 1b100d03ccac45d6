# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``distill-jax study``: runs the cells of a study, and writes the page of it."""

from __future__ import annotations

import argparse
import json
import math
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import distill_jax as dj
from distill_jax import errors
from distill_jax.cli import finished_run, flags, kinds, startup

if TYPE_CHECKING:
    from distill_jax import studies

__all__ = ["COMMAND", "build", "write"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    flags.add_config(parser)
    flags.add_workdir(parser)
    flags.add_quiet(parser)


def _run(values: argparse.Namespace) -> None:
    """Runs what is not finished, and writes the page."""
    config = flags.required(values, "config", "digits_frepo_against_dm")
    workdir = flags.required_path(values, "workdir", "runs/study")
    startup.prepare()
    made = build(config)
    _claim(workdir, config.to_dict())
    results = dj.studies.run_cells(
        made.cells, workdir, progress=False if values.quiet else None
    )
    write(made, results, workdir)
    if results.failed:
        name, record = next(iter(results.failed.items()))
        raise errors.FailedCellsError(
            f"{len(results.failed)} of {len(made.cells)} cells failed, the first of "
            f'them "{name}" ({record.error}); {workdir / "cells.jsonl"} says where, '
            "and the same command tries them again."
        )


COMMAND = flags.Command(
    name="study",
    summary="Runs a study: many cells, what they show, and a page about it.",
    examples="""\
  distill-jax study --config=digits_frepo_against_dm --workdir=runs/study
      writes runs/study/report.html; the same command again goes on with a study that
      was killed, and runs what failed or is new
  distill-jax study --config=digits_frepo_against_dm --workdir=runs/study \\
      --config.study.num_seeds=8
      with more seeds: those that are finished are kept
  distill-jax report --workdir=runs/study
      the page of what is finished so far""",
    add_flags=_add_flags,
    run=_run,
    kinds=("study",),
    resumes=True,
)


def build(config: Any) -> studies.Study:
    """Makes the study of a config.

    Args:
      config: one that started as :func:`distill_jax.cli.settings.study`.

    Returns:
      The :class:`~distill_jax.studies.Study`.

    Raises:
      InputError: for a name, an option or a value that cannot work.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.study()
      >>> config.study = {"name": "frepo_against_dm", "num_seeds": 2}
      >>> len(build(config).cells)
      12
    """
    made = dj.studies.build(config.study.to_dict(), data_dir=config.data.data_dir)
    return made._replace(title=config.title or made.title)


def write(made: studies.Study, results: studies.Results, workdir: pathlib.Path) -> None:
    """Writes the page and the claims of a study, and prints what it shows.

    Args:
      made: the study.
      results: what is finished of it.
      workdir: where ``report.html`` and ``claims.json`` go.

    Raises:
      InputError: when a file cannot be written.

    Example:
      >>> import tempfile
      >>> made = dj.studies.Study("Nothing", [], list)
      >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
      ...     write(made, dj.studies.Results({}, {}), pathlib.Path(folder))
      0 of 0 cells are finished.
      Report: ...report.html
    """
    usage = (
        "# Go on, or run more of it; what is finished is kept:\n"
        f"distill-jax study --config=... --workdir={workdir}"
    )
    page = dj.studies.to_page(made, results, usage=usage)
    path = dj.report.write_page(page, workdir / "report.html")
    claims = [_plain(claim) for claim in page.claims]
    _write({workdir / "claims.json": json.dumps(claims, indent=1, allow_nan=False)})
    for claim in page.claims:
        paper = f" The paper: {claim.paper}." if claim.paper else ""
        print(f"{claim.verdict}: {claim.statement} {claim.measured}.{paper}")
    print(f"{len(results.finished)} of {len(made.cells)} cells are finished.")
    print(f"Report: {path}")


def _claim(workdir: pathlib.Path, fields: Mapping[str, Any]) -> None:
    """Makes the folder this study's; it may have grown since the last time."""
    kinds.bring_up(workdir, fields)
    path = workdir / "config.json"
    if path.exists():
        former = finished_run.stored_config(workdir).study.name
        name = fields["study"]["name"]
        if former != name:
            raise errors.InputError(
                f'The folder {workdir} holds the study "{former}", not "{name}"; use '
                "another folder."
            )
    text = json.dumps(fields, indent=2)
    _write(dj.storage.json_files.with_digest(path, text))


def _plain(claim: dj.report.Claim) -> dict[str, Any]:
    """A claim as JSON keeps it."""
    return {
        "statement": claim.statement,
        "verdict": claim.verdict,
        "value": claim.value if math.isfinite(claim.value) else None,
        "interval": claim.interval,
        "unit": claim.unit,
        "paper": claim.paper,
    }


def _write(files: Mapping[pathlib.Path, bytes | str]) -> None:
    from distill_jax.runtime import workdir as workdirs
    from distill_jax.storage import atomic

    folder = next(iter(files)).parent
    with workdirs.writing(folder):
        atomic.make_folder(folder)
        atomic.replace_files(files)
