# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiled programs that are kept: the next set of the same shape compiles nothing.

Functions are closed over and arrays are arguments, so a program is known by what it was
built from (the very same task, the protocol, the numbers), the shapes it takes and the
mesh it is spread over.
"""

import functools
import time
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax

from distill_jax import base
from distill_jax.compute import compiling, parallel

__all__ = ["Outcome", "call"]


class Outcome(NamedTuple):
    """What a program returned, and how long it took."""

    value: Any
    compile_seconds: float  # 0 where the program was compiled before
    run_seconds: float


def call(
    build: Callable[..., Callable[..., Any]],
    task: base.Task,
    static: tuple[Hashable, ...],
    *args: Any,
    mesh: jax.sharding.Mesh | None = None,
) -> Outcome:
    """Compiles a function of arrays if it is new, and runs it to the end.

    Args:
      build: ``(task, *static) -> function of args``; a module-level function.
      task: told from others by identity.
      static: plain facts, told from others by equality.
      *args: pytrees of arrays.
      mesh: of devices, see :func:`distill_jax.compute.parallel.over_mesh`, or None.

    Returns:
      An :class:`Outcome`.

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax.compute import programs
      >>> build = lambda task, factor: lambda x: factor * x
      >>> first = programs.call(build, None, (3,), jnp.arange(2))
      >>> again = programs.call(build, None, (3,), jnp.ones(2, jnp.int32))
      >>> again.value.tolist(), first.compile_seconds > 0, again.compile_seconds
      ([3, 3], True, 0.0)
    """
    sharding = mesh and jax.NamedSharding(mesh, jax.sharding.PartitionSpec())
    if sharding is not None:
        args = jax.device_put(args, sharding)
    leaves, treedef = jax.tree.flatten(args)
    avals = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    num_misses = _compiled.cache_info().misses
    started = time.perf_counter()
    program = _compiled(build, _ByIdentity(task), static, treedef, avals, mesh)
    is_new = _compiled.cache_info().misses > num_misses
    compiled = time.perf_counter()
    value = jax.block_until_ready(program(*args))
    ended = time.perf_counter()
    return Outcome(value, compiled - started if is_new else 0.0, ended - compiled)


class _ByIdentity:
    """A task as part of a key: its fields (a dictionary among them) have no hash."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and self.value is other.value


@functools.lru_cache(maxsize=16)
def _compiled(build, task, static, treedef, avals, mesh):
    args = jax.tree.unflatten(treedef, avals)
    program = parallel.over_mesh(build(task.value, *static), mesh)
    if mesh is None:
        return compiling.ahead_of_time(program, *args)
    everywhere = jax.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return compiling.ahead_of_time(program, *args, in_shardings=everywhere)
