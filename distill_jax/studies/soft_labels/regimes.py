# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much of an accuracy is the images' and how much the labels': the robust score.

Random images are compared with random images of another draw under the same labels, so
that their improvement over random images (IOR) must be nothing. Uses the rows of the
experiment on epochs, and trains nothing.
"""

import numpy as np

import distill_jax as dj
from distill_jax.evaluation import fairness
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows

__all__ = ["section_of"]


def section_of(rows: Rows) -> dj.report.Section | None:
    """Makes the section, from three pairs of draws on.

    Args:
      rows: of the experiment on epochs.

    Returns:
      The section, or ``None`` where there are too few draws.
    """
    small = units.sizes_of(rows)[0]
    soft = {u: b[1] for u, b in units.best_of(rows, size=small, labels="soft").items()}
    hard = units.of(rows, size=small, labels="hard")
    order = sorted(set(soft) & set(hard))
    pairs = list(zip(order[::2], order[1::2], strict=False))
    if not pairs:
        return None
    improvement = {one: soft[one] - soft[other] for one, other in pairs}
    most = max(row["expert_accuracy"] or 0.0 for row in rows)
    score = {
        one: float(
            fairness.label_robust_score(
                most, hard[one] / 100, soft[one] / 100, soft[other] / 100
            )
        )
        for one, other in pairs
    }
    mean = lambda values: f"{np.mean(list(values)):.1f}"
    table = dj.report.Table(
        f"Random images at {small} per class, test accuracy in %",
        ["regime", "accuracy"],
        [
            ("hard labels", mean(hard.values())),
            ("soft labels, one for each image", mean(soft.values())),
            ("soft labels for every view", "not run here"),
        ],
    )
    claims = [
        summaries.claim_of(
            "Random images are no better than random images of another draw (up to 3 "
            "points).",
            improvement,
            above=-3.0,
            below=3.0,
            unit="points",
            paper="not told; DD-Ranking's score asks for it",
        )
    ]
    return dj.report.Section(
        "Images or labels: three regimes",
        "The label-robust score of random images is "
        f"{np.mean(list(score.values())):.3f} in the mean of {len(pairs)} pairs of "
        "draws; hard labels of all real data are taken at the accuracy of the best "
        "expert on validation.",
        claims=claims,
        tables=[table],
    )
