# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks that are trained alike: one by one, all at once, or over devices."""

from collections.abc import Callable
from typing import Any, Literal

import jax

from distill_jax import errors
from distill_jax.compute import parallel

__all__ = ["SideBySide", "over_runs", "resolve"]

SideBySide = Literal["auto", "vmap", "map"] | jax.sharding.Mesh


def over_runs(run: Callable, args: Any, side_by_side: str) -> Any:
    """Maps a function of one network over the leading axis of its arguments.

    Args:
      run: of one network.
      args: leaves [R, ...]; those of each device are mapped there.
      side_by_side: ``"vmap"`` or ``"map"``.

    Returns:
      What ``run`` gives, with a leading axis [R].

    Example:
      >>> import jax.numpy as jnp
      >>> over_runs(lambda x: x + 1, jnp.arange(3), "map").tolist()
      [1, 2, 3]
    """
    one_by_one = lambda part: jax.lax.map(run, part)
    local = jax.vmap(run) if side_by_side == "vmap" else one_by_one
    return parallel.spread(local, args, "networks")


def resolve(side_by_side: SideBySide) -> tuple[str, jax.sharding.Mesh | None]:
    """Tells how the networks of one device are trained, and the mesh of devices.

    Args:
      side_by_side: as in :func:`evaluate`.

    Returns:
      ``"vmap"`` or ``"map"``, and the mesh or None.

    Raises:
      InputError: for another word, or a mesh that spreads no networks.

    Example:
      >>> resolve("vmap")
      ('vmap', None)
    """
    usual = "map" if jax.default_backend() == "cpu" else "vmap"
    if isinstance(side_by_side, jax.sharding.Mesh):
        if set(side_by_side.axis_names) & {"data", "classes"}:
            raise errors.InputError(
                "Runs of an evaluation are networks, but the mesh spreads "
                f"{' and '.join(side_by_side.axis_names)}; make it by "
                '`device_mesh(axis="networks")`, or "any".'
            )
        return usual, side_by_side
    if side_by_side == "auto":
        return usual, None
    if side_by_side not in ("vmap", "map"):
        raise errors.InputError(
            f'`side_by_side` is "{side_by_side}"; it must be "auto", "vmap", "map" '
            "or a mesh."
        )
    return side_by_side, None
