# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run will need, before it is begun: compilation, memory, time."""

import time
from typing import Any, NamedTuple

import jax

from distill_jax import base, errors
from distill_jax.compute import compiling, memory
from distill_jax.runtime import runner, scan
from distill_jax.types import Key

__all__ = ["Forecast", "forecast"]

_TIMED_SECONDS = 2.0


class Forecast(NamedTuple):
    """What the loop of a run needs on each device."""

    num_steps: int
    compile_seconds: float
    peak_bytes: int  # of the loop, the data set included
    source_bytes: int  # of the data set as samplers draw from it
    memory_bytes: int  # that the device has
    steps_per_second: float | None  # None where the loop does not fit

    @property
    def fits(self) -> bool:
        """Whether the memory of the device is enough."""
        return self.peak_bytes <= self.memory_bytes

    @property
    def run_seconds(self) -> float | None:
        """Of all steps; None where they were not timed."""
        if self.steps_per_second is None:
            return None
        return self.num_steps / self.steps_per_second


def forecast(
    recipe: base.Recipe,
    data: Any,
    *,
    num_steps: int,
    key: Key,
    memory_bytes: int | None = None,
) -> Forecast:
    """Compiles the loop of :func:`distill_jax.run` and takes some of its steps.

    Memory is what the compiler says of the program; steps are timed for about two
    seconds, and not at all where the program does not fit. Nothing is written.

    Args:
      recipe: what is to be run.
      data: the data set.
      num_steps: of the whole run.
      key: of the run.
      memory_bytes: what there is on the device that is meant; by default on this one.

    Returns:
      A :class:`Forecast`.

    Raises:
      InputError: as :func:`distill_jax.run`.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> recipe = dj.methods.dm(task, num_per_class=1, batch_size=8)
      >>> estimate = forecast(recipe, data, num_steps=100, key=jax.random.key(0))
      >>> estimate.fits, estimate.run_seconds > 0
      (True, True)
      >>> estimate.peak_bytes > estimate.source_bytes > 50_000
      True
    """
    if num_steps < 1:
        raise errors.InputError(f"`num_steps` must be at least 1, got {num_steps}.")
    key_initial, key_init, key_run = jax.random.split(key, 3)
    initial = recipe.initial_fn(key_initial, data)
    state = compiling.jit(recipe.method.init)(key_init, initial)
    # A leaf may be there twice, which cannot be donated.
    state = jax.tree.map(lambda leaf: leaf.copy(), state)
    source = recipe.source_fn(data)
    compiled = scan.compile_steps(
        recipe.method,
        recipe.sampler,
        num_steps=runner.CHUNK_CAPACITY,
        arguments=(key_run, state, source),
    )
    if memory_bytes is None:
        memory_bytes = memory.device_memory(compiled.num_local_devices)
    estimate = Forecast(
        num_steps=num_steps,
        compile_seconds=compiled.seconds,
        peak_bytes=compiled.peak_bytes,
        source_bytes=sum(
            leaf.nbytes for leaf in jax.tree.leaves(source) if hasattr(leaf, "nbytes")
        ),
        memory_bytes=memory_bytes,
        steps_per_second=None,
    )
    if not estimate.fits:
        return estimate
    return estimate._replace(
        steps_per_second=_rate(compiled.run, key_run, state, source, num_steps)
    )


def _rate(run: scan.Run, key: Key, state: base.State, source: Any, most: int) -> float:
    """Steps per second, from chunks that grow until one is long enough."""
    count = 1
    state = jax.block_until_ready(run(key, state, source, 1))[0]  # Warm.
    while True:
        start = time.perf_counter()
        state = jax.block_until_ready(run(key, state, source, count))[0]
        seconds = time.perf_counter() - start
        if seconds > _TIMED_SECONDS / 2 or count >= min(most, runner.CHUNK_CAPACITY):
            return count / seconds
        count = min(runner.CHUNK_CAPACITY, most, 4 * count)
