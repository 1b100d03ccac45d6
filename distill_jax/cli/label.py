# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``distill-jax label``: gives images the soft labels that teach most."""

from __future__ import annotations

import argparse
from typing import Any

from distill_jax.cli import flags, startup

__all__ = ["COMMAND", "tell"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    flags.add_config(parser)
    flags.add_workdir(parser)
    parser.add_argument(
        "--images",
        metavar="SET",
        help="label these in place of random real images: a distilled set, or an npz "
        "with images x",
    )
    parser.add_argument(
        "--space",
        metavar="SPACE",
        help="of the images of an npz: raw, as in the files of the data set; unit, "
        "black is 0 and white 1; normalized, as the networks see them",
    )
    parser.add_argument(
        "--teacher",
        metavar="FILE",
        help="an npz of logits in place of experts, as `labels.write_logits` writes it",
    )
    flags.add_quiet(parser)


def _run(values: argparse.Namespace) -> None:
    """Trains experts, chooses labels, tests them, and writes the page."""
    config = flags.required(values, "config", "digits100_labels")
    workdir = flags.required_path(values, "workdir", "runs/labels")
    tell(config, values)
    startup.prepare()
    from distill_jax.cli import label_report, label_work, labelling

    built = labelling.build(config)
    is_done = label_work.run(built, workdir, progress=False if values.quiet else None)
    label_report.write(workdir, built.title, built.config, built.dataset)
    if is_done:
        print("All of it was there already; the page alone was written again.")


COMMAND = flags.Command(
    name="label",
    summary="Gives images the soft labels that teach most, and tests them.",
    examples="""\
  distill-jax label --config=digits100_labels --workdir=runs/labels
      random real images, labelled by experts; writes runs/labels/report.html. The same
      command again goes on where it was stopped
  distill-jax label --config=digits100_labels --images=runs/mine --workdir=runs/again
      labels the images of a distilled set anew
  distill-jax label --config=digits100_labels --images=theirs.npz --space=raw \\
      --workdir=runs/theirs
      those of somebody else, in the space of the files of the data set
  distill-jax label --config=digits100_labels --teacher=logits.npz --workdir=runs/own
      by a teacher of one's own""",
    add_flags=_add_flags,
    run=_run,
    kinds=("label",),
    resumes=True,
)


def tell(config: Any, values: argparse.Namespace) -> None:
    """Puts what flags say into a config, so that it is kept with the run.

    Args:
      config: of this kind; is changed.
      values: of the flags.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.label()
      >>> flags_said = {"images": "runs/mine", "space": None, "teacher": None}
      >>> tell(config, argparse.Namespace(**flags_said))
      >>> config.images.path
      'runs/mine'
    """
    if values.images is not None:
        config.images.path = values.images
    if values.space is not None:
        config.images.space = values.space
    if values.teacher is not None:
        config.teacher = values.teacher
