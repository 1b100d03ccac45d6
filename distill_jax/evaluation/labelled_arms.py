# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The arms of labelled images: the same images with one table of labels or another.

    chosen-labels   the labels that were chosen
    last-epoch      those of the teacher at its end, at temperature 1
    own-labels      those that the images came with
    hard-labels     the classes of the images
    real-hard       the whole training set, hard labels

All but the last train the same networks on the same images: what differs between two
of them are the labels.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors
from distill_jax import data as data_lib
from distill_jax.evaluation import checks
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.evaluation.comparison import (
    Arm,
    Comparison,
    RunOptions,
    make_arm,
    real_hard,
)
from distill_jax.types import Key

__all__ = ["LABEL_ARMS", "LabelTable", "label_arms"]

LABEL_ARMS = ("real-hard", "hard-labels", "chosen-labels", "last-epoch", "own-labels")


class LabelTable(NamedTuple):
    """Labels of images, for one arm."""

    make: Callable[[], Any]  # [N, C]; called when the arm is trained
    note: str  # what they are, in words


def label_arms(
    key: Key,
    task: base.Task,
    examples: base.Examples,
    tables: Mapping[str, LabelTable],
    data: data_lib.Dataset,
    protocol: protocol_lib.Protocol,
    *,
    num_runs: int = 5,
    image_bytes: int | None = None,
    run_options: RunOptions = RunOptions(),
) -> list[Arm]:
    """Trains and tests networks on the same images with several tables of labels.

    Args:
      key: of all that is random.
      task: has the network.
      examples: images ``x`` [N, ...] in the space the networks see, and perhaps their
        ``weight``; labels are not looked at.
      tables: by the name of their arm, each but ``"real-hard"`` of
        :data:`LABEL_ARMS`.
      data: the real data set.
      protocol: how every network is trained.
      num_runs: R, networks for each arm, the same for all.
      image_bytes: what the images take in storage; by default as float32.
      run_options: how the networks are run, and which arms are trained. With
        ``num_real_steps`` there is the arm ``"real-hard"`` too.

    Returns:
      The arms in the order of :data:`LABEL_ARMS`.

    Raises:
      InputError: if a number is below 1, labels do not fit the images, an arm is not
        known, or the test split is empty.
      DivergedError: if all networks of the chosen labels diverged.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> real = dj.methods.initial_fn("real", 1)(jax.random.key(0), data)
      >>> soft = dj.evaluation.LabelTable(lambda: 0.9 * real.y + 0.01, "smoothed")
      >>> hard = dj.evaluation.LabelTable(lambda: real.y, "hard")
      >>> arms = dj.evaluation.label_arms(
      ...     jax.random.key(1), task, real,
      ...     {"chosen-labels": soft, "hard-labels": hard}, data,
      ...     dj.evaluation.Protocol(num_steps=5), num_runs=2)
      >>> [(arm.name, arm.bytes_stored) for arm in arms]
      [('hard-labels', 2570), ('chosen-labels', 2960)]
    """
    options = run_options
    errors.check_counts(num_runs=num_runs, num_checkpoints=options.num_checkpoints)
    checks.check_split(data, "test")
    for name in tables:
        if name not in LABEL_ARMS[1:]:
            raise errors.InputError(
                f'There is no arm "{name}" of labels. '
                f"{errors.nearest(str(name), LABEL_ARMS[1:])}"
            )
    comparison = Comparison(
        task, data, protocol, num_runs, options.side_by_side, options.num_checkpoints
    )
    if image_bytes is None:
        image_bytes = 4 * int(np.prod(np.shape(examples.x)))
    key_students, key_real = jax.random.split(key)
    make = functools.partial(_arm, key_students, comparison, examples, image_bytes)
    makers: dict[str, Callable[[], Arm]] = {
        name: functools.partial(make, name, table) for name, table in tables.items()
    }
    if options.num_real_steps is not None:
        steps = options.num_real_steps
        makers["real-hard"] = lambda: real_hard(key_real, comparison, None, steps)
    wanted = [
        name
        for name in LABEL_ARMS
        if name in makers and (options.only is None or name in options.only)
    ]
    made = {}
    # The chosen labels first: where they fail, the others are not worth the wait.
    for name in sorted(wanted, key=lambda name: name != "chosen-labels"):
        made[name] = makers[name]()
        if options.on_arm is not None:
            options.on_arm(made[name])
    return [made[name] for name in wanted]


def _arm(
    key: Key,
    comparison: Comparison,
    examples: base.Examples,
    image_bytes: int,
    name: str,
    table: LabelTable,
) -> Arm:
    """Networks on the images with one table of labels."""
    y = np.asarray(table.make())
    synthetic = base.Synthetic(
        jnp.asarray(examples.x), jnp.asarray(y), examples.weight, None
    )
    checks.check_synthetic(synthetic, comparison.data, comparison.protocol)
    result = comparison.measure(comparison.train(key, synthetic))
    if name == "chosen-labels":
        checks.check_converged(result, comparison.protocol, synthetic)
    is_hard = np.array_equal(y, comparison.one_hot(y.argmax(axis=1)))
    label_bytes = comparison.hard_label_bytes if is_hard else 4 * y.shape[1]
    size = image_bytes + len(y) * label_bytes
    size += 0 if examples.weight is None else 4 * len(y)
    return make_arm(name, result, len(y), size, table.note)
