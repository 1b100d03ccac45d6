# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The snapshots of experts: in memory or in files, and as parameters of a network."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors
from distill_jax.experts import plan as plans
from distill_jax.types import Array, PyTree

__all__ = ["Buffer", "OnDisk", "Trajectories", "unflatten"]

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
      template: the shapes of the parameters.
      context: [E, ...] of the task that each learned; None for tasks without contexts.
    """

    plan: plans.ExpertPlan
    snapshots: list[np.ndarray]
    accuracy: np.ndarray
    entropy: np.ndarray
    template: PyTree
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
        """
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
        if epoch not in epochs:
            raise errors.InputError(
                f"Epoch {epoch} of the experts was not kept; there are {epochs}."
            )
        vector = jnp.asarray(self.snapshots[expert][epochs.index(epoch)])
        return base.Variables(unflatten(vector, self.template), {})


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
