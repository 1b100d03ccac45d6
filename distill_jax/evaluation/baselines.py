# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The arms that every comparison needs, all trained as one protocol says.

    real-hard         the whole training set, hard labels
    synthetic-hard    the distilled images, each with the class of its rows
    synthetic-any     the distilled set as it is, with its own labels
    random-any        random real images, as many, hard labels, the same protocol
    random-soft       the same kind of images with labels of an early-stopped expert

An accuracy of a distilled set means little without the fourth and the fifth: soft
labels alone carry much of it. Random images are drawn anew for every run, so that the
spread holds the draw. The expert's epoch is chosen by the students' accuracy on the
validation split; the students of that epoch are then tested, once.

**What is stored.** Real images count with the bytes of their raw array (one for a pixel
and channel), distilled ones with four for a float32; a hard label is 1 byte (2 beyond
256 classes), a soft one ``4 C``, a weight 4, a learned learning rate 4.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from distill_jax import base, errors
from distill_jax import data as data_lib
from distill_jax.evaluation import expert_arm, optimizers, runs
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.evaluation.bench import Arm, Bench, make_arm
from distill_jax.types import Key

__all__ = ["arms", "random_subsets", "synthetic_arm"]


def arms(
    key: Key,
    task: base.Task,
    synthetic: base.Synthetic,
    data: data_lib.Dataset,
    protocol: protocol_lib.Protocol,
    num_per_class: int,
    *,
    num_runs: int = 5,
    num_real_steps: int | None = None,
    expert: expert_arm.ExpertSettings | None = None,
    num_checkpoints: int = 1,
    mapping: runs.Mapping = "auto",
) -> list[Arm]:
    """Trains and tests the five arms.

    With a learned learning rate every arm uses it, as every arm uses all else of the
    protocol.

    Args:
      key: of all that is random.
      task: has the network.
      synthetic: the distilled set, class-major.
      data: the real data set, with a validation split.
      protocol: how every network is trained.
      num_per_class: how many random real images each class gets.
      num_runs: R, networks for each arm.
      num_real_steps: how many mini-batches of the whole training set are learned
        from; by default as many as the distilled set gets.
      expert: how soft labels are made.
      num_checkpoints: K, at how many moments of each training the test accuracy is
        noted for ``best_on_test``; nothing is chosen by it.
      mapping: as in :func:`~distill_jax.evaluation.runs.evaluate`.

    Returns:
      The five arms in the order above.

    Raises:
      InputError: if a number is below 1, the sets do not fit each other, a class has
        too few examples, the rows are no multiple of the classes, or the validation
        split is empty.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> from distill_jax.evaluation import baselines
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), data.spec)
      >>> set_of_ones = dj.Synthetic(x=jnp.ones((10, 8, 8, 1)), y=jnp.eye(10))
      >>> five = baselines.arms(
      ...     jax.random.key(0), task, set_of_ones, data,
      ...     dj.evaluation.Protocol(num_steps=30), num_per_class=1, num_runs=2,
      ...     expert=dj.evaluation.ExpertSettings(num_epochs=2, epochs=[2]))
      >>> [(arm.name, arm.bytes_stored) for arm in five[2:]]
      [('synthetic-any', 2570), ('random-any', 650), ('random-soft', 1040)]

    Reference:
      Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025.
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024.
    """
    runs.check_counts(num_runs=num_runs, num_checkpoints=num_checkpoints)
    if num_real_steps is not None:
        runs.check_counts(num_real_steps=num_real_steps)
    expert = expert or expert_arm.ExpertSettings()
    runs.check_split(data, "test")
    runs.check_split(data, "validation")
    runs.check_fit(synthetic, data)
    _check_rows(len(synthetic.y), data.spec.num_classes)
    *keys, key_subsets = jax.random.split(key, 6)
    bench = Bench(task, data, protocol, num_runs, mapping, num_checkpoints)
    rate = synthetic.learning_rate
    if num_real_steps is None:
        num_real_steps = optimizers.num_steps(protocol, len(synthetic.y))
    subsets = random_subsets(key_subsets, data, num_per_class, num_draws=num_runs)
    return [
        _real_hard(keys[0], bench, rate, num_real_steps),
        _synthetic_hard(keys[1], bench, synthetic),
        _synthetic_any(keys[2], bench, synthetic),
        _random_any(keys[3], bench, rate, subsets),
        expert_arm.random_soft(keys[4], bench, rate, subsets, expert),
    ]


def synthetic_arm(
    key: Key,
    task: base.Task,
    synthetic: base.Synthetic,
    data: data_lib.Dataset,
    protocol: protocol_lib.Protocol,
    *,
    num_runs: int,
    num_checkpoints: int = 1,
    mapping: runs.Mapping = "auto",
) -> Arm:
    """Trains and tests the arm ``"synthetic-any"`` alone.

    Args:
      key: of all that is random.
      task: has the network.
      synthetic: the distilled set; its rows may lie in any order.
      data: the real data set.
      protocol: how every network is trained.
      num_runs: R, networks.
      num_checkpoints: K, as in :func:`arms`.
      mapping: as in :func:`~distill_jax.evaluation.runs.evaluate`.

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
    bench = Bench(task, data, protocol, num_runs, mapping, num_checkpoints)
    return _synthetic_any(key, bench, synthetic)


def random_subsets(
    key: Key, data: data_lib.Dataset, num_per_class: int, *, num_draws: int
) -> np.ndarray:
    """Draws random examples of every class of the training split.

    Args:
      key: of the draws.
      data: the real data set.
      num_per_class: how many of each class, without replacement.
      num_draws: R.

    Returns:
      [R, C * num_per_class] positions in the training split, class-major.

    Raises:
      InputError: if a class has fewer examples.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax.evaluation import baselines
      >>> data = dj.data.load("digits")
      >>> index = baselines.random_subsets(jax.random.key(0), data, 2, num_draws=3)
      >>> index.shape, data.train.y[index[0, :4]].tolist()
      ((3, 20), [0, 0, 1, 1])
    """
    data_lib.check_num_per_class(data, num_per_class)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    of_class = [
        np.flatnonzero(data.train.y == label) for label in range(data.spec.num_classes)
    ]
    draw = lambda: [rng.choice(rows, num_per_class, replace=False) for rows in of_class]
    return np.stack([np.concatenate(draw()) for _ in range(num_draws)])


def _real_hard(key: Key, bench: Bench, learning_rate: Any, num_steps: int) -> Arm:
    x, classes = bench.data.train
    trained = bench.train(
        key,
        base.Synthetic(x, bench.one_hot(classes), None, learning_rate),
        protocol=dataclasses.replace(
            bench.protocol, num_epochs=None, num_steps=num_steps
        ),
        normalizer=bench.data.spec.normalizer,
    )
    size = x.nbytes + len(x) * bench.hard_label_bytes
    note = f"the whole training set with hard labels, {num_steps} steps"
    return make_arm("real-hard", bench.measure(trained), len(x), size, note)


def _synthetic_hard(key: Key, bench: Bench, synthetic: base.Synthetic) -> Arm:
    num_rows, num_classes = len(synthetic.y), bench.data.spec.num_classes
    classes = np.repeat(np.arange(num_classes), num_rows // num_classes)
    hard = synthetic._replace(y=bench.one_hot(classes))
    size = _synthetic_bytes(synthetic) + num_rows * bench.hard_label_bytes
    note = "the distilled images, each labelled with its class"
    result = bench.measure(bench.train(key, hard))
    return make_arm("synthetic-hard", result, num_rows, size, note)


def _synthetic_any(key: Key, bench: Bench, synthetic: base.Synthetic) -> Arm:
    num_rows = len(synthetic.y)
    result = runs.evaluate(
        bench.task,
        synthetic,
        bench.data,
        protocol=bench.protocol,
        num_runs=bench.num_runs,
        key=key,
        num_checkpoints=bench.num_checkpoints,
        mapping=bench.mapping,
    )
    y = np.asarray(synthetic.y)
    is_hard = np.array_equal(y, bench.one_hot(y.argmax(axis=1)))
    label = bench.hard_label_bytes if is_hard else 4 * y.shape[1]
    size = _synthetic_bytes(synthetic) + num_rows * label
    note = f"the distilled set with its own {'hard' if is_hard else 'soft'} labels"
    return make_arm("synthetic-any", result, num_rows, size, note)


def _random_any(key: Key, bench: Bench, rate: Any, index: np.ndarray) -> Arm:
    y = bench.one_hot(bench.data.train.y[index])
    result = bench.measure(bench.train_subsets(key, index, y, rate))
    num_rows = index.shape[1]
    size = bench.data.train.x[index[0]].nbytes + num_rows * bench.hard_label_bytes
    note = "random real images with hard labels, others in every run"
    return make_arm("random-any", result, num_rows, size, note)


def _check_rows(num_rows: int, num_classes: int) -> None:
    if num_rows % num_classes:
        raise errors.InputError(
            f"The distilled set has {num_rows} rows for {num_classes} classes, so the "
            "class of a row is not known; use one with the same number for every class."
        )


def _synthetic_bytes(synthetic: base.Synthetic) -> int:
    """Bytes of all but the labels, in float32."""
    rest = (synthetic.x, synthetic.weight, synthetic.learning_rate)
    return sum(4 * np.size(leaf) for leaf in jax.tree.leaves(rest))
