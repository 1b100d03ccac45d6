# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several processes that run one program: the first one writes, all of them agree.

Every process holds the whole state, so that any number of them can go on from a
checkpoint. What depends on clocks and signals, the size of a chunk and whether to stop,
is decided once for all: processes that took different numbers of steps would wait for
each other forever.
"""

import contextlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from distill_jax import errors
from distill_jax.compute import parallel
from distill_jax.types import PyTree

__all__ = [
    "agree",
    "barrier",
    "by_first",
    "everywhere",
    "fetched",
    "is_first",
    "join",
    "largest",
    "tells_losses",
]


def join(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    patience: int = 100,
) -> bool:
    """Makes this process one of several; before anything else is done with jax.

    Args:
      coordinator: host and port of the first process; None where a TPU pod slice or
        Slurm tells all three.
      num_processes: how many there are.
      process_id: the number of this one, from 0.
      patience: seconds without a sign of life after which a process counts as lost and
        the run ends; one that is merely slow must not take as long.

    Returns:
      Whether this is the first.

    Raises:
      InputError: when the others cannot be reached, or `patience` is below 1.

    Example:
      ``join("10.0.0.1:1234", num_processes=2, process_id=0)``
    """
    if patience < 1:
        raise errors.InputError(
            f"`patience` must be at least 1 second, got {patience}."
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=patience,
        )
    except (RuntimeError, ValueError) as error:
        raise errors.InputError(
            f"The {num_processes or ''} processes could not be joined "
            f"({str(error).splitlines()[0]}); start the same command in each, with "
            "the address of the first."
        ) from error
    return is_first()


def is_first() -> bool:
    """Whether this process writes files and shows progress.

    Example:
      >>> is_first()
      True
    """
    return jax.process_index() == 0


def agree(value: int) -> int:
    """The value that the first process has.

    Example:
      >>> agree(3)
      3
    """
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.broadcast_one_to_all(np.int32(value)))


def by_first(fn: Callable[[], int | None]) -> int | None:
    """What a function returns to the first process, which alone calls it.

    Args:
      fn: returns a number that is not negative, or None.

    Returns:
      Its result, to each process.

    Raises:
      InputError: what `fn` has raised; in the other processes too, which would wait
        for the first otherwise.

    Example:
      >>> by_first(lambda: 3)
      3
    """
    value, error = None, None
    if is_first():
        try:
            value = fn()
        except errors.InputError as raised:
            error = raised
    if agree(int(error is not None)):
        raise error or errors.InputError(
            "The first process of this run was refused; its own sentence says why."
        )
    value = agree(-1 if value is None else value)
    return None if value < 0 else value


def largest(value: int) -> int:
    """The largest value that any process has.

    Example:
      >>> largest(3)
      3
    """
    if jax.process_count() == 1:
        return value
    return int(multihost_utils.process_allgather(np.int32(value)).max())


def everywhere(tree: PyTree) -> PyTree:
    """The same arrays as arrays on the devices of all processes.

    Args:
      tree: arrays that every process has.

    Returns:
      Them, whole on each device; unchanged where there is one process.

    Example:
      >>> everywhere(1.0)
      1.0
    """
    if jax.process_count() == 1:
        return tree
    mesh = parallel.device_mesh()
    replicated = jax.NamedSharding(mesh, jax.sharding.PartitionSpec())

    # An array of this process alone cannot be put on devices of another one.
    return _by_host(tree, lambda leaf: jax.device_put(leaf, replicated))


def fetched(tree: PyTree) -> PyTree:
    """The same arrays, by way of the host: they are bound to no device then.

    Args:
      tree: arrays that this process has.

    Returns:
      Them on the default device, from where a program may move them.

    Example:
      >>> x = jax.device_put(np.ones(2), jax.devices()[0])
      >>> x.committed, fetched(x).committed
      (True, False)
    """
    return _by_host(tree, jnp.asarray)


def _by_host(tree: PyTree, put: Callable[[np.ndarray], jax.Array]) -> PyTree:
    """Takes every array to the host and puts it somewhere, random keys included."""

    def move(leaf):
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
            data = put(np.asarray(jax.random.key_data(leaf)))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        return put(np.asarray(leaf))

    return jax.tree.map(move, tree)


def barrier(name: str) -> None:
    """Waits until all processes are here.

    Args:
      name: of the place, the same for all.

    Example:
      >>> barrier("saved")
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def tells_losses() -> Iterator[None]:
    """Says in a sentence that another process is gone.

    Raises:
      LostProcessError: in place of what a collective operation fails with.

    Example:
      >>> with tells_losses():
      ...     pass
    """
    try:
        yield
    except (TimeoutError, jax.errors.JaxRuntimeError) as error:
        if jax.process_count() == 1:
            raise
        raise errors.LostProcessError(
            f"Of the {jax.process_count()} processes of this run one is gone or cannot "
            f"be reached ({str(error).splitlines()[0][:200]}); start the same command "
            "again in each, it goes on from the last checkpoint."
        ) from error
