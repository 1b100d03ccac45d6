# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which W of the T steps of a training are differentiated.

    "last"      t = T - W
    "random"    t uniform in [0, T - W], drawn anew in every outer step
    Forward(K)  t = min(W floor(k P / K), T - W),   P = ceil((T - W) / W) + 1

t is the first step of the window, k the outer step. Yunzhen Feng, Ramakrishna
Vedantam, Julia Kempe, "Embarrassingly Simple Dataset Distillation", 2023, and its
released code.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.types import Array, Key

__all__ = [
    "Forward",
    "Windows",
    "advanced",
    "check_windows",
    "first_state",
    "window_start",
]


class Forward(NamedTuple):
    """Windows that move from the first steps of a training to the last.

    Attributes:
      num_outer_steps: K, the outer steps after which the window is at the end; it stays
        for as long at each of its P places, which are W steps apart.

    Example:
      >>> forward = Forward(6)
      >>> [int(window_start(forward, 50, 20, jax.random.key(0), {"step": k}))
      ...  for k in range(7)]
      [0, 0, 20, 20, 30, 30, 30]
    """

    num_outer_steps: int


Windows = Literal["last", "random"] | Forward


def window_start(
    windows: Windows, num_steps: int, window: int, key: Key, inner: dict[str, Any]
) -> Array:
    """The number of the first step that is differentiated.

    Args:
      windows: see the head of this module.
      num_steps: T.
      window: W.
      key: of what is random.
      inner: the state that counts the outer steps, as :func:`first_state` makes it.

    Returns:
      t, int32.

    Example:
      >>> int(window_start("last", 50, 20, jax.random.key(0), {}))
      30
    """
    last = num_steps - window
    if windows == "random":
        return jax.random.randint(key, (), 0, last + 1, jnp.int32)
    if windows == "last":
        return jnp.asarray(last, jnp.int32)
    num_places = -(-last // window) + 1
    number = jnp.asarray(inner["step"], jnp.int32)
    place = number * num_places // windows.num_outer_steps
    return jnp.minimum(window * place, last).astype(jnp.int32)


def first_state(windows: Windows) -> dict[str, Any]:
    """What windows need to know of the outer steps before the first of them.

    Args:
      windows: see the head of this module.

    Example:
      >>> first_state("random")
      {}
    """
    return {"step": jnp.zeros((), jnp.int32)} if isinstance(windows, Forward) else {}


def advanced(inner: dict[str, Any]) -> dict[str, Any]:
    """The state after an outer step.

    Args:
      inner: the state before it.

    Example:
      >>> int(advanced(first_state(Forward(10)))["step"])
      1
    """
    return {**inner, "step": inner["step"] + 1} if "step" in inner else inner


def check_windows(windows: Windows, num_steps: int, window: int) -> None:
    """Raises for windows that a training does not have.

    Args:
      windows: see the head of this module.
      num_steps: T.
      window: W.

    Raises:
      InputError: for a window longer than the training, or an unknown kind.

    Example:
      >>> check_windows(Forward(100), 60, 30)
    """
    if window > num_steps:
        raise errors.InputError(
            f"The window of {window} steps is longer than the training of {num_steps}; "
            "give a `window` of at most as many, or None for all of them."
        )
    if isinstance(windows, Forward):
        errors.check_counts(num_outer_steps=windows.num_outer_steps)
    elif windows == "forward":
        raise errors.InputError(
            'Windows that move "forward" need the number of outer steps in which they '
            "do so: pass `objectives.Forward(num_outer_steps)`."
        )
    elif windows not in ("last", "random"):
        known = ["last", "random", "forward"]
        raise errors.InputError(
            f'There is no kind "{windows}" of windows. '
            f"{errors.nearest(str(windows), known)}"
        )
