# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The outer loop for data that does not fit the device: the host feeds each step.

The keys and the compiled step are those of :func:`~distill_jax.runtime.scan_steps`, so
fed the same batches both give the same numbers. While the device works on one batch the
next is drawn and on its way.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.runtime import scan
from distill_jax.types import Key

__all__ = ["loop"]


def loop(
    key: Key,
    method: base.Method,
    state: base.State,
    batches: Callable[[int], Any] | Iterable[Any],
    *,
    num_steps: int,
) -> tuple[base.State, base.Info]:
    """Takes outer steps with batches that come from the host.

    Args:
      key: the key of the run; that of a step is folded out of it with ``state.step``.
      method: what is stepped.
      state: where to start; its buffers stay usable.
      batches: a function from the number of the step to a batch of numpy arrays (which
        makes resuming exact), or an iterable of batches.
      num_steps: how many steps to take.

    Returns:
      The state after ``num_steps`` steps, and the infos with leaves ``[num_steps]``.

    Raises:
      InputError: when `num_steps` is below one, or `batches` runs out before.

    Example:
      >>> import jax, jax.numpy as jnp, numpy as np
      >>> from distill_jax import base
      >>> method = base.Method(
      ...     init=lambda key, initial: base.State(jnp.int32(0), None, None, initial),
      ...     step=lambda key, state, batch: (
      ...         state._replace(step=state.step + 1, inner=state.inner + batch),
      ...         base.Info(loss=state.inner, metrics={})),
      ...     read=lambda state: base.Synthetic(x=state.inner, y=state.inner))
      >>> key = jax.random.key(0)
      >>> state = method.init(key, jnp.float32(0.0))
      >>> state, infos = loop(
      ...     key, method, state, lambda step: np.float32(step), num_steps=4)
      >>> print(state.inner, infos.loss)
      6.0 [0. 0. 1. 3.]
    """
    if num_steps < 1:
        raise errors.InputError(f"`num_steps` must be at least 1, got {num_steps}.")
    first = int(state.step)
    feed = _feed(batches, first, num_steps)
    take_step = scan.scan_steps(method, lambda key, step, batch: batch, num_steps=1)
    infos = []
    batch = next(feed)
    for i in range(num_steps):
        state, info = take_step(key, state, batch)  # Returns before it is computed,
        infos.append(info)
        if i + 1 < num_steps:
            batch = next(feed)  # so this one is drawn and sent meanwhile.
    return state, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *infos)


def _feed(
    batches: Callable[[int], Any] | Iterable[Any], first: int, num_steps: int
) -> Iterator[Any]:
    """Yields `num_steps` batches on the device."""
    drawn = (
        (batches(step) for step in range(first, first + num_steps))
        if callable(batches)
        else iter(batches)
    )
    for i in range(num_steps):
        try:
            batch = next(drawn)
        except StopIteration:
            raise errors.InputError(
                f"`batches` ran out after {i} of {num_steps} steps; pass a function of "
                "the step, or an iterator that repeats."
            ) from None
        yield jax.device_put(batch)
