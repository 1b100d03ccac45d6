# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Studies: named cells that can be killed, and the page that says what they show."""

from distill_jax.studies.cells import (
    Cell,
    Results,
    digest_of,
    read_results,
    run_cells,
)
from distill_jax.studies.estimates import Needs
from distill_jax.studies.planning import StudyPlan, needs_of_run, plan_of
from distill_jax.studies.registry import NAMES, build
from distill_jax.studies.study import Study, to_page
from distill_jax.studies.summaries import (
    claim_of,
    lines_of,
    means_of_units,
    paired_differences,
    table_of,
)

__all__ = [
    "NAMES",
    "Cell",
    "Needs",
    "Results",
    "Study",
    "StudyPlan",
    "build",
    "claim_of",
    "digest_of",
    "lines_of",
    "means_of_units",
    "needs_of_run",
    "paired_differences",
    "plan_of",
    "read_results",
    "run_cells",
    "table_of",
    "to_page",
]
