# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Hyper-parameters as the papers and their code give them, as data.

How many matches a network serves and how long it is trained between two of them depend
on the number of images per class; between the published numbers they are interpolated
in logarithms, with a warning.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from distill_jax import base, errors

__all__ = ["LOOPS", "Loops", "loops", "nearest_row", "picture_rate"]


class Loops(NamedTuple):
    """The two inner counts of gradient matching."""

    num_matches: int  # steps with each network
    num_epochs: int  # of its training between two of them


_LARGE = {20: Loops(20, 25), 30: Loops(30, 20), 40: Loops(40, 15), 50: Loops(50, 10)}

# Images per class -> loops. "dc" serves DC and DSA, "dcc" DCC and DSAC, which train the
# network even for one image per class.
LOOPS: Mapping[str, Mapping[int, Loops]] = {
    "dc": {1: Loops(1, 1), 10: Loops(10, 50), **_LARGE},
    "dcc": {1: Loops(10, 5), 10: Loops(10, 50), **_LARGE},
}


def loops(
    kind: Literal["dc", "dcc"],
    num_per_class: int,
    *,
    num_matches: int | None = None,
    num_epochs: int | None = None,
) -> Loops:
    """The loops of a method at a number of images per class.

    Args:
      kind: a key of :data:`LOOPS`.
      num_per_class: images of each class.
      num_matches: taken as it is where given.
      num_epochs: likewise.

    Returns:
      The published loops, interpolated with a warning where there are none.

    Example:
      >>> loops("dc", 10)
      Loops(num_matches=10, num_epochs=50)
      >>> loops("dc", 7, num_matches=5, num_epochs=2)
      Loops(num_matches=5, num_epochs=2)

    Reference:
      Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, "Dataset Condensation with Gradient
      Matching", 2021; Saehyung Lee et al., "Dataset Condensation with Contrastive
      Signals", 2022; both by their released code.
    """
    if num_matches is not None and num_epochs is not None:
        return Loops(num_matches, num_epochs)
    table = LOOPS[kind]
    found = table.get(num_per_class) or _interpolated(table, num_per_class)
    if num_per_class not in table:
        errors.warn(
            f"No loops were published for {num_per_class} images per class (only for "
            f"{', '.join(map(str, table))}); using {found.num_matches} matches with "
            f"each network and {found.num_epochs} epochs between them. Give "
            "`num_matches` and `num_epochs` to choose.",
        )
    return Loops(
        found.num_matches if num_matches is None else num_matches,
        found.num_epochs if num_epochs is None else num_epochs,
    )


def nearest_row(
    table: Mapping[tuple[str, int], Any],
    method: str,
    data_name: str,
    num_per_class: int,
    *,
    usual: str,
) -> tuple[str, int]:
    """Finds the published settings for a data set, or the nearest, with a warning.

    Args:
      table: rows by data set and images per class.
      method: whose they are, in words.
      data_name: the data set; empty where it has no name.
      num_per_class: images of each class.
      usual: the data set whose rows are taken for one that has none.

    Returns:
      The key of a row: that of the nearest number of images (in logarithms).

    Example:
      >>> table = {("cifar10", 1): "a", ("cifar10", 10): "b", ("cifar100", 1): "c"}
      >>> nearest_row(table, "MTT", "cifar10", 10, usual="cifar100")
      ('cifar10', 10)
    """
    if (data_name, num_per_class) in table:
        return data_name, num_per_class
    known = [key for key in table if key[0] == data_name] or [
        key for key in table if key[0] == usual
    ]
    nearest = min(known, key=lambda key: abs(np.log(key[1] / num_per_class)))
    errors.warn(
        f"No settings of {method} were published for {num_per_class} images per class "
        f"of {data_name or 'this data set'}; what is not given is taken from those for "
        f"{nearest[1]} of {nearest[0]}."
    )
    return nearest


def picture_rate(
    method: Literal["dc", "dm", "idc"], task: base.Task, num_per_class: int
) -> float:
    """The published learning rate of the pictures.

    Args:
      method: ``"dc"`` (for DC, DSA, DCC and DSAC), ``"dm"`` or ``"idc"``.
      task: its facts may name the network and the data set.
      num_per_class: stored images of each class.

    Returns:
      The rate for pictures as the networks see them. That of IDC is published for
      pixels in [0, 1], and is multiplied here by the square of the distance between
      black and white.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec)
      >>> picture_rate("dc", task, 1), picture_rate("dm", task, 10)
      (0.01, 1.0)

    Reference:
      The released code of Zhao, Mopuri and Bilen, 2021; Zhao and Bilen, 2023; Kim et
      al., 2022.
    """
    if method == "dc":
        return 0.01 if task.facts.network.get("name") == "mlp" else 0.1
    if method == "dm":
        is_large = num_per_class >= 100 and task.facts.data_name == "cifar10"
        return 10.0 if is_large else 1.0
    is_grey = task.facts.data_name in ("mnist", "fashion_mnist")
    size = task.facts.shape[0] if len(task.facts.shape) == 3 else 32
    unit_rate = (1e-4 if is_grey else 5e-3) * num_per_class / 10 * (size / 32) ** 2
    low, high = task.facts.bounds or ([0.0], [1.0])
    return unit_rate * float(np.mean(np.subtract(high, low)) ** 2)


def _interpolated(table: Mapping[int, Loops], num_per_class: int) -> Loops:
    """Straight lines in log count over log images per class, constant beyond."""
    log = lambda values: np.log(np.asarray(values, float))
    columns = zip(*table.values(), strict=True)
    x, known = log(num_per_class), log(list(table))
    found = [np.exp(np.interp(x, known, log(column))) for column in columns]
    return Loops(*(max(1, round(float(value))) for value in found))
