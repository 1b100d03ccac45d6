# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What one distilled set teaches to networks of other architectures.

    accuracy[a] = mean_r test(train(architecture a, seed r, distilled set))

A set that was distilled through one network may have learned that network's habits.
Every architecture is trained as the same protocol says, from scratch, and beside it on
as many random real examples where asked for: what is lost against the first network
may be the architecture's own weakness on few examples.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from distill_jax import base, deprecations, errors, nets, tasks
from distill_jax import data as data_lib
from distill_jax.evaluation import checks, results, runs
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.evaluation.comparison import Comparison
from distill_jax.selection import stratified
from distill_jax.types import Key

__all__ = ["Transfer", "transfer"]


@dataclasses.dataclass(frozen=True, eq=False)
class Transfer:
    """One architecture: a line of the table.

    Attributes:
      name: of the network.
      num_parameters: how many numbers it learns; None where it was not built.
      distilled: scores on the test split after training on the distilled set; None
        where the network cannot take the examples.
      random: the same on random real examples; None where not asked for.
      note: why the network cannot take the examples, or how many diverged, else "".
    """

    name: str
    num_parameters: int | None = None
    distilled: results.Evaluation | None = None
    random: results.Evaluation | None = None
    note: str = ""

    def to_row(self) -> dict[str, Any]:
        """The line as plain numbers, under the names that reports use; None for NaN."""
        row: dict[str, Any] = {
            "name": self.name,
            "num_parameters": self.num_parameters,
            "note": self.note,
        }
        if self.distilled is not None:
            told = self.distilled.to_row()
            del told["best_on_test"]  # There is one checkpoint.
            row |= told | {
                "seconds": self.distilled.run_seconds,
                "compile_seconds": self.distilled.compile_seconds,
            }
        if self.random is not None:
            row |= {"random_mean": self.random.mean, "random_sd": self.random.sd}
        return {name: None if value != value else value for name, value in row.items()}


@deprecations.renamed_arguments(mapping="side_by_side")
def transfer(
    key: Key,
    networks: Mapping[str, nets.Net],
    synthetic: base.Synthetic,
    data: data_lib.Dataset,
    protocol: protocol_lib.Protocol,
    *,
    num_runs: int = 5,
    protocols: Mapping[str, protocol_lib.Protocol] | None = None,
    num_random_per_class: int | None = None,
    side_by_side: runs.SideBySide = "auto",
) -> list[Transfer]:
    """Trains networks of several architectures on one distilled set and tests them.

    All architectures get the same keys and the same random examples.

    Args:
      key: of all that is random.
      networks: by the names that the table shows.
      synthetic: the distilled set.
      data: the real data set.
      protocol: how every network is trained.
      num_runs: R, fresh networks of each architecture.
      protocols: by name, for networks that need another one, such as another learning
        rate; choose it on the validation split.
      num_random_per_class: how many random real examples of each class the networks
        are trained on for comparison, drawn anew for every run; None for no comparison.
      side_by_side: as in :func:`~distill_jax.evaluation.runs.evaluate`.

    Returns:
      A :class:`Transfer` for each network, in their order.

    Raises:
      InputError: if the set does not fit the data, a number is below 1, a protocol
        belongs to no network, or a class has too few examples. A network that cannot
        take the examples is not an error: its line says why.

    Example:
      >>> import dataclasses
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> networks = {
      ...     "linear": dj.nets.mlp(10, hidden=()), "vgg11": dj.nets.vgg11(10)}
      >>> lines = dj.evaluation.transfer(
      ...     jax.random.key(0), networks,
      ...     dj.Synthetic(x=jnp.ones((10, 8, 8, 1)), y=jnp.eye(10)), data,
      ...     dj.evaluation.Protocol(num_steps=3), num_runs=2)
      >>> [(line.name, line.num_parameters, line.note[:27]) for line in lines]
      [('linear', 650, ''), ('vgg11', None, 'The network "vgg11" halves ')]

    Reference:
      Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, "Dataset Condensation with Gradient
      Matching", 2021, table 2.
    """
    protocols = dict(protocols or {})
    for name in protocols:
        if name not in networks:
            raise errors.InputError(
                f'There is a protocol for a network "{name}", but no such network. '
                f"{errors.nearest(name, networks)}"
            )
    errors.check_counts(num_runs=num_runs)
    checks.check_split(data, "test")
    checks.check_synthetic(synthetic, data, protocol)
    for other in protocols.values():
        checks.check_synthetic(synthetic, data, other)
    key_distilled, key_subsets, key_random = jax.random.split(key, 3)
    index = None
    if num_random_per_class is not None:
        index = stratified.random_subsets(
            key_subsets, data, num_random_per_class, num_draws=num_runs
        )

    def line(name: str, net: nets.Net) -> Transfer:
        try:
            task = tasks.classification(net, data.spec)
        except errors.InputError as error:
            is_told = isinstance(error.__cause__, errors.InputError)
            return Transfer(name, note=str(error.__cause__ if is_told else error))
        now = protocols.get(name, protocol)
        comparison = Comparison(task, data, now, num_runs, side_by_side)
        distilled = comparison.measure(comparison.train(key_distilled, synthetic))
        random = (
            None if index is None else _random(key_random, comparison, synthetic, index)
        )
        note = _note(distilled, now, synthetic)
        return Transfer(name, _num_parameters(net, data), distilled, random, note)

    return [line(name, net) for name, net in networks.items()]


def _random(
    key: Key, comparison: Comparison, synthetic: base.Synthetic, index: np.ndarray
) -> results.Evaluation:
    """Accuracies after training on random subsets [R, M], with hard labels."""
    y = comparison.one_hot(comparison.data.train.y[index])
    rate = synthetic.learning_rate
    return comparison.measure(comparison.train_subsets(key, index, y, rate))


def _note(
    result: results.Evaluation, protocol: protocol_lib.Protocol, examples: Any
) -> str:
    """What there is to say where networks diverged."""
    try:
        checks.check_converged(result, protocol, examples)
    except errors.DivergedError as error:
        return str(error)
    if not result.num_diverged:
        return ""
    return f"{result.num_diverged} of {len(result.curve)} networks diverged."


def _num_parameters(net: nets.Net, data: data_lib.Dataset) -> int:
    shape = tuple(data.spec.shape)
    variables = jax.eval_shape(lambda: net.init(jax.random.key(0), shape))
    return sum(leaf.size for leaf in jax.tree.leaves(variables.params))
