# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The snapshots of experts: in memory or in files, and as parameters of a network."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors, tasks
from distill_jax.compute import programs
from distill_jax.experts import plan as plans
from distill_jax.training import loop
from distill_jax.types import Array, PyTree

__all__ = ["Buffer", "OnDisk", "Trajectories", "check_is_trajectory", "unflatten"]

# Buffers up to this size are put on the device.
_MAX_DEVICE_BYTES = 2**31


@jax.tree_util.register_static
class OnDisk:
    """Snapshots that stay in their files, read for every step by a callback.

    Args:
      snapshots: one [K, P] for each expert.

    Example:
      >>> OnDisk([np.zeros((3, 2))]).read(np.array([0]), np.array([[0, 2]])).shape
      (1, 2, 2)
    """

    def __init__(self, snapshots: Sequence[np.ndarray]):
        self.snapshots = snapshots
        self.num_params, self.dtype = snapshots[0].shape[1], snapshots[0].dtype

    def read(self, index: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The rows [A, R] of the experts [A], as [A, R, P]."""
        pairs = zip(np.asarray(index), np.asarray(rows), strict=True)
        return np.stack([self.snapshots[int(expert)][row] for expert, row in pairs])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Trajectories:
    """What the sampler of segments draws from; an argument of jitted functions."""

    snapshots: Any  # [E, K, P] on the device, or `OnDisk`
    num_experts: int = dataclasses.field(metadata={"static": True})
    first_epoch: int = dataclasses.field(metadata={"static": True})
    last_epoch: int = dataclasses.field(metadata={"static": True})
    context: PyTree = None  # [E, ...] of the task that each learned; None without


@dataclasses.dataclass(frozen=True, eq=False)
class Buffer:
    """Experts that were trained, and what is known of them.

    Attributes:
      plan: how they were trained.
      snapshots: one [K, P] for each expert, in memory or mapped from its file.
      accuracy: [E, num_epochs + 1] on the validation split, after every epoch; NaN
        where examples have no classes.
      entropy: [E, num_epochs + 1] nats, of the labels they give there.
      template: the shapes of the variables, parameters and running statistics.
      context: [E, ...] of the task that each learned; None for tasks without contexts.
    """

    plan: plans.ExpertPlan
    snapshots: list[np.ndarray]
    accuracy: np.ndarray
    entropy: np.ndarray
    template: base.Variables
    context: PyTree = None

    def __str__(self) -> str:
        end = 100 * self.accuracy[:, -1]
        judged = f"validation accuracy {end.mean():.1f} ± {end.std():.1f} %, "
        return (
            f"{self.plan.num_experts} experts of {self.plan.num_epochs} epochs: "
            f"{judged if np.isfinite(end).all() else ''}"
            f"{sum(one.nbytes for one in self.snapshots) / 2**20:.1f} MiB"
        )

    def to_source(self, *, max_bytes: int = _MAX_DEVICE_BYTES) -> Trajectories:
        """What samplers draw from: on the device where it fits, else from the files.

        Args:
          max_bytes: the most that is put on the device.

        Raises:
          InputError: when the networks have batch norm.
        """
        check_is_trajectory(self.template)
        epochs = self.plan.kept()
        contiguous = [e for i, e in enumerate(epochs) if e == epochs[0] + i]
        size = sum(one.nbytes for one in self.snapshots)
        snapshots: Any = OnDisk(self.snapshots)
        if size <= max_bytes:
            snapshots = jnp.asarray(np.stack(self.snapshots))
        return Trajectories(
            snapshots,
            len(self.snapshots),
            contiguous[0],
            contiguous[-1],
            jax.tree.map(jnp.asarray, self.context),
        )

    def context_of(self, expert: int) -> Any:
        """The context that an expert learned in; None for tasks without contexts."""
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[expert]), self.context)

    def at(self, expert: int, epoch: int) -> base.Variables:
        """The variables of an expert after an epoch that was kept.

        Raises:
          InputError: when that epoch was not kept.
        """
        epochs = self.plan.kept()
        _check_known("epoch", [epoch], epochs)
        vector = jnp.asarray(self.snapshots[expert][epochs.index(epoch)])
        return unflatten(vector, self.template)

    def logits(
        self,
        task: base.Task,
        images: Any,
        *,
        experts: Sequence[int] | None = None,
        epochs: Sequence[int] | None = None,
        normalizer: Any = None,
    ) -> Array:
        """What experts say of images after some of their epochs, in one program.

        Args:
          task: that the experts were trained for.
          images: [N, ...] raw ones where a normaliser is given.
          experts: E numbers of experts; all by default.
          epochs: K epochs that were kept; all of them by default.
          normalizer: a :class:`~distill_jax.data.Normalizer`.

        Returns:
          [E, K, N, C]. Running statistics of batch norm are those of the epoch.

        Raises:
          InputError: when an epoch was not kept, or there is no such expert.

        Example:
          >>> import distill_jax as dj
          >>> digits = dj.data.load("digits")
          >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
          >>> plan = dj.experts.ExpertPlan(num_experts=2, num_epochs=3)
          >>> buffer = dj.experts.make_buffer(plan, task, digits)
          >>> buffer.logits(task, digits.test.x[:5], epochs=[1, 3],
          ...     normalizer=digits.spec.normalizer).shape
          (2, 2, 5, 10)
        """
        kept = self.plan.kept()
        epochs = kept if epochs is None else list(epochs)
        everyone = range(len(self.snapshots))
        experts = list(everyone if experts is None else experts)
        _check_known("epoch", epochs, kept)
        _check_known("expert", experts, everyone)
        rows = [kept.index(epoch) for epoch in epochs]
        vectors = np.concatenate([self.snapshots[expert][rows] for expert in experts])
        number = np.repeat(np.array(experts), len(epochs))
        context = jax.tree.map(lambda leaf: np.asarray(leaf)[number], self.context)
        said = programs.call(
            _labelling_program,
            task,
            (),
            jnp.asarray(vectors),
            jax.tree.map(jnp.asarray, context),
            jnp.asarray(images),
            normalizer,
        ).value
        return said.reshape(len(experts), len(epochs), *said.shape[1:])


def unflatten(vector: Array, template: PyTree) -> PyTree:
    """Parameters from one row of a buffer, in the type of the template.

    Args:
      vector: [P].
      template: a tree of arrays or shapes.

    Returns:
      The tree.

    Raises:
      InputError: when the sizes differ.

    Example:
      >>> template = {"a": jax.ShapeDtypeStruct((2, 1), "float32")}
      >>> unflatten(jnp.arange(2.0), template)["a"].shape
      (2, 1)
    """
    leaves, treedef = jax.tree.flatten(template)
    sizes = [leaf.size for leaf in leaves]
    if vector.shape != (sum(sizes),):
        raise errors.InputError(
            f"A row of the buffer has {vector.size} parameters, the network "
            f"{sum(sizes)}; the experts are of another network."
        )
    parts = jnp.split(vector, np.cumsum(sizes)[:-1])
    return treedef.unflatten(
        part.reshape(leaf.shape).astype(leaf.dtype)
        for part, leaf in zip(parts, leaves, strict=True)
    )


def check_is_trajectory(variables: base.Variables) -> None:
    """Raises for networks whose training is no path of parameters alone.

    Args:
      variables: of a network, or their shapes.

    Raises:
      InputError: when the network has batch norm.

    Example:
      >>> check_is_trajectory(base.Variables({"w": np.zeros(2)}, {}))
    """
    if jax.tree.leaves(variables.stats):
        raise errors.InputError(
            "The network has batch norm, whose running statistics are no parameters, "
            "so that its trajectory cannot be matched; use instance norm."
        )


def _labelling_program(task):
    """(vectors [R, P], contexts [R], images [N], normaliser) -> logits [R, N, C]."""
    template = tasks.network_shapes(task)

    def program(vectors, contexts, images, normalizer):
        def one(args):
            vector, context = args
            variables = unflatten(vector, template)
            return loop.predict_logits(
                task, variables, images, normalizer=normalizer, context=context
            )

        return jax.lax.map(one, (vectors, contexts))

    return program


def _check_known(what: str, wanted: Sequence[int], known: Sequence[int]) -> None:
    """Raises for an epoch or an expert that there is not."""
    for number in wanted:
        if number not in known:
            verb = "was not kept" if what == "epoch" else "is not there"
            raise errors.InputError(
                f"{what.capitalize()} {number} of the experts {verb}; there are "
                f"{list(known)}."
            )
