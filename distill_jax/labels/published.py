# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How experts and students were trained in the paper, as data: its Table 7.

ConvNets: experts by SGD without momentum, students with 0.9; epochs are completed ones.
ResNets: experts with momentum 0.9, decay 1e-4 and a tenth of the rate after every 30
epochs, students by AdamW with a cosine; epochs count from 0 in the released code, so
that e stands for e + 1 completed ones.

Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset Distillation",
2024, Table 7.
"""

from typing import NamedTuple

from distill_jax import errors

__all__ = ["TABLE", "PublishedLabels", "row_for"]


class PublishedLabels(NamedTuple):
    """One row of Table 7."""

    data_name: str
    network: str  # of experts and students
    num_per_class: int
    expert_rate: float  # learning rate of the experts, by SGD
    student_rate: float  # learning rate of the students
    epoch: int  # of the expert that labels, as the table gives it
    expert_accuracy: float  # of the test set, a fraction


TABLE: tuple[PublishedLabels, ...] = tuple(
    PublishedLabels(*row)
    for row in (
        ("imagenet", "resnet18", 1, 5e-4, 1e-3, 11, 0.173),
        ("imagenet", "resnet18", 10, 5e-4, 5e-3, 43, 0.358),
        ("imagenet", "resnet18", 50, 1e-1, 5e-3, 30, 0.609),
        ("imagenet", "resnet18", 100, 1e-1, 5e-3, 34, 0.628),
        ("imagenet", "resnet18", 200, 1e-1, 2e-3, 34, 0.628),
        ("imagenet", "resnet50", 1, 5e-4, 1e-3, 9, 0.154),
        ("imagenet", "resnet50", 10, 5e-4, 5e-3, 24, 0.310),
        ("imagenet", "resnet50", 50, 1e-1, 5e-3, 30, 0.666),
        ("imagenet", "resnet50", 100, 1e-1, 5e-3, 32, 0.686),
        ("imagenet", "resnet50", 200, 1e-1, 2e-3, 61, 0.733),
        ("tiny_imagenet", "convnet", 1, 1e-2, 1e-2, 11, 0.192),
        ("tiny_imagenet", "convnet", 10, 1e-2, 1e-1, 50, 0.350),
        ("tiny_imagenet", "convnet", 50, 1e-2, 1e-1, 90, 0.381),
        ("tiny_imagenet", "convnet", 100, 1e-2, 1e-1, 102, 0.388),
        ("cifar100", "convnet", 1, 1e-2, 1e-2, 13, 0.331),
        ("cifar100", "convnet", 10, 1e-2, 1e-2, 36, 0.476),
        ("cifar100", "convnet", 50, 1e-2, 1e-2, 125, 0.527),
        ("cifar100", "convnet", 100, 1e-2, 1e-2, 125, 0.527),
        ("cifar10", "convnet", 1, 5e-4, 1e-2, 20, 0.560),
        ("cifar10", "convnet", 10, 5e-4, 1e-2, 44, 0.651),
        ("cifar10", "convnet", 50, 5e-4, 1e-2, 128, 0.749),
        ("cifar10", "convnet", 100, 5e-4, 1e-2, 164, 0.765),
    )
)


def row_for(
    data_name: str, num_per_class: int, *, network: str | None = None
) -> PublishedLabels:
    """Looks up how labels of a data set were made in the paper.

    Args:
      data_name: ``"cifar10"``, ``"cifar100"``, ``"tiny_imagenet"`` or ``"imagenet"``.
      num_per_class: images of each class.
      network: where there are rows of several; the first by default.

    Returns:
      The row of :data:`TABLE` for as many images, or the nearest below, or the first.

    Raises:
      InputError: when the data set or the network is not in the table.

    Example:
      >>> row_for("cifar10", 10).epoch, row_for("cifar100", 20).num_per_class
      (44, 10)
      >>> row_for("mnist", 1)
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The paper has no labels of "mnist"; it has those \
of imagenet, tiny_imagenet, cifar100, cifar10.
    """
    errors.check_counts(num_per_class=num_per_class)
    rows = [row for row in TABLE if row.data_name == data_name]
    if not rows:
        known = ", ".join(dict.fromkeys(row.data_name for row in TABLE))
        raise errors.InputError(
            f'The paper has no labels of "{data_name}"; it has those of {known}.'
        )
    networks = list(dict.fromkeys(row.network for row in rows))
    if network is not None and network not in networks:
        raise errors.InputError(
            f'The paper has no labels of "{data_name}" by a "{network}"; it has those '
            f"of {' and '.join(networks)}."
        )
    rows = [row for row in rows if row.network == (network or networks[0])]
    below = [row for row in rows if row.num_per_class <= num_per_class]
    return (below or rows[:1])[-1]
