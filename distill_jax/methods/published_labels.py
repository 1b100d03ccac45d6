# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Settings with which labels were learned through training, as data.

The papers behind "A Label is Worth a Thousand Images" say how labels are learned by
backpropagation through time with the code of RaT-BPTT; by trajectories they do not, so
`label_mtt` takes those of MTT.
"""

from collections.abc import Mapping
from typing import NamedTuple

from distill_jax import base
from distill_jax.methods import published

__all__ = ["LABELS", "RIDGE_RATES", "Row", "label_row"]


class Row(NamedTuple):
    """What was set for a data set and a number of images per class."""

    num_inner_steps: int  # T
    window: int  # W
    learning_rate: float  # of Adam for the labels
    num_classes_per_step: int | None = None  # of an inner step, drawn anew; None: all


# The inner optimiser is Adam with 1e-3, the outer one Adam, and 1000 to 5000 real
# examples judge a network.
LABELS: Mapping[tuple[str, int], Row] = {
    ("cifar100", 1): Row(130, 90, 3e-4),
    ("cifar100", 10): Row(300, 100, 1e-3),
    ("tiny_imagenet", 10): Row(300, 100, 3e-4, num_classes_per_step=50),
    ("imagenet", 1): Row(280, 80, 3e-4),
}

# Of Adam for the labels, and for the scale of the predictions; Bohdal et al., 2020.
RIDGE_RATES = (1e-3, 1e-2)


def label_row(task: base.Task, num_per_class: int) -> Row:
    """The published settings of `label_bptt`, or the nearest there are, with a warning.

    Args:
      task: its facts may name the data set.
      num_per_class: images of each class.

    Returns:
      The row. For a data set without one, that of CIFAR-100 with the nearest number of
      images (in logarithms).

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec)
      >>> task = task._replace(facts=dj.TaskFacts(data_name="cifar100"))
      >>> label_row(task, 1)[:3]
      (130, 90, 0.0003)

    Reference:
      Yunzhen Feng, Ramakrishna Vedantam, Julia Kempe, "Embarrassingly Simple Dataset
      Distillation", 2023, and the settings of its released code.
    """
    name = task.facts.data_name
    key = published.nearest_row(
        LABELS, "`label_bptt`", name, num_per_class, usual="cifar100"
    )
    return LABELS[key]
