# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What came out of several evaluation runs: mean, deviation, interval.

ci95 = t_{0.975, R - 1} sd / sqrt(R)      (Student's t, sd with R - 1, R >= 3)
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distill_jax import errors, types
from distill_jax.tasks import judging

__all__ = ["Evaluation", "interval", "interval_of_fraction", "summarize"]

_FEWEST = 3  # Two runs have an interval of +- 9 sd, which says nothing.


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """How well fresh networks do that were trained on one set.

    A network has diverged if not all of its outputs are finite, or if its training went
    wrong (:func:`~distill_jax.evaluation.training.has_diverged`). Examples without a
    finite output, and all of a training that went wrong, count as the ``worst`` of a
    metric, such as 0 for the accuracy; where a metric has none, the score is NaN, and
    mean, deviation and interval are those of the other networks.

    Attributes:
      scores: by the name of a metric [R] at the end of training. Accuracies are
        fractions.
      metrics: what is known of each; the first one decides, and is meant by the rest.
      mean: of its scores.
      sd: their standard deviation (R - 1); NaN for a single run.
      ci95: half the width of the 95 % interval of the mean; NaN for fewer than three
        runs.
      best_on_test: the mean over runs of the best score at any checkpoint, which is a
        choice by the test set; None with one checkpoint or on another split.
      curve: [R, K] the score at each of K checkpoints, evenly spaced.
      num_diverged: how many of the R networks have diverged.
      compile_seconds: 0 where the programs were compiled before.
      run_seconds: training and testing.
    """

    scores: Mapping[str, np.ndarray]
    metrics: Sequence[types.Metric]
    mean: float
    sd: float
    ci95: float
    best_on_test: float | None
    curve: np.ndarray
    num_diverged: int
    compile_seconds: float
    run_seconds: float

    @property
    def metric(self) -> types.Metric:
        """The metric that decides."""
        return self.metrics[0]

    @property
    def accuracies(self) -> np.ndarray:
        """[R] the accuracies at the end of training, as fractions."""
        if "accuracy" not in self.scores:
            names = ", ".join(f'"{name}"' for name in self.scores)
            raise errors.InputError(
                "These networks were not judged by their accuracy, since the task has "
                f"no classes; read `scores`, which has {names}."
            )
        return self.scores["accuracy"]

    def to_row(self) -> dict[str, Any]:
        """The numbers under the names that reports use."""
        row: dict[str, Any] = {}
        for name, values in self.scores.items():
            row[f"{name}_mean"], row[f"{name}_sd"], _ = _moments(values)
        return row | {
            "ci95": self.ci95,
            "best_on_test": self.best_on_test,
            "num_diverged": self.num_diverged,
        }

    def __str__(self) -> str:
        if not self.metric.is_fraction:
            spread = f" ± {self.ci95:.2g}" if np.isfinite(self.ci95) else ""
            return f"{self.mean:.4g}{spread}"
        if not np.isfinite(self.ci95):
            return f"{100 * self.mean:.1f} %"
        low, high = interval_of_fraction(self.mean, self.ci95)
        if (low, high) != (self.mean - self.ci95, self.mean + self.ci95):
            return f"{100 * self.mean:.1f} % ({100 * low:.1f} to {100 * high:.1f} %)"
        return f"{100 * self.mean:.1f} ± {100 * self.ci95:.1f} %"


def interval(values: npt.ArrayLike) -> tuple[float, float]:
    """The mean of values over runs, and its 95 % interval.

    Args:
      values: [R] one number for each run: an accuracy, a score.

    Returns:
      The mean, and half the width of its interval; NaN for fewer than three runs.

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
    if num_runs < _FEWEST:
        return mean, float("nan")
    from scipy import special  # Late: it takes a quarter of a second to load.

    width = special.stdtrit(num_runs - 1, 0.975)  # A quantile of Student's t.
    return mean, float(width * values.std(ddof=1) / num_runs**0.5)


def interval_of_fraction(mean: float, ci95: float) -> tuple[float, float]:
    """The ends of an interval of a mean of fractions, which never leaves 0 to 1.

    Args:
      mean: of the fractions.
      ci95: half the width of the interval.

    Returns:
      The lower and the upper end.

    Example:
      >>> interval_of_fraction(0.75, 0.5)
      (0.25, 1.0)
    """
    low, high = mean - ci95, mean + ci95
    return min(max(low, 0.0), mean), max(min(high, 1.0), mean)


def summarize(
    curves: Mapping[str, np.ndarray] | np.ndarray,
    metrics: Sequence[types.Metric] = (judging.ACCURACY,),
    *,
    is_test: bool,
    num_diverged: int = 0,
    compile_seconds: float = 0.0,
    run_seconds: float = 0.0,
) -> Evaluation:
    """Mean, standard deviation and interval of scores over runs.

    Args:
      curves: by metric [R, K] the score of each run at K moments, the last of which
        counts; an array alone is that of the first metric.
      metrics: what is known of each; the first one decides.
      is_test: whether they were taken on the test set.
      num_diverged: how many networks have diverged.
      compile_seconds: to be handed on.
      run_seconds: to be handed on.

    Returns:
      An :class:`Evaluation`.

    Example:
      >>> result = summarize(np.array([[0.7, 0.5], [0.6, 0.7]]), is_test=True)
      >>> print(f"{result.mean:.2f} {result.sd:.3f} {result.best_on_test:.2f}")
      0.60 0.141 0.70
    """
    if isinstance(curves, np.ndarray):
        curves = {metrics[0].name: curves}
    curve = curves[metrics[0].name]
    mean, sd, ci95 = _moments(curve[:, -1])
    best_on_test = None
    if is_test and curve.shape[1] > 1:
        best = np.fmax if metrics[0].is_higher_better else np.fmin  # NaN is no best.
        best_on_test, _, _ = _moments(best.reduce(curve, axis=1))
    return Evaluation(
        scores={metric.name: curves[metric.name][:, -1] for metric in metrics},
        metrics=tuple(metrics),
        mean=mean,
        sd=sd,
        ci95=ci95,
        best_on_test=best_on_test,
        curve=curve,
        num_diverged=num_diverged,
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
    )


def _moments(values: np.ndarray) -> tuple[float, float, float]:
    """Mean, standard deviation and interval of the networks that have a score."""
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    mean, ci95 = interval(values)
    return mean, float(values.std(ddof=1)) if len(values) > 1 else float("nan"), ci95
