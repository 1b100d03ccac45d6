# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What came out of several evaluation runs: mean, deviation, interval.

ci95 = t_{0.975, R - 1} sd / sqrt(R)      (Student's t, sd with R - 1)
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from distill_jax import errors

__all__ = ["Evaluation", "interval", "summarize"]


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


def interval(values: npt.ArrayLike) -> tuple[float, float]:
    """The mean of values over runs, and its 95 % interval.

    Args:
      values: [R] one number for each run: an accuracy, a score.

    Returns:
      The mean, and half the width of its interval; NaN for a single run.

    Raises:
      InputError: if there is not one number for each of at least one run.

    Example:
      >>> mean, ci95 = interval([0.5, 0.6, 0.7])
      >>> print(f"{mean:.2f} ± {ci95:.2f}")
      0.60 ± 0.25
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise errors.InputError(
            f"`values` has the shape {values.shape}; pass one number for each run, [R]."
        )
    mean, num_runs = float(values.mean()), len(values)
    if num_runs == 1:
        return mean, float("nan")
    from scipy import special  # Late: it takes a quarter of a second to load.

    width = special.stdtrit(num_runs - 1, 0.975)  # A quantile of Student's t.
    return mean, float(width * values.std(ddof=1) / num_runs**0.5)


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
    last = curve[:, -1]
    mean, ci95 = interval(last)
    has_best = is_test and curve.shape[1] > 1
    return Evaluation(
        accuracies=last,
        mean=mean,
        sd=float(last.std(ddof=1)) if len(last) > 1 else float("nan"),
        ci95=ci95,
        best_on_test=float(curve.max(axis=1).mean()) if has_best else None,
        curve=curve,
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
    )
