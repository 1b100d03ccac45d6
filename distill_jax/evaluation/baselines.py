# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The arms that every comparison needs, all trained as one protocol says.

    real-hard         the whole training set, hard labels
    synthetic-hard    the distilled images, each with the class of its rows
    synthetic-any     the distilled set as it is, with its own labels
    random-any        random real images, as many, hard labels, the same protocol
    random-soft       the same kind of images with labels of an early-stopped expert

Where examples have targets in place of classes there are three: ``real-hard``,
``synthetic-any`` and ``random-any``, with the targets of the data.

An accuracy of a distilled set means little without the fourth and the fifth: soft
labels alone carry much of it. Random images are drawn anew for every run, so that the
spread holds the draw. The expert's epoch is chosen by the students' accuracy on the
validation split; the students of that epoch are then tested, once.

**What is stored.** Real images count with the bytes of their raw array (one for a pixel
and channel), distilled ones with four for a float32; a hard label is 1 byte (2 beyond
256 classes), a soft one ``4 C``, a weight 4, a learned learning rate 4.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from distill_jax import base, deprecations, errors, experts, labels
from distill_jax import data as data_lib
from distill_jax.evaluation import checks, optimizers, runs, soft_label_arm
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.evaluation.comparison import (
    Arm,
    Comparison,
    RunOptions,
    make_arm,
)
from distill_jax.evaluation.comparison import real_hard as _real_hard
from distill_jax.selection import stratified
from distill_jax.types import Key

__all__ = ["arm_names", "arms", "synthetic_arm"]


@deprecations.renamed_arguments(mapping="side_by_side")
@deprecations.gathered_arguments("run_options", RunOptions)
def arms(
    key: Key,
    task: base.Task,
    synthetic: base.Synthetic,
    data: data_lib.Dataset,
    protocol: protocol_lib.Protocol,
    num_per_class: int | None = None,
    *,
    num_runs: int = 5,
    expert: experts.Training | soft_label_arm.ExpertSettings | None = None,
    expert_epochs: Sequence[int] | None = None,
    run_options: RunOptions = RunOptions(),
) -> list[Arm]:
    """Trains and tests the five arms, or the three of examples without classes.

    With a learned learning rate every arm uses it, as every arm uses all else of the
    protocol.

    Args:
      key: of all that is random.
      task: has the network.
      synthetic: the distilled set, with as many rows for every class. Where its labels
        do not name the class of each row, its rows are class-major.
      data: the real data set, with a validation split.
      protocol: how every network is trained.
      num_per_class: how many random real images each class gets; by default, and where
        there are no classes, as many in all as the distilled set has.
      num_runs: R, networks for each arm.
      expert: how the expert that gives soft labels is trained; by default as
        :func:`~distill_jax.evaluation.usual_expert` says.
      expert_epochs: after which of its epochs it is tried; by default at most six.
      run_options: how the networks are run, beside what the protocol says, and which
        arms are trained.

    Returns:
      The arms in the order above.

    Raises:
      InputError: if a number is below 1, the sets do not fit each other, a class has
        too few examples, the class of a row is not known, or the validation split is
        empty.
      DivergedError: if all networks of the distilled set diverged.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> from distill_jax.evaluation import baselines
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), data.spec)
      >>> set_of_ones = dj.Synthetic(x=jnp.ones((10, 8, 8, 1)), y=jnp.eye(10))
      >>> five = baselines.arms(
      ...     jax.random.key(0), task, set_of_ones, data,
      ...     dj.evaluation.Protocol(num_steps=30), num_per_class=1, num_runs=2,
      ...     expert=dj.experts.Training(num_epochs=2), expert_epochs=[2])
      >>> [(arm.name, arm.bytes_stored) for arm in five[2:]]
      [('synthetic-any', 2570), ('random-any', 650), ('random-soft', 1040)]

    Reference:
      Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025.
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024.
    """
    num_real_steps, num_checkpoints, side_by_side, only, on_arm = run_options
    errors.check_counts(num_runs=num_runs, num_checkpoints=num_checkpoints)
    if num_real_steps is not None:
        errors.check_counts(num_real_steps=num_real_steps)
    if isinstance(expert, soft_label_arm.ExpertSettings):
        expert_epochs = expert.epochs
        expert = soft_label_arm.usual_expert(protocol, **expert.fields())
    expert = expert or soft_label_arm.usual_expert(protocol)
    errors.check_counts(of="the expert", num_epochs=expert.num_epochs)
    labels.epoch_grid(expert.num_epochs, expert_epochs)  # Raises before a training.
    checks.check_split(data, "test", task)
    checks.check_synthetic(synthetic, data, protocol)
    subset_of = _subset_options(synthetic, data, num_per_class)
    *keys, key_subsets = jax.random.split(key, 6)
    comparison = Comparison(
        task, data, protocol, num_runs, side_by_side, num_checkpoints
    )
    rate = synthetic.learning_rate
    if num_real_steps is None:
        num_real_steps = optimizers.num_steps(protocol, len(synthetic.y))
    subsets = stratified.random_subsets(
        key_subsets, data, num_draws=num_runs, **subset_of
    )
    makers = {
        "real-hard": lambda: _real_hard(keys[0], comparison, rate, num_real_steps),
        "synthetic-hard": lambda: _synthetic_hard(keys[1], comparison, synthetic),
        "synthetic-any": lambda: _synthetic_any(keys[2], comparison, synthetic),
        "random-any": lambda: _random_any(keys[3], comparison, rate, subsets),
        "random-soft": lambda: soft_label_arm.random_soft(
            keys[4], comparison, rate, subsets, expert, epochs=expert_epochs
        ),
    }
    names = arm_names(data)
    made = {}
    # The distilled set first: where it fails, the others are not worth the wait.
    for name in sorted(names, key=lambda name: name != "synthetic-any"):
        if only is None or name in only:
            made[name] = makers[name]()
            if on_arm is not None:
                on_arm(made[name])
    return [made[name] for name in names if name in made]


def arm_names(data: data_lib.Dataset) -> list[str]:
    """Names the arms that a comparison on a data set has, in their order.

    Args:
      data: the real data set.

    Example:
      >>> arm_names(data_lib.load("digits"))[:2]
      ['real-hard', 'synthetic-hard']
    """
    names = ["real-hard", "synthetic-any", "random-any"]
    if checks.has_classes(data):
        names = [names[0], "synthetic-hard", *names[1:], "random-soft"]
    return names


@deprecations.renamed_arguments(mapping="side_by_side")
def synthetic_arm(
    key: Key,
    task: base.Task,
    synthetic: base.Synthetic,
    data: data_lib.Dataset,
    protocol: protocol_lib.Protocol,
    *,
    num_runs: int,
    num_checkpoints: int = 1,
    side_by_side: runs.SideBySide = "auto",
) -> Arm:
    """Trains and tests the arm ``"synthetic-any"`` alone.

    Args:
      key: of all that is random.
      task: has the network.
      synthetic: the distilled set; its rows may lie in any order.
      data: the real data set.
      protocol: how every network is trained.
      num_runs: R, networks.
      num_checkpoints: K, as in :class:`~distill_jax.evaluation.RunOptions`.
      side_by_side: as in :func:`~distill_jax.evaluation.runs.evaluate`.

    Returns:
      The arm.

    Raises:
      InputError: if a number is below 1, the sets do not fit each other, or the test
        split is empty.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), data.spec)
      >>> set_of_ones = dj.Synthetic(x=jnp.ones((10, 8, 8, 1)), y=jnp.eye(10))
      >>> arm = dj.evaluation.synthetic_arm(
      ...     jax.random.key(0), task, set_of_ones, data,
      ...     dj.evaluation.Protocol(num_steps=3), num_runs=2)
      >>> arm.name, arm.bytes_stored  # 64 floats and a class each
      ('synthetic-any', 2570)
    """
    comparison = Comparison(
        task, data, protocol, num_runs, side_by_side, num_checkpoints
    )
    return _synthetic_any(key, comparison, synthetic)


def _synthetic_hard(key: Key, comparison: Comparison, synthetic: base.Synthetic) -> Arm:
    num_rows = len(synthetic.y)
    classes = checks.classes_of(synthetic.y)
    # What a representation learns is then the class too.
    hard = synthetic._replace(y=comparison.one_hot(classes), target=None)
    size = _synthetic_bytes(synthetic) + num_rows * comparison.hard_label_bytes
    note = "the distilled images, each labelled with its class"
    result = comparison.measure(comparison.train(key, hard))
    return make_arm("synthetic-hard", result, num_rows, size, note)


def _synthetic_any(key: Key, comparison: Comparison, synthetic: base.Synthetic) -> Arm:
    num_rows = len(synthetic.y)
    result = runs.evaluate(
        comparison.task,
        synthetic,
        comparison.data,
        protocol=comparison.protocol,
        num_runs=comparison.num_runs,
        key=key,
        num_checkpoints=comparison.num_checkpoints,
        side_by_side=comparison.side_by_side,
    )
    y = np.asarray(synthetic.y)
    label, words = 4 * y.shape[1], "targets"
    if checks.has_classes(comparison.data):
        is_hard = np.array_equal(y, comparison.one_hot(y.argmax(axis=1)))
        label = comparison.hard_label_bytes if is_hard else label
        words = f"{'hard' if is_hard else 'soft'} labels"
    size = _synthetic_bytes(synthetic) + num_rows * label
    size += sum(4 * np.size(target) for target in jax.tree.leaves(synthetic.target))
    note = f"the distilled set with its own {words}"
    return make_arm("synthetic-any", result, num_rows, size, note)


def _random_any(key: Key, comparison: Comparison, rate: Any, index: np.ndarray) -> Arm:
    y = comparison.labels_of(comparison.data.train.y[index])
    result = comparison.measure(comparison.train_subsets(key, index, y, rate))
    num_rows = index.shape[1]
    size = comparison.data.train.x[index[0]].nbytes + num_rows * comparison.label_bytes
    what = "images" if checks.has_classes(comparison.data) else "examples"
    note = f"random real {what} with {comparison.label_words}, others in every run"
    return make_arm("random-any", result, num_rows, size, note)


def _subset_options(
    synthetic: base.Synthetic, data: data_lib.Dataset, num_per_class: int | None
) -> dict[str, int]:
    """How many random real examples there are; raises where arms cannot be made."""
    num_rows, num_classes = len(synthetic.y), data.spec.num_classes
    if not checks.has_classes(data):
        if num_per_class is not None:
            raise errors.InputError(
                f"`num_per_class` is {num_per_class}, but the examples of "
                f'"{data.spec.name}" have targets, not classes; leave it out.'
            )
        return {"num_examples": num_rows}
    checks.check_split(data, "validation")
    checks.classes_of(synthetic.y)  # Raises before a training.
    if num_per_class is None:
        num_per_class = num_rows // num_classes
    return {"num_per_class": num_per_class}


def _synthetic_bytes(synthetic: base.Synthetic) -> int:
    """Bytes of all but the labels, in float32."""
    rest = (synthetic.x, synthetic.weight, synthetic.learning_rate)
    return sum(4 * np.size(leaf) for leaf in jax.tree.leaves(rest))
