# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Judges a distilled set: fresh networks are trained on it, and tested on real data.

    score_r = mean_n metric(f(theta_r, x_n), y_n),   r = 1, ..., R networks

where the task says what the metric is; of classes the accuracy. All networks are
trained in one compiled program. The score is that at the *end* of training. The best
moment as seen on the test set, which many papers report, is there only when asked for,
under the name ``best_on_test``, and nothing is ever chosen by it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, deprecations, errors, tasks
from distill_jax import data as data_lib
from distill_jax.compute import programs
from distill_jax.evaluation import checks, results, testing, training
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.evaluation import side_by_side as side_by_side_lib
from distill_jax.evaluation.side_by_side import SideBySide
from distill_jax.types import Key

__all__ = [
    "Trained",
    "evaluate",
    "measure",
    "train_networks",
]


class Trained(NamedTuple):
    """Networks that were trained alike."""

    variables: base.Variables  # [R, K, ...]
    contexts: Any  # [R, ...], or None
    compile_seconds: float
    run_seconds: float
    has_diverged: Any = None  # [R, K] bool; None where it was not looked at


@deprecations.renamed_arguments(mapping="side_by_side")
def evaluate(
    task: base.Task,
    synthetic: Any,
    data: data_lib.Dataset,
    *,
    protocol: protocol_lib.Protocol,
    num_runs: int,
    key: Key,
    split: str = "test",
    num_checkpoints: int = 1,
    side_by_side: SideBySide = "auto",
    allow_diverged: bool = False,
) -> results.Evaluation:
    """Trains fresh networks on a distilled set and tests them on real data.

    A second call with a set of the same shapes, the same task and the same protocol
    compiles nothing.

    Args:
      task: has the network, and says by which metrics it is judged.
      synthetic: M rows; labels of the protocol's kind.
      data: the real data set; its raw inputs are normalised inside the program.
      protocol: how to train.
      num_runs: R, how many networks.
      key: of all that is random.
      split: ``"test"``, ``"validation"`` or ``"train"``.
      num_checkpoints: K, at how many moments of the training to test.
      side_by_side: how the networks of one device are trained: ``"vmap"``, all at once;
        ``"map"``, one after the other; or, with ``"auto"``, what is faster: ``"map"``
        on CPU. A mesh of :func:`distill_jax.compute.parallel.device_mesh` with the axis
        ``"networks"`` gives each of its devices some of the networks.
      allow_diverged: whether there is a result even if all networks diverge.

    Returns:
      An :class:`~distill_jax.evaluation.results.Evaluation`.

    Raises:
      InputError: if the set does not fit the data, its labels are not what the protocol
        says, the split is unknown or empty, a number is below 1, or the learned
        learning rate is asked for and missing or not positive.
      DivergedError: if all networks diverge, so that no outputs are finite.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(32,)), data.spec)
      >>> first = [int((data.train.y == c).argmax()) for c in range(10)]
      >>> x = dj.data.normalize(data.spec.normalizer, data.train.x[jnp.array(first)])
      >>> result = dj.evaluation.evaluate(
      ...     task, dj.Synthetic(x=x, y=jnp.eye(10)), data, num_runs=2,
      ...     protocol=dj.evaluation.Protocol(num_steps=100), key=jax.random.key(0))
      >>> result.accuracies.shape, 0.4 < result.mean < 0.8
      ((2,), True)
    """
    checks.check_split(data, split, task)
    checks.check_synthetic(synthetic, data, protocol)
    trained = train_networks(
        key,
        task,
        synthetic,
        protocol,
        num_runs=num_runs,
        num_checkpoints=num_checkpoints,
        side_by_side=side_by_side,
    )
    result = measure(task, trained, data, split=split, side_by_side=side_by_side)
    if not allow_diverged:
        checks.check_converged(result, protocol, synthetic)
    return result


@deprecations.renamed_arguments(mapping="side_by_side")
def train_networks(
    key: Key,
    task: base.Task,
    examples: Any,
    protocol: protocol_lib.Protocol,
    *,
    num_runs: int,
    normalizer: Any = None,
    is_stacked: bool = False,
    num_checkpoints: int = 1,
    side_by_side: SideBySide = "auto",
) -> Trained:
    """Trains fresh networks in one compiled program.

    Args:
      key: split into one for each network.
      task: has the network.
      examples: :class:`~distill_jax.base.Examples` or
        :class:`~distill_jax.base.Synthetic`, M rows with labels [M, C].
      protocol: how to train.
      num_runs: R.
      normalizer: for raw inputs.
      is_stacked: whether ``examples`` has a leading axis R: another set for each run.
      num_checkpoints: K, how many moments to keep.
      side_by_side: as in :func:`evaluate`.

    Returns:
      A :class:`Trained`.

    Raises:
      InputError: if a number is below 1, or the learned learning rate is asked for and
        missing.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax.evaluation import runs
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> ones = dj.Synthetic(x=jax.numpy.ones((10, 8, 8, 1)), y=jax.numpy.eye(10))
      >>> trained = runs.train_networks(
      ...     jax.random.key(0), task, ones, dj.evaluation.Protocol(num_steps=5),
      ...     num_runs=3)
      >>> {leaf.shape[:2] for leaf in jax.tree.leaves(trained.variables)}
      {(3, 1)}
    """
    errors.check_counts(num_runs=num_runs, num_checkpoints=num_checkpoints)
    # Through the host: small, and it may lie on other devices than the program.
    examples = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), examples)
    normalizer = jax.tree.map(jnp.asarray, normalizer)
    kind, mesh = side_by_side_lib.resolve(side_by_side)
    outcome = programs.call(
        _training_program,
        task,
        (protocol, is_stacked, num_checkpoints, kind),
        jax.random.split(key, num_runs),
        examples,
        normalizer,
        mesh=mesh,
    )
    variables, contexts, has_diverged = outcome.value
    return Trained(
        variables,
        contexts,
        outcome.compile_seconds,
        outcome.run_seconds,
        has_diverged,
    )


@deprecations.renamed_arguments(mapping="side_by_side")
def measure(
    task: base.Task,
    trained: Trained,
    data: data_lib.Dataset,
    *,
    split: str = "test",
    side_by_side: SideBySide = "auto",
) -> results.Evaluation:
    """Tests trained networks on one split.

    Args:
      task: what they were trained with.
      trained: from :func:`train_networks`.
      data: the real data set.
      split: ``"test"``, ``"validation"`` or ``"train"``.
      side_by_side: as in :func:`evaluate`.

    Returns:
      An :class:`~distill_jax.evaluation.results.Evaluation`; its seconds include
      those of the training.

    Raises:
      InputError: if the split is unknown or empty.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax.evaluation import runs
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> ones = dj.Synthetic(x=jax.numpy.ones((10, 8, 8, 1)), y=jax.numpy.eye(10))
      >>> trained = runs.train_networks(
      ...     jax.random.key(0), task, ones, dj.evaluation.Protocol(num_steps=5),
      ...     num_runs=3)
      >>> runs.measure(task, trained, data, split="validation").accuracies.shape
      (3,)
    """
    checks.check_split(data, split, task)
    held_out = testing.hold_out(data, split)
    kind, mesh = side_by_side_lib.resolve(side_by_side)
    outcome = programs.call(
        testing.judging_program,
        task,
        (kind,),
        trained.variables,
        trained.contexts,
        held_out,
        mesh=mesh,
    )
    sums, values, has_diverged = jax.device_get(outcome.value)
    curves = {name: np.asarray(each, np.float64) for name, each in values.items()}
    for name, each in sums.items():
        curves[name] = np.asarray(each, np.float64) / len(held_out.y)
    metrics = tasks.metrics_of(task)[1]
    if trained.has_diverged is not None:
        is_lost = np.asarray(trained.has_diverged)
        has_diverged = has_diverged | is_lost
        for metric in metrics:
            worst = np.nan if metric.worst is None else metric.worst
            curves[metric.name] = np.where(is_lost, worst, curves[metric.name])
    return results.summarize(
        curves,
        metrics,
        is_test=split == "test",
        num_diverged=int(has_diverged[:, -1].sum()),
        compile_seconds=trained.compile_seconds + outcome.compile_seconds,
        run_seconds=trained.run_seconds + outcome.run_seconds,
    )


def _training_program(task, protocol, is_stacked, num_checkpoints, side_by_side):
    """(keys [R], examples, normalizer) -> variables [R, K, ...], contexts, [R, K]."""

    def one_run(key, examples, normalizer):
        if is_stacked and normalizer is not None:  # A small set: normalise it once.
            x = data_lib.normalize(normalizer, examples.x)
            examples, normalizer = examples._replace(x=x), None
        what = (task, examples, protocol)
        trained = training.train(
            key, *what, normalizer=normalizer, num_checkpoints=num_checkpoints
        )
        has_diverged = training.has_diverged(key, *what, trained, normalizer=normalizer)
        return *trained, has_diverged

    def program(keys, examples, normalizer):
        if is_stacked:
            run = lambda pair: one_run(pair[0], pair[1], normalizer)
            return side_by_side_lib.over_runs(run, (keys, examples), side_by_side)
        run = lambda key: one_run(key, examples, normalizer)
        return side_by_side_lib.over_runs(run, keys, side_by_side)

    return program
