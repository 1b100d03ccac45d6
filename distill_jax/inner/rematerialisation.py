# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A scan over the steps of a training, whose backward pass keeps little of them.

``"none"`` keeps all that a step went through; ``"step"`` keeps the carry before each
step and what was marked by :func:`kept`; ``"sqrt"`` keeps about 2 sqrt(N) carries of N,
and takes stretches of steps again.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from distill_jax.types import Array, PyTree

__all__ = ["Remat", "kept", "scan"]

Remat = Literal["none", "step", "sqrt"]

_KEPT = "gradient"


def kept(tree: PyTree) -> PyTree:
    """Marks what the backward pass of :func:`scan` keeps of every step.

    Args:
      tree: arrays that have a derivative which computes them again, such as gradients.

    Returns:
      The same tree.

    Example:
      >>> kept(jnp.ones(2)).tolist()
      [1.0, 1.0]
    """
    return checkpoint_name(tree, _KEPT)


def scan(
    step_fn: Callable[[PyTree, Any], tuple[PyTree, PyTree]],
    carry: PyTree,
    xs: Array,
    *,
    remat: Remat,
) -> tuple[PyTree, PyTree]:
    """``jax.lax.scan`` with a choice of what its backward pass computes again.

    Args:
      step_fn: ``(carry, x) -> (carry, output)``.
      carry: before the first step.
      xs: ``[N]``, such as the numbers of the steps.
      remat: see the head of this module.

    Returns:
      The carry after the last step, and the outputs with a leading axis N.

    Example:
      >>> step_fn = lambda carry, x: (carry + x, carry)
      >>> total, before = scan(step_fn, 0.0, jnp.arange(5.0), remat="sqrt")
      >>> float(total), before.tolist()
      (10.0, [0.0, 0.0, 1.0, 3.0, 6.0])
    """
    if remat == "none":
        return jax.lax.scan(step_fn, carry, xs)
    # Inside a scan nothing can be merged with what was computed before.
    policy = jax.checkpoint_policies.save_only_these_names(_KEPT)
    step_fn = jax.checkpoint(step_fn, prevent_cse=False, policy=policy)
    num_steps = xs.shape[0]
    if remat == "step" or num_steps < 4:
        return jax.lax.scan(step_fn, carry, xs)
    length = math.isqrt(num_steps)
    num_whole = num_steps // length * length
    stretch_fn = jax.checkpoint(functools.partial(jax.lax.scan, step_fn))
    carry, outputs = jax.lax.scan(stretch_fn, carry, xs[:num_whole].reshape(-1, length))
    flat = lambda leaf: leaf.reshape(num_whole, *leaf.shape[2:])
    outputs = jax.tree.map(flat, outputs)
    if num_whole == num_steps:
        return carry, outputs
    carry, last = jax.lax.scan(step_fn, carry, xs[num_whole:])
    join = lambda first, then: jnp.concatenate([first, then])
    return carry, jax.tree.map(join, outputs, last)
