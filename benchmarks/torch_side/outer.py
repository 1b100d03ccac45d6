# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Outer steps of a method of ours beside loops of PyTorch that do the same."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np
import torch
import turns

import distill_jax as dj
from distill_jax import base
from distill_jax.compute import compiling

__all__ = ["Side", "outer_contest"]


class Side(Protocol):
    """An outer loop in PyTorch; the labels are learned where ours are."""

    x: torch.Tensor
    y: torch.Tensor

    def run(self, count: int) -> float:
        """Takes outer steps; the loss of the last."""
        ...


def outer_contest(
    case: tuple,
    method: base.Method,
    seed: base.Examples,
    batch: Any,
    side_fn: Callable[[base.State, str], Side],
    *,
    forms: tuple[str, ...],
) -> turns.Contest:
    """All sides, after a check that a step of each comes to the same.

    Args:
      case: for the message where they do not.
      method: ours, which sees the same batch in every step.
      seed: what the pictures start as.
      batch: what the objective takes.
      side_fn: PyTorch's side of a form that starts from a state of ours.
      forms: in which PyTorch's side is written.
    """
    state = jax.jit(method.init)(jax.random.key(1), seed)
    step, (state, batch) = turns.over_devices(method.step, state, batch)
    method = method._replace(step=step)
    run = compiling.jit(
        dj.runtime.scan_steps(method, lambda key, step, source: source, num_steps=100)
    )
    key = jax.random.key(2)
    began = time.perf_counter()
    jax.block_until_ready(run(key, state, batch, 0))
    compile_seconds = time.perf_counter() - began

    after, infos = run(key, state, batch, 1)
    sides = {form: side_fn(state, form) for form in forms}
    for form, side in sides.items():
        loss = side.run(1)
        for name in {"x", "y"} & set(state.latent.learned):
            start = state.latent.learned[name]
            moved = np.asarray(after.latent.learned[name] - start)
            other = _as_ours(getattr(side, name)) - np.asarray(start)
            turns.check_agreement(case, form, float(infos.loss[0]), loss, moved, other)
    ours = lambda count: jax.block_until_ready(run(key, state, batch, count))
    fns = {form: side.run for form, side in sides.items()}
    return turns.Contest("steps", {"jax": ours, **fns}, compile_seconds)


def _as_ours(leaf: torch.Tensor) -> np.ndarray:
    """The values, pictures with the channels last."""
    values = leaf.detach().numpy()
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values
