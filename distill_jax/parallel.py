# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Many devices: real data are sharded, independent networks are mapped.

Matching losses are nonlinear in a batch mean, so averaging their gradients over slices
of the batch changes the algorithm. Data are therefore sharded under a global view
(``jit`` + ``NamedSharding``), where the numbers are those of one device.
"""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from distill_jax import base, errors

__all__ = ["device_mesh", "shard_batches"]

_AXIS = "data"


def device_mesh(num_devices: int | None = None) -> Mesh:
    """A one-dimensional mesh over the devices at hand.

    Args:
      num_devices: how many to use; all of them by default.

    Returns:
      A mesh with one axis called ``"data"``.

    Raises:
      InputError: when there are fewer devices.

    Example:
      >>> device_mesh(1).shape["data"]
      1
    """
    devices = jax.devices()
    num_devices = len(devices) if num_devices is None else num_devices
    if not 1 <= num_devices <= len(devices):
        raise errors.InputError(
            f"A mesh of {num_devices} devices was asked for, but there are "
            f"{len(devices)}."
        )
    # The default axis type (Explicit) breaks sorts and some contractions.
    return jax.make_mesh(
        (num_devices,), (_AXIS,), (AxisType.Auto,), devices=devices[:num_devices]
    )


def shard_batches(sampler: base.Sampler, mesh: Mesh, *, axis: int) -> base.Sampler:
    """Spreads the examples of every batch over the devices of a mesh.

    Args:
      sampler: any sampler; the data set itself stays whole on each device.
      mesh: from :func:`device_mesh`.
      axis: the axis of the examples in the batch: 0 for ``[B, ...]``, 1 for the
        per-class ``[C, B, ...]``. Its length must be a multiple of the devices. In a
        :class:`~distill_jax.base.Pair` it is that of ``match``; for ``train`` it is 0.

    Returns:
      A sampler of the same numbers, with every field sharded along that axis.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> sampler = shard_batches(dj.samplers.uniform(32), device_mesh(), axis=0)
      >>> source = dj.data.to_source(dj.data.load("digits"))
      >>> jax.jit(sampler)(jax.random.key(0), 0, source).x.shape
      (32, 8, 8, 1)
    """

    def place(examples, axis: int):
        sharding = NamedSharding(mesh, PartitionSpec(*[None] * axis, _AXIS))
        constrain = lambda leaf: jax.lax.with_sharding_constraint(leaf, sharding)
        return jax.tree.map(constrain, examples)

    def sample(key, step, source):
        batch = sampler(key, step, source)
        if isinstance(batch, base.Pair):
            return base.Pair(place(batch.match, axis), place(batch.train, 0))
        return place(batch, axis)

    return sample
