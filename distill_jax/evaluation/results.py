# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What came out of several evaluation runs: mean, deviation, interval.

ci95 = t_{0.975, R - 1} sd / sqrt(R)      (Student's t, sd with R - 1)
"""

import dataclasses

import numpy as np
import scipy.stats

__all__ = ["Evaluation", "summarize"]


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """How well fresh networks do that were trained on one set. All are fractions.

    Attributes:
      accuracies: [R] at the end of training.
      mean: of the accuracies.
      sd: their standard deviation (R - 1); NaN for a single run.
      ci95: half the width of the 95 % interval of the mean; NaN for a single run.
      best_on_test: the mean over runs of the best accuracy at any checkpoint, which
        is a choice by the test set; None with one checkpoint or on another split.
      curve: [R, K] the accuracy at each of K checkpoints, evenly spaced.
      compile_seconds: 0 where the programs were compiled before.
      run_seconds: training and testing.
    """

    accuracies: np.ndarray
    mean: float
    sd: float
    ci95: float
    best_on_test: float | None
    curve: np.ndarray
    compile_seconds: float
    run_seconds: float

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.ci95:.1f} %"


def summarize(
    curve: np.ndarray,
    *,
    is_test: bool,
    compile_seconds: float = 0.0,
    run_seconds: float = 0.0,
) -> Evaluation:
    """Mean, standard deviation and interval of accuracies over runs.

    Args:
      curve: [R, K] the accuracy of each run at K moments, the last of which counts.
      is_test: whether they were taken on the test set.
      compile_seconds: to be handed on.
      run_seconds: to be handed on.

    Returns:
      An :class:`Evaluation`.

    Example:
      >>> result = summarize(np.array([[0.7, 0.5], [0.6, 0.7]]), is_test=True)
      >>> print(f"{result.mean:.2f} {result.sd:.3f} {result.best_on_test:.2f}")
      0.60 0.141 0.70
    """
    last, num_runs = curve[:, -1], len(curve)
    sd = float(last.std(ddof=1)) if num_runs > 1 else float("nan")
    width = float(scipy.stats.t.ppf(0.975, num_runs - 1)) if num_runs > 1 else 1.0
    has_best = is_test and curve.shape[1] > 1
    return Evaluation(
        accuracies=last,
        mean=float(last.mean()),
        sd=sd,
        ci95=width * sd / num_runs**0.5,
        best_on_test=float(curve.max(axis=1).mean()) if has_best else None,
        curve=curve,
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
    )
