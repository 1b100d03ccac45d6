# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a report tells, as plain data.

A report knows nothing of how a set was distilled: whoever has the arrays and numbers
fills a :class:`Contents`. Every part may be left out, and the page says so or goes
without it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from distill_jax import errors, types
from distill_jax.report import contents_checks
from distill_jax.report import metrics as metrics_lib

__all__ = [
    "ARM_FIELDS",
    "TRANSFER_FIELDS",
    "Contents",
    "accuracy_rows",
    "distilled_arm",
    "is_known",
    "loss_rows",
    "reference_arm",
    "score_of",
]

# What is known of one arm of the comparison. Accuracies are fractions. Another metric
# has its own name before "_mean" and "_sd".
ARM_FIELDS = (
    "name",
    "num_examples",
    "accuracy_mean",
    "accuracy_sd",
    "ci95",
    "best_on_test",
    "num_diverged",
    "bytes_stored",
    "seconds",
    "note",
    "is_distilled",
)
# What is known of one network that was trained on the distilled set.
TRANSFER_FIELDS = (
    "name",
    "num_parameters",
    "accuracy_mean",
    "accuracy_sd",
    "ci95",
    "num_diverged",
    "random_mean",
    "random_sd",
    "seconds",
    "compile_seconds",
    "note",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """All that stands in a report.

    Attributes:
      title: the heading.
      facts: what was done and with what, in the order of reading: data set, method,
        images per class, network, hardware, versions, date.
      config: the config of the run.
      class_names: one name for each class; numbers where empty.
      distilled_images: [C, K, H, W, channels] uint8 in true colours, or ``None``.
      real_images: [C, K, H, W, channels] uint8 of the same classes, or ``None``.
      labels: [M, C] learned labels, or ``None`` where labels were not learned.
      targets: what ``labels`` are: "probabilities", "centred" or "values".
      label_mass: what rows of probabilities sum to: "one", or "free" where the sum
        weighs the example.
      history: rows (step, seconds, loss).
      evaluations: rows (step, seconds, mean of the score, its sd).
      metrics: what networks are judged by, the first one above all.
      arms: what is compared, a mapping each with the keys of :data:`ARM_FIELDS`, of
        which only ``name`` must be there; ``note`` says in words what an arm is.
      transfer: networks of other architectures that were trained on the set, a mapping
        each with the keys of :data:`TRANSFER_FIELDS`, of which only ``name`` must be
        there.
      costs: what was spent, such as ``{"distil": "41 s", "peak memory": "1.2 GB"}``;
        bare numbers are shown with three digits.
      usage: a block of code: how to reproduce the run and how to use the file.

    Raises:
      InputError: when a field cannot be shown.

    Example:
      >>> contents = Contents("Digits", arms=[{"name": "random", "num_examples": 10}])
      >>> contents.arms[0]["name"]
      'random'
    """

    title: str
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    class_names: Sequence[str] = ()
    distilled_images: np.ndarray | None = None
    real_images: np.ndarray | None = None
    labels: np.ndarray | None = None
    targets: str = "probabilities"
    label_mass: str = "one"
    history: Sequence[tuple[int, float, float]] = ()
    evaluations: Sequence[tuple[int, float, float, float]] = ()
    metrics: Sequence[types.Metric] = (metrics_lib.ACCURACY,)
    arms: Sequence[Mapping[str, Any]] = ()
    transfer: Sequence[Mapping[str, Any]] = ()
    costs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    usage: str = ""

    def __post_init__(self):
        for name in ("distilled_images", "real_images"):
            contents_checks.check_images(getattr(self, name), name)
        contents_checks.check_classes(self)
        contents_checks.check_labels(self)
        for name, width in (("history", 3), ("evaluations", 4)):
            for row in getattr(self, name):
                if len(row) != width:
                    raise errors.InputError(
                        f"A row of `{name}` has {len(row)} entries ({row}); it needs "
                        f"{width}, as the docstring of `Contents` lists them."
                    )
                contents_checks.check_numbers(name, row)
        scores = [f"{m.name}_{end}" for m in self.metrics for end in ("mean", "sd")]
        for arm in self.arms:
            contents_checks.check_row("An arm", arm, [*ARM_FIELDS, *scores])
        for row in self.transfer:
            contents_checks.check_row("A network", row, [*TRANSFER_FIELDS, *scores])

    @property
    def metric(self) -> types.Metric:
        """The metric that decides."""
        return self.metrics[0]

    @property
    def num_classes(self) -> int:
        """Number of classes of which there are pictures or names."""
        for images in (self.distilled_images, self.real_images):
            if images is not None:
                return len(images)
        return len(self.class_names)

    def class_name(self, index: int) -> str:
        """The name of a class, or its number."""
        is_named = index < len(self.class_names)
        return str(self.class_names[index]) if is_named else str(index)


def distilled_arm(contents: Contents) -> Mapping[str, Any] | None:
    """The arm of the distilled set: the first that ``is_distilled``.

    Args:
      contents: what stands in the report.

    Returns:
      The arm, or ``None``.

    Example:
      >>> arms = [{"name": "random"}, {"name": "ours", "is_distilled": True}]
      >>> distilled_arm(Contents("Digits", arms=arms))["name"]
      'ours'
    """
    return next((arm for arm in contents.arms if arm.get("is_distilled")), None)


def is_known(value: float | None) -> TypeGuard[float]:
    """Whether a number can be shown: it is neither missing nor NaN nor infinite.

    Args:
      value: a number, or ``None``.

    Example:
      >>> is_known(0.0), is_known(None), is_known(float("nan"))
      (True, False, False)
    """
    return value is not None and math.isfinite(value)


def reference_arm(contents: Contents) -> Mapping[str, Any] | None:
    """The arm to measure the distilled set by: the one with the most examples.

    Args:
      contents: what stands in the report.

    Returns:
      The arm, usually the whole training set; ``None`` where no arm has more examples
      than the distilled one and a score.

    Example:
      >>> arms = [{"name": "ours", "num_examples": 10, "is_distilled": True},
      ...         {"name": "all", "num_examples": 900, "accuracy_mean": 0.9}]
      >>> reference_arm(Contents("Digits", arms=arms))["name"]
      'all'
    """
    distilled = distilled_arm(contents) or {}
    floor = distilled.get("num_examples") or 0
    is_larger = lambda arm: (arm.get("num_examples") or 0) > floor
    larger = [
        arm
        for arm in contents.arms
        if is_larger(arm) and is_known(score_of(contents, arm))
    ]
    return max(larger, key=lambda arm: arm["num_examples"], default=None)


def score_of(contents: Contents, row: Mapping[str, Any]) -> float | None:
    """The mean score of a row of a table, by the metric that decides.

    Args:
      contents: what stands in the report.
      row: of its arms or networks.

    Example:
      >>> score_of(Contents("Digits"), {"name": "ours", "accuracy_mean": 0.5})
      0.5
    """
    return row.get(f"{contents.metric.name}_mean")


def loss_rows(contents: Contents) -> np.ndarray:
    """Takes the curve of the loss out of the records of a run.

    Args:
      contents: has the records.

    Returns:
      [n, 2] seconds and loss of each record whose loss is finite.

    Example:
      >>> loss_rows(Contents("Digits", history=[(1, 0.1, 2.0), (2, 0.2, None)]))
      array([[0.1, 2. ]])
    """
    rows = [
        (seconds, np.nan if loss is None else loss)
        for _, seconds, loss in contents.history
    ]
    array = np.asarray(rows, np.float64).reshape(-1, 2)
    return array[np.isfinite(array).all(axis=1)]


def accuracy_rows(contents: Contents) -> np.ndarray:
    """Takes the curve of the score out of the evaluations of a run.

    Args:
      contents: has the evaluations.

    Returns:
      [n, 3] seconds, mean and standard deviation of each evaluation; an unknown
      deviation is 0.

    Example:
      >>> accuracy_rows(Contents("Digits", evaluations=[(0, 0.0, 0.5, None)]))
      array([[0. , 0.5, 0. ]])
    """
    rows = [
        (seconds, np.nan if mean is None else mean, sd or 0.0)
        for _, seconds, mean, sd in contents.evaluations
    ]
    array = np.asarray(rows, np.float64).reshape(-1, 3)
    array[:, 2] = np.maximum(np.nan_to_num(array[:, 2], nan=0.0), 0.0)
    return array[np.isfinite(array).all(axis=1)]
