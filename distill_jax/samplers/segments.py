# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Segments of expert trajectories: where a student starts, and where it should end.

    t ~ U{T-, ..., T_k - 1},   T_k = min(T0 + floor((T+ - T0) k / K), T+)

at the outer step k: the window of starts may grow over the first K steps, from easy to
hard (Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned
Trajectory Matching", 2024, section 3.2). Without growth T_k = T+.
"""

import jax
import jax.numpy as jnp

from distill_jax import base, errors, experts
from distill_jax.compute import randomness
from distill_jax.types import Array, Key, PyTree

__all__ = ["segment_window", "trajectory_segments"]


def trajectory_segments(
    template: PyTree,
    *,
    num_epochs: int,
    last_start: int,
    first_start: int = 0,
    window: tuple[int, int] | None = None,
    num_experts: int = 1,
) -> base.Sampler:
    """Draws segments of some epochs' length of random experts.

    Args:
      template: the parameters' shapes.
      num_epochs: M, from start to target.
      last_start: T+; starts are below it.
      first_start: T-.
      window: (T0, K) of the growing window; None for all of it from the beginning.
      num_experts: A different experts in every step.

    Returns:
      A sampler from :class:`~distill_jax.experts.Trajectories` to
      :class:`~distill_jax.base.Segment`, leaves ``[A, ...]``.

    Raises:
      InputError: for windows that hold no epoch; from the sampler, for windows beyond
        the epochs of the buffer, or more experts than it has.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> source = experts.Trajectories(
      ...     jnp.arange(8.0).reshape(1, 4, 2), 1, first_epoch=0, last_epoch=3)
      >>> sampler = trajectory_segments(
      ...     {"w": jnp.zeros(2)}, num_epochs=2, last_start=1)
      >>> segment = sampler(jax.random.key(0), jnp.array(0), source)
      >>> segment.start["w"].tolist(), segment.target["w"].tolist()
      ([[0.0, 1.0]], [[4.0, 5.0]])
    """
    _check(num_epochs, first_start, last_start, window, num_experts)

    def sample(key: Key, step: Array, source: experts.Trajectories) -> base.Segment:
        _check_fit(source, num_epochs, first_start, last_start, num_experts)
        key_expert, key_start = jax.random.split(key)
        chosen = randomness.permutation(key_expert, source.num_experts)[:num_experts]
        limit = segment_window(step, last_start, window)
        u = jax.random.uniform(key_start, (num_experts,))
        start = randomness.whole_numbers(u, first_start, limit)
        rows = jnp.stack([start, start + num_epochs], axis=1) - source.first_epoch
        vectors = _read(source.snapshots, chosen, rows)
        unflatten = lambda vector: experts.unflatten(vector, template)
        parts = jax.vmap(jax.vmap(unflatten))(vectors)
        take = lambda place: jax.tree.map(lambda leaf: leaf[:, place], parts)
        context = jax.tree.map(lambda leaf: leaf[chosen], source.context)
        return base.Segment(start=take(0), target=take(1), context=context)

    return sample


def segment_window(
    step: Array | int, last_start: int, window: tuple[int, int] | None
) -> Array:
    """The end of the window of starts at an outer step.

    Args:
      step: k.
      last_start: T+.
      window: (T0, K), or None.

    Returns:
      T_k, int32.

    Example:
      >>> [int(segment_window(k, 20, (10, 1000))) for k in (0, 550, 1000, 5000)]
      [10, 15, 20, 20]
    """
    if window is None:
        return jnp.asarray(last_start, jnp.int32)
    begin, length = window
    grown = begin + (last_start - begin) * jnp.asarray(step, jnp.int32) // length
    return jnp.minimum(grown, last_start).astype(jnp.int32)


def _read(snapshots, chosen: Array, rows: Array) -> Array:
    """[A, 2, P] from the device, or from the files."""
    if not isinstance(snapshots, experts.OnDisk):
        return snapshots[chosen[:, None], rows]
    shape = jax.ShapeDtypeStruct((*rows.shape, snapshots.num_params), snapshots.dtype)
    return jax.pure_callback(snapshots.read, shape, chosen, rows)


def _check(num_epochs, first_start, last_start, window, num_experts) -> None:
    if num_epochs < 1 or num_experts < 1:
        raise errors.InputError(
            "A segment has at least 1 epoch of at least 1 expert, got "
            f"`num_epochs` {num_epochs} and `num_experts` {num_experts}."
        )
    begin = last_start if window is None else window[0]
    if not 0 <= first_start < begin <= last_start:
        raise errors.InputError(
            f"Segments are to start at epochs from {first_start} to below {begin}, and "
            f"at last below {last_start}; the window must hold an epoch and must grow."
        )
    if window is not None and window[1] < 1:
        raise errors.InputError(
            f"The window grows over at least 1 step, got {window[1]}."
        )


def _check_fit(source, num_epochs, first_start, last_start, num_experts) -> None:
    last = last_start - 1 + num_epochs
    if first_start < source.first_epoch or last > source.last_epoch:
        raise errors.InputError(
            f"Segments reach from epoch {first_start} to {last}, but the buffer keeps "
            f"the epochs {source.first_epoch} to {source.last_epoch}; train the "
            "experts for longer, keep more of them, or choose a smaller window."
        )
    if num_experts > source.num_experts:
        raise errors.InputError(
            f"{num_experts} experts are asked for in every step, but the buffer has "
            f"{source.num_experts}."
        )
