# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Says what a study will take: cells, time, memory, disk."""

import pathlib

import distill_jax as dj

__all__ = ["lines_of", "to_lines"]


def lines_of(
    made: dj.studies.Study,
    workdir: pathlib.Path | None = None,
    memory_bytes: int | None = None,
) -> list[str]:
    """Forecasts a study, and says it in words.

    Args:
      made: the study.
      workdir: where it is or will be run, to count what is finished.
      memory_bytes: of the device that is meant; by default of this one.

    Returns:
      Lines for a person.

    Raises:
      InputError: when the file of its cells was changed.

    Example:
      >>> cells = [dj.studies.Cell(f"seed {s}", print, {}, s) for s in range(4)]
      >>> lines_of(dj.studies.Study("Toy", cells, list))[1]
      'cells       4'
    """
    plan = dj.studies.plan_of(made.cells, workdir)
    if memory_bytes is not None:
        plan = plan._replace(memory_bytes=memory_bytes)
    return [f"{made.title}:", *to_lines(plan)]


def to_lines(plan: dj.studies.StudyPlan) -> list[str]:
    """Says the plan of a study in words, a line each.

    Args:
      plan: from :func:`distill_jax.studies.plan_of`.

    Returns:
      Lines for a person.

    Example:
      >>> plan = dj.studies.StudyPlan(18, 6, 0, 125.0, 2_000_000, 8_000_000_000, 18_000)
      >>> for line in to_lines(plan):
      ...     print(line)
      cells       18, of which 6 are finished
      time        about 2 min 5 s for the 12 that are left
      memory      2 MB of 8 GB on each device, for the largest cell
      disk        about 18 kB
    """
    size, duration = dj.report.tables.format_bytes, dj.report.tables.format_seconds
    num_left = plan.num_cells - plan.num_finished
    finished = f", of which {plan.num_finished} are finished"
    lines = [f"cells       {plan.num_cells}{finished if plan.num_finished else ''}"]
    if num_left > plan.num_unknown:
        which = f"for the {num_left} that are left" if plan.num_finished else "for all"
        lines.append(f"time        about {duration(plan.seconds_left)} {which}")
    if plan.num_unknown:
        lines.append(f"            and {plan.num_unknown} cells of unknown time")
    if plan.peak_bytes and plan.memory_bytes is not None:
        lines.append(
            f"memory      {size(plan.peak_bytes)} of {size(plan.memory_bytes)} on each "
            "device, for the largest cell"
        )
    lines.append(f"disk        about {size(plan.disk_bytes)}")
    if not plan.fits:
        lines.append("It does not fit: a cell needs more memory than the device has.")
    return lines
