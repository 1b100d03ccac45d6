# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings of trajectory matching as the papers' authors give them, as data.

Rates are those of the released code: of pictures as the networks see them, and of the
learning rate as it stands. Those of the pictures of TESLA are half of it, for that code
halves the gradient that they belong to.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from distill_jax import base, data, errors
from distill_jax.methods import published

__all__ = ["EXPERTS", "TRAJECTORIES", "Row", "check_whitening", "trajectory_row"]

_EXPERTS = {"num_experts": 100, "num_epochs": 50, "learning_rate": 0.01}

# The experts of the papers; the methods' own default has fewer, see `ExpertPlan`.
EXPERTS: Mapping[str, Mapping[str, Any]] = {
    "mtt": _EXPERTS,
    "ftd": _EXPERTS,
    "tesla": _EXPERTS,
    "datm": {**_EXPERTS, "num_epochs": 100},
}


class Row(NamedTuple):
    """What a paper sets for a data set and a number of images per class."""

    num_student_steps: int  # N
    num_expert_epochs: int  # M
    last_start: int  # T+, starts are below it
    batch_size: int | None  # of the student; None for all
    learning_rate: float  # of the pictures
    rate_learning_rate: float  # of the student's learning rate, as it stands
    initial_rate: float  # beta_0
    is_zca: bool = False  # for pictures that were whitened
    alpha: float | None = None  # of the flat experts
    decay: float | None = None  # of the moving average of the pictures
    first_start: int = 0  # T-
    window: tuple[int, int] | None = None  # T0 and the steps of its growth
    label_learning_rate: float | None = None
    start: Literal["agreed", "real"] = "agreed"  # pictures that experts get right, any


def _datm(*row, **more) -> Row:
    """A row of DATM: its experts and whitening are the same everywhere."""
    return Row(*row, initial_rate=0.01, is_zca=True, alpha=0.3, **more)


TRAJECTORIES: Mapping[str, Mapping[tuple[str, int], Row]] = {
    "mtt": {
        ("cifar10", 1): Row(50, 2, 2, None, 100, 1e-7, 0.01, True),
        ("cifar10", 10): Row(30, 2, 20, None, 100, 1e-5, 0.001, True),
        ("cifar10", 50): Row(30, 2, 40, None, 1000, 1e-5, 0.001, False),
        ("cifar100", 1): Row(20, 3, 20, None, 1000, 1e-5, 0.01, True),
        ("cifar100", 10): Row(20, 2, 20, None, 1000, 1e-5, 0.01, False),
        ("cifar100", 50): Row(80, 2, 40, 125, 1000, 1e-5, 0.01, True),
        ("tiny_imagenet", 1): Row(10, 2, 10, None, 1e4, 1e-4, 0.01, False),
        ("tiny_imagenet", 10): Row(20, 2, 40, 200, 1e4, 1e-4, 0.01, False),
        ("tiny_imagenet", 50): Row(20, 2, 40, 300, 1e4, 1e-4, 0.01, False),
    },
    "ftd": {
        ("cifar10", 1): Row(50, 2, 2, None, 100, 1e-7, 0.01, True, 0.3, 0.9999),
        ("cifar10", 10): Row(30, 2, 20, None, 100, 1e-5, 0.001, True, 0.3, 0.9995),
        ("cifar10", 50): Row(30, 2, 40, None, 1000, 1e-5, 0.01, True, 1.0, 0.999),
        ("cifar100", 1): Row(40, 3, 20, None, 1000, 1e-5, 0.01, True, 1.0, 0.9995),
        ("cifar100", 10): Row(20, 2, 40, None, 1000, 1e-5, 0.01, True, 1.0, 0.9995),
        ("cifar100", 50): Row(80, 2, 40, 1000, 1000, 1e-5, 0.01, True, 1.0, 0.999),
        ("tiny_imagenet", 1): Row(30, 2, 10, None, 1e4, 1e-4, 0.01, True, 1.0, 0.999),
        ("tiny_imagenet", 10): Row(20, 2, 40, 500, 1e4, 1e-4, 0.01, True, 1.0, 0.999),
    },
    "tesla": {
        ("cifar10", 1): Row(50, 2, 5, None, 500, 1e-7, 0.01, False),
        ("cifar100", 50): Row(80, 2, 40, 125, 500, 1e-5, 0.01, True),
        ("imagenet", 1): Row(10, 3, 10, 100, 5e3, 1e-4, 0.01, False),
    },
    "datm": {
        ("cifar10", 1): _datm(80, 2, 4, 10, 100, 1e-7, label_learning_rate=5.0),
        ("cifar10", 10): _datm(
            80, 2, 20, 100, 100, 1e-5, window=(10, 1000), label_learning_rate=2.0
        ),
        ("cifar10", 50): _datm(
            80, 2, 40, 500, 1000, 1e-5, window=(20, 2000), label_learning_rate=2.0
        ),
        ("cifar10", 500): _datm(
            40, 2, 60, 1000, 50, 1e-5, first_start=40, label_learning_rate=10.0
        ),
        ("cifar10", 1000): _datm(
            100, 2, 60, 1000, 50, 1e-5, first_start=40, label_learning_rate=10.0
        ),
        ("cifar100", 1): _datm(
            40, 3, 20, 1000, 1000, 1e-5, window=(10, 1000), label_learning_rate=10.0
        ),
        ("cifar100", 10): _datm(
            80, 2, 50, 1000, 1000, 1e-5, window=(30, 2000), label_learning_rate=10.0
        ),
        ("cifar100", 50): _datm(
            *(80, 2, 70, 1000, 1000, 1e-5),
            first_start=20,
            label_learning_rate=10.0,
            start="real",
        ),
        ("cifar100", 100): _datm(
            80, 2, 70, 1000, 50, 1e-5, first_start=30, label_learning_rate=10.0
        ),
        ("tiny_imagenet", 1): _datm(
            40, 2, 20, 1000, 1e4, 1e-4, window=(15, 2000), label_learning_rate=10.0
        ),
        ("tiny_imagenet", 10): _datm(
            40, 2, 50, 500, 100, 1e-4, first_start=10, label_learning_rate=10.0
        ),
        ("tiny_imagenet", 50): _datm(
            20, 2, 70, 1000, 100, 1e-4, first_start=40, label_learning_rate=10.0
        ),
    },
}


def trajectory_row(method: str, task: base.Task, num_per_class: int) -> Row:
    """The published settings of a method, or the nearest there are, with a warning.

    Args:
      method: a key of :data:`TRAJECTORIES`.
      task: its facts may name the data set.
      num_per_class: images of each class.

    Returns:
      The row. For a data set without one, that of CIFAR-10 with the nearest number of
      images (in logarithms), and nothing said of whitening.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec)
      >>> task = task._replace(facts=dj.TaskFacts(data_name="cifar10"))
      >>> trajectory_row("mtt", task, 10).num_student_steps
      30

    Reference:
      MTT and TESLA: settings given by their authors; FTD, table 7 of its repository;
      DATM, the configurations it was released with.
    """
    table = TRAJECTORIES[method]
    name = task.facts.data_name
    key = published.nearest_row(
        table, method.upper(), name, num_per_class, usual="cifar10"
    )
    return table[key]._replace(is_zca=table[key].is_zca and key[0] == name)


def check_whitening(method: str, row: Row, spec: data.DataSpec) -> None:
    """Warns where settings were published for whitened pictures and these are not.

    Args:
      method: its name.
      row: its settings.
      spec: of the data set.

    Example:
      >>> import distill_jax as dj
      >>> row = TRAJECTORIES["mtt"]["cifar10", 50]
      >>> check_whitening("mtt", row, dj.data.load("digits").spec)
    """
    if row.is_zca and getattr(spec.normalizer, "whiten", None) is None:
        errors.warn(
            f"The settings of {method.upper()} were published for ZCA-whitened "
            f"pictures, but those of {spec.name} are not; load them with "
            'normalization="zca" (`config.data.normalization`), or give settings of '
            "your own.",
        )
