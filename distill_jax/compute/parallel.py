# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Many devices: real data are sharded, independent networks are mapped.

Matching losses are nonlinear in a batch mean, so averaging their gradients over slices
of the batch changes the algorithm. Data are therefore sharded under a global view
(``jit`` + ``NamedSharding``), where the numbers are those of one device. What is
independent, networks and classes, is mapped instead: each device takes some of them.

What a mesh spreads is the name of its axis: ``"data"``, ``"networks"`` (members of a
pool, experts, the runs of an evaluation), ``"classes"`` (the sums that the matching
methods take for each class), ``"examples"`` (gradients that are sums over a batch, and
features), or ``"any"`` of the last three, whichever comes first from outside.
:func:`over_mesh` gives a function, such as the step of a method, in which all of that
is spread.
"""

import contextvars
import functools
from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, PartitionSpec

from distill_jax import errors
from distill_jax.compute import mesh_types
from distill_jax.types import PyTree

__all__ = [
    "Axis",
    "device_mesh",
    "num_devices",
    "over_mesh",
    "over_networks",
    "spread",
]

Axis = Literal["data", "networks", "classes", "examples", "any"]
Backend = Literal["shard_map", "pmap"]

# Of five networks on two devices one sixth of the work would be done for nothing; the
# examples that each network sees can be shared evenly.
_MOST_IDLE = 0.1

# Of the function that is being traced. (JAX has such a variable of its own, but there a
# mapped function may not close over arrays of the program around it.)
_MESH: contextvars.ContextVar[Mesh | None] = contextvars.ContextVar(
    "mesh", default=None
)


def device_mesh(num: int | None = None, *, axis: Axis = "data") -> Mesh:
    """A one-dimensional mesh over the devices at hand, of all hosts.

    Args:
      num: how many to use; all of them by default.
      axis: what is spread over it.

    Returns:
      A mesh with one axis of that name.

    Raises:
      InputError: when there are fewer devices, or nothing of that name is spread.

    Example:
      >>> device_mesh(1).shape["data"]
      1
    """
    devices = jax.devices()
    num = len(devices) if num is None else num
    if not 1 <= num <= len(devices):
        raise errors.InputError(
            f"A mesh of {num} devices was asked for, but there are {len(devices)}."
        )
    if axis not in get_args(Axis):
        raise errors.InputError(
            f'"{axis}" cannot be spread over devices. '
            f"{errors.nearest(str(axis), get_args(Axis))}"
        )
    # The default axis type (Explicit) breaks sorts and some contractions.
    return jax.make_mesh((num,), (axis,), (AxisType.Auto,), devices=devices[:num])


def over_mesh(fn: Callable[..., Any], mesh: Mesh | None) -> Callable[..., Any]:
    """A function in which what is independent is spread over the devices of a mesh.

    Args:
      fn: any function of the library, or one that uses it; to be jitted afterwards,
        for what was traced before knows of no mesh.
      mesh: from :func:`device_mesh`, with any axis but ``"data"``; None for one
        device.

    Returns:
      A function of the same numbers, up to the order of sums.

    Raises:
      InputError: for a mesh with the axis ``"data"``, and a function that is jitted.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10), data.spec)
      >>> method = dj.methods.dm(task, num_per_class=1, batch_size=8).method
      >>> step = jax.jit(over_mesh(method.step, device_mesh(axis="classes")))
    """
    if mesh is not None and "data" in mesh.axis_names:
        raise errors.InputError(
            "A mesh of data spreads what a sampler draws: use `recipes.shard_batches`; "
            'here it would do nothing. Networks need `device_mesh(axis="networks")`.'
        )
    if mesh is not None and isinstance(fn, jax.stages.Wrapped):
        raise errors.InputError(
            f"`{getattr(fn, '__name__', fn)}` is jitted already, and what was traced "
            "without a mesh would be spread over none: pass the function itself, and "
            "jit what comes out, `jax.jit(over_mesh(fn, mesh))`."
        )

    @functools.wraps(fn)
    def traced(*args, **kwargs):
        token = _MESH.set(mesh)
        if mesh is not None:
            args, kwargs = mesh_types.without_mesh((args, kwargs))
        try:
            return fn(*args, **kwargs)
        finally:
            _MESH.reset(token)

    return traced


def num_devices(axis: Axis) -> int:
    """How many devices share this axis in a function of :func:`over_mesh`, else 1.

    Example:
      >>> over_mesh(num_devices, device_mesh(1, axis="networks"))("networks")
      1
    """
    mesh = _MESH.get()
    if mesh is None or not {axis, "any"} & set(mesh.axis_names):
        return 1
    return mesh.size


def spread(fn: Callable[[PyTree], PyTree], stacked: PyTree, axis: Axis) -> PyTree:
    """Lets each device apply a function to its share; see :func:`over_mesh`.

    Args:
      fn: maps a tree with a leading axis to another, row by row.
      stacked: the tree, ``[N, ...]``. Where ``N`` is no multiple of the devices the
        last row is done several times; a single row is left to what is inside of it.
      axis: what the rows are; where no mesh of that axis is there, ``fn`` gets all.

    Returns:
      What ``fn`` returns for the whole tree; inside and outside of jit, and
      differentiable, also in what ``fn`` closes over.

    Example:
      >>> import jax.numpy as jnp
      >>> spread(lambda rows: 2 * rows, jnp.arange(3), "networks").tolist()
      [0, 2, 4]
    """
    mesh = _MESH.get()
    num_rows = jax.tree.leaves(stacked)[0].shape[0]
    if mesh is None or num_devices(axis) == 1 or num_rows == 1:
        return fn(stacked)
    idle = -num_rows % mesh.size / num_rows
    if axis == "networks" and "any" in mesh.axis_names and idle > _MOST_IDLE:
        return fn(stacked)  # The examples that each of them sees are shared instead.
    share = _shared(over_mesh(fn, None), mesh, num_shared=0)
    return _in_shares(share, stacked, mesh.size)


def over_networks(
    fn: Callable[..., PyTree],
    *,
    backend: Backend = "shard_map",
    mesh: Mesh | None = None,
) -> Callable[..., PyTree]:
    """Maps a function over independent networks, some on each device.

    Args:
      fn: ``(one network's tree, *shared) -> tree``. Each device takes its networks one
        after the other.
      backend: ``"shard_map"``, for use inside jit, or ``"pmap"``, outside of it.
      mesh: from :func:`device_mesh`, with the axis ``"networks"``; all devices by
        default.

    Returns:
      ``(stacked [N, ...], *shared) -> [N, ...]``; ``shared`` is the same for all.

    Raises:
      InputError: for another backend.

    Example:
      >>> import jax.numpy as jnp
      >>> scaled = over_networks(lambda x, factor: factor * x)
      >>> scaled(jnp.arange(3.0), 2.0).tolist()
      [0.0, 2.0, 4.0]
      >>> over_networks(lambda x: -x, backend="pmap")(jnp.arange(2.0)).tolist()
      [-0.0, -1.0]
    """
    if backend not in get_args(Backend):
        raise errors.InputError(
            f'There is no backend "{backend}" for many devices. '
            f"{errors.nearest(str(backend), get_args(Backend))}"
        )
    mesh = device_mesh(axis="networks") if mesh is None else mesh

    def local(part: PyTree, *shared: PyTree) -> PyTree:
        return jax.lax.map(lambda one: fn(one, *shared), part)

    def by_shard_map(stacked: PyTree, *shared: PyTree) -> PyTree:
        share = _shared(local, mesh, num_shared=len(shared))
        return _in_shares(lambda rows: share(rows, *shared), stacked, mesh.size)

    def by_pmap(stacked: PyTree, *shared: PyTree) -> PyTree:
        in_axes = (0, *[None] * len(shared))
        share = jax.pmap(local, in_axes=in_axes, devices=list(mesh.devices.flat))
        fold = lambda leaf: leaf.reshape(mesh.size, -1, *leaf.shape[1:])
        unfold = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
        in_shares = lambda rows: jax.tree.map(
            unfold, share(jax.tree.map(fold, rows), *shared)
        )
        return _in_shares(in_shares, stacked, mesh.size)

    return by_pmap if backend == "pmap" else by_shard_map


def _shared(fn: Callable, mesh: Mesh, *, num_shared: int) -> Callable:
    """Lets each device see its rows of the first argument, and all of the others."""
    rows, all_ = PartitionSpec(*mesh.axis_names), PartitionSpec()
    # Scans inside begin with constants, which the check of what varies would refuse.
    mapped = jax.shard_map(
        fn,
        mesh=mesh,
        in_specs=(rows, *[all_] * num_shared),
        out_specs=rows,
        check_vma=False,
    )
    # The next function that is shared may close over what this one returns.
    return lambda *args: mesh_types.without_mesh(mapped(*args))


def _in_shares(fn: Callable, stacked: PyTree, num_shares: int) -> PyTree:
    """Fills up to a multiple of the devices, and drops what that added."""
    num_rows = jax.tree.leaves(stacked)[0].shape[0]
    rows = jnp.minimum(
        jnp.arange(-(-num_rows // num_shares) * num_shares), num_rows - 1
    )
    take = lambda leaf: leaf if len(rows) == num_rows else leaf[rows]
    out = fn(jax.tree.map(take, stacked))
    return jax.tree.map(lambda leaf: leaf[:num_rows], out)
