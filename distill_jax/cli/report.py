# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``distill-jax report``: writes the report of a finished run or of a study again."""

from __future__ import annotations

import argparse
import pathlib
from typing import TYPE_CHECKING, Any

import distill_jax as dj
from distill_jax import errors
from distill_jax.cli import (
    finished_run,
    flags,
    kept_results,
    kinds,
    startup,
    study,
)

if TYPE_CHECKING:
    from distill_jax import report, studies

__all__ = ["COMMAND", "save_picture", "write"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    flags.add_workdir(parser)
    parser.add_argument(
        "--picture",
        metavar="FILE",
        help="also a picture of the distilled examples and the curve",
    )
    flags.add_data_dir(parser, is_own=True)
    flags.add_quiet(parser, is_shown=False)


def _run(values: argparse.Namespace) -> None:
    """Writes the report of a finished run again."""
    workdir = flags.required_path(values, "workdir", "runs/digits")
    startup.prepare()
    config = finished_run.stored_config(workdir)
    if kinds.kind_of(config) == "study":
        if values.data:
            raise errors.InputError(
                f"The folder {workdir} holds a study, whose cells name their data "
                "sets; leave `--data` out, and pass --data_dir if they lie elsewhere."
            )
        if values.data_dir:
            config.data.data_dir = values.data_dir
        _report_study(study.build(config), workdir, values.picture)
        return
    if kinds.kind_of(config) == "label":
        _report_labels(workdir, config, values)
        return
    gathered = finished_run.contents(
        workdir, config, data_dir=values.data_dir, data_name=values.data
    )
    with kept_results.in_sentences(workdir):
        write(gathered, workdir)
        if values.picture:
            save_picture(gathered, pathlib.Path(values.picture))


def _report_study(
    made: studies.Study, workdir: pathlib.Path, picture: str | None
) -> None:
    """Writes the page of a study from what is finished of it."""
    if picture:
        raise errors.InputError(
            f"The folder {workdir} holds a study, of which there is no one picture; "
            "leave `--picture` out."
        )
    study.write(made, dj.studies.read_results(made.cells, workdir), workdir)


def _report_labels(
    workdir: pathlib.Path, config: Any, values: argparse.Namespace
) -> None:
    """Writes the page of labelled images."""
    from distill_jax.cli import label_report, labelling

    if values.picture:
        raise errors.InputError(
            f"The folder {workdir} holds labelled images, of which there is no one "
            "picture; leave `--picture` out."
        )
    dataset = label_report.load_data(
        workdir, config, data_dir=values.data_dir, data_name=values.data
    )
    title = labelling.title_of(config)
    label_report.write(workdir, title, config.to_dict(), dataset)


COMMAND = flags.Command(
    name="report",
    summary="Writes the report of a run or a study again, and perhaps a picture.",
    examples="""\
  distill-jax report --workdir=runs/digits
  distill-jax report --workdir=runs/digits --picture=digits.png""",
    add_flags=_add_flags,
    run=_run,
)


def write(gathered: report.Contents, workdir: pathlib.Path) -> None:
    """Writes the report and prints the table, and where everything is.

    Args:
      gathered: what the report tells.
      workdir: the folder of the run.

    Raises:
      InputError: when the report cannot be written.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
      ...     write(dj.report.Contents("Nothing"), pathlib.Path(folder))
      ...     (pathlib.Path(folder) / "report.html").exists()
      Arm...
      ────
      Time: .
      Distilled set: ...distilled.npz
      Report:        ...report.html
      True
    """
    import rich.console

    path = dj.report.write_report(gathered, workdir / "report.html")
    bare = [{k: v for k, v in arm.items() if k != "note"} for arm in gathered.arms]
    rich.console.Console().print(dj.report.tables.rich_table(bare, gathered.metrics))
    for arm in gathered.arms:
        print(f"{arm['name']}: {arm['note']}.")
    costs = ", ".join(f"{name} {value}" for name, value in gathered.costs.items())
    print(f"Time: {costs}.")
    print(f"Distilled set: {workdir / 'distilled.npz'}")
    print(f"Report:        {path}")


def save_picture(shown: report.Contents, path: pathlib.Path) -> None:
    """Saves the distilled examples and the curve as one picture.

    Args:
      shown: what the report tells.
      path: of the picture; its ending says the format.

    Raises:
      InputError: when there is nothing to draw, or the file cannot be written.

    Example:
      >>> save_picture(dj.report.Contents("Nothing"), pathlib.Path("nothing.png"))
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The run has neither pictures nor a history, so \
there is nothing to draw.
    """
    if shown.distilled_images is None and not shown.evaluations and not shown.history:
        raise errors.InputError(
            "The run has neither pictures nor a history, so there is nothing to draw."
        )
    try:
        dj.report.figures.overview(shown).savefig(path, dpi=160)
    except (OSError, ValueError) as error:
        raise errors.InputError(
            f"The picture {path} could not be written ({error}); pass a file that can, "
            "such as runs/digits.png."
        ) from error
