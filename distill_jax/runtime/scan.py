# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Many outer steps in one compiled loop, the same numbers in pieces of any size.

    key_batch, key_step = split(fold_in(key, state.step))
    state, info = method.step(key_step, state, sampler(key_batch, state.step, source))

XLA unrolls a loop whose trip count it knows to be one, and an unrolled body need not
round as the loop does. The trip count is therefore an argument: one compiled loop
serves every number of steps up to ``num_steps``, and 60 steps are 7 + 53 bitwise.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax import base, deprecations, errors
from distill_jax.compute import compiling
from distill_jax.compute import trace_cache as trace_caches
from distill_jax.types import Array, Key, PyTree

__all__ = ["Compiled", "compile_steps", "scan_steps"]

Run = Callable[..., tuple[base.State, base.Info]]


class Compiled(NamedTuple):
    """A loop that was compiled ahead of time."""

    run: Run
    seconds: float  # that tracing and compiling took
    peak_bytes: int  # on each device: arguments, results and what lies between
    num_local_devices: int  # of this process


def scan_steps(method: base.Method, sampler: base.Sampler, *, num_steps: int) -> Run:
    """Makes a jitted function that takes many outer steps without the host.

    Args:
      method: what is stepped.
      sampler: draws the batch of a step from the source, inside the loop.
      num_steps: the most steps of one call, and the length of the infos.

    Returns:
      ``run(key, state, source, count=None) -> (state, infos)``. ``count <= num_steps``
      is how many steps to take (all of them where ``None``). Each leaf of ``infos`` is
      ``[num_steps]``; entries from ``count`` on are NaN (0 for integers).

    Raises:
      InputError: when `num_steps` is below one; from ``run``, when the loss or a metric
        is not a scalar, or a ``count`` given as an integer is not in [0, num_steps].

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from distill_jax import base
      >>> method = base.Method(
      ...     init=lambda key, initial: base.State(jnp.int32(0), None, None, 8.0),
      ...     step=lambda key, state, batch: (
      ...         state._replace(step=state.step + 1, inner=state.inner / batch),
      ...         base.Info(loss=state.inner, metrics={})),
      ...     read=lambda state: base.Synthetic(x=state.inner, y=state.inner))
      >>> run = scan_steps(method, lambda key, step, source: source, num_steps=4)
      >>> key = jax.random.key(0)
      >>> state, infos = run(key, method.init(key, None), 2.0, count=3)
      >>> print(int(state.step), infos.loss)
      3 [ 8.  4.  2. nan]
    """
    jitted = jax.jit(_loop(method, sampler, num_steps))

    def run(key: Key, state: base.State, source: Any, count=None):
        state = jax.tree.map(_strong, state)
        return jitted(key, state, source, _checked_count(count, num_steps))

    return run


@deprecations.renamed_arguments(shelf="trace_cache")
def compile_steps(
    method: base.Method,
    sampler: base.Sampler,
    *,
    num_steps: int,
    arguments: tuple[Key, base.State, Any],
    trace_cache: trace_caches.TraceCache | None = None,
) -> Compiled:
    """Compiles :func:`scan_steps` ahead of time for arguments of given shapes.

    Args:
      method: what is stepped.
      sampler: draws the batch of a step from the source, inside the loop.
      num_steps: the most steps of one call, and the length of the infos.
      arguments: ``(key, state, source)`` as the first call will get them.
      trace_cache: where the loop may lie traced, and is put for the next process; then
        ``method`` and ``sampler`` must be what the cache's identity says.

    Returns:
      A :class:`Compiled`. Its ``run`` is as :func:`scan_steps` makes it, but for one
      thing: it *donates* the state, so that the buffers of the state passed in become
      those of the one returned.

    Raises:
      InputError: as :func:`scan_steps`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from distill_jax import base
      >>> method = base.Method(
      ...     init=lambda key, initial: base.State(jnp.int32(0), None, None, initial),
      ...     step=lambda key, state, batch: (
      ...         state._replace(step=state.step + 1, inner=state.inner / batch),
      ...         base.Info(loss=state.inner, metrics={})),
      ...     read=lambda state: base.Synthetic(x=state.inner, y=state.inner))
      >>> arguments = jax.random.key(0), method.init(None, jnp.float32(8.0)), 2.0
      >>> compiled = compile_steps(
      ...     method, lambda key, step, source: source, num_steps=4,
      ...     arguments=arguments)
      >>> state, infos = compiled.run(*arguments, count=3)
      >>> float(state.inner), compiled.seconds > 0
      (1.0, True)
    """
    start = time.perf_counter()
    loop = _loop(method, sampler, num_steps)
    key, state, source = arguments
    state = jax.tree.map(_strong, state)
    inputs = key, state, source, jnp.int32(num_steps)
    name, donated = f"{num_steps} steps", (1,)
    program = trace_cache and trace_cache.program(
        name, loop, inputs, donate_argnums=donated
    )
    if program is None:
        call = compiled = compiling.ahead_of_time(loop, *inputs, donate_argnums=donated)
        state_sharding = compiled.input_shardings[0][1]
    else:
        compiled, call = program.compile(inputs)
        shardings = compiled.input_shardings[0]  # None for what the loop does not read.
        state_sharding = jax.tree.unflatten(jax.tree.structure(inputs), shardings)[1]
    seconds = time.perf_counter() - start

    def run(key: Key, state: base.State, source: Any, count=None):
        # The output of one call may be sharded otherwise than the input of the next.
        state = jax.device_put(jax.tree.map(_strong, state), state_sharding)
        return call(key, state, source, _checked_count(count, num_steps))

    shardings = jax.tree.leaves(state_sharding)
    num_devices = len(shardings[0].addressable_devices) if shardings else 1
    return Compiled(run, seconds, _peak_bytes(compiled.memory_analysis()), num_devices)


def _peak_bytes(analysis: Any) -> int:
    """What a program holds at most, as far as the compiler tells."""
    if analysis is None:
        return 0
    return (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )


def _loop(method: base.Method, sampler: base.Sampler, num_steps: int) -> Run:
    """The loop as a pure function of (key, state, source, count)."""
    if num_steps < 1:
        raise errors.InputError(f"`num_steps` must be at least 1, got {num_steps}.")

    def one_step(key: Key, state: base.State, source: Any):
        key_batch, key_step = jax.random.split(jax.random.fold_in(key, state.step))
        return method.step(key_step, state, sampler(key_batch, state.step, source))

    def loop(key: Key, state: base.State, source: Any, count: Array):
        def body(i: Array, carry: tuple[base.State, base.Info]):
            state, infos = carry
            state, info = one_step(key, state, source)
            return state, jax.tree.map(
                lambda all_, one: all_.at[i].set(one), infos, info
            )

        info = jax.eval_shape(one_step, key, state, source)[1]
        return jax.lax.fori_loop(0, count, body, (state, _buffers(info, num_steps)))

    return loop


def _buffers(info: PyTree, num_steps: int) -> PyTree:
    """Room for the infos of `num_steps` steps."""
    for path, leaf in jax.tree.leaves_with_path(info):
        if leaf.shape:
            raise errors.InputError(
                f"The step returned `info{jax.tree_util.keystr(path)}` of shape "
                f"{leaf.shape}, but what is logged must be a scalar; reduce it with a "
                "mean, or give each entry a name of its own."
            )

    def room(leaf) -> Array:
        is_float = jnp.issubdtype(leaf.dtype, jnp.inexact)
        return jnp.full((num_steps,), jnp.nan if is_float else 0, leaf.dtype)

    return jax.tree.map(room, info)


def _strong(leaf: Any) -> Array:
    """The leaf without a weak type, as a checkpoint would give it back."""
    leaf = jnp.asarray(leaf)
    is_weak = getattr(leaf, "weak_type", False)  # Typed keys have no such thing.
    return jax.lax.convert_element_type(leaf, leaf.dtype) if is_weak else leaf


def _checked_count(count: int | Array | None, num_steps: int) -> Array:
    """The trip count as an array; one that would run past the infos is refused."""
    if count is None:
        count = num_steps
    if isinstance(count, int) and not 0 <= count <= num_steps:
        raise errors.InputError(
            f"`count` must be between 0 and the {num_steps} steps that this loop was "
            f"made for, got {count}."
        )
    return jnp.asarray(count, jnp.int32)
