# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Random weights, all of a network drawn at once.

    weights and biases ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in))

JAX writes every draw out as a loop of its own on the CPU, which costs compilation
(docs/speed.md), and a network has two for each layer. So one vector of numbers is drawn
from a network's key, and its layers take theirs from it in turn.
"""

import contextlib
import contextvars
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.types import Array, Key

__all__ = ["drawn_at_once", "uniform"]

_Draw = Callable[[Key, tuple[int, ...]], Array]


def _draw_alone(key: Key, shape: tuple[int, ...]) -> Array:
    return jax.random.uniform(key, shape, float, -1.0, 1.0)


_draw: contextvars.ContextVar[_Draw] = contextvars.ContextVar(
    "draw", default=_draw_alone
)


def uniform(fan_in: int) -> Callable:
    """An initialiser: uniform in +-1/sqrt(fan_in), as PyTorch's layers start.

    Args:
      fan_in: how many values of the input each output is made from.

    Returns:
      ``init(key, shape) -> Array``. Within :func:`drawn_at_once` the key is not used.

    Example:
      >>> import jax
      >>> weights = uniform(4)(jax.random.key(0), (4, 3))
      >>> weights.shape, bool(abs(weights).max() <= 0.5)
      ((4, 3), True)
    """

    def init(key: Key, shape: tuple[int, ...]) -> Array:
        return fan_in**-0.5 * _draw.get()(key, shape)

    return init


def drawn_at_once(init: Callable) -> Callable:
    """A function that makes a network, its uniform numbers being one draw.

    Args:
      init: ``(key, shape of one example) -> PyTree``. What it draws itself, and not
        by :func:`uniform`, stays as it is.

    Returns:
      The same function, with other numbers for the same key.

    Example:
      >>> import jax
      >>> def init(key, shape):
      ...     return {"kernel": uniform(4)(key, (4, 3)), "bias": uniform(4)(key, (3,))}
      >>> str(jax.make_jaxpr(init, static_argnums=1)(jax.random.key(0), ())).count(
      ...     "random_bits")
      2
      >>> init = drawn_at_once(init)
      >>> str(jax.make_jaxpr(init, static_argnums=1)(jax.random.key(0), ())).count(
      ...     "random_bits")
      1
    """

    @functools.cache
    def shapes_for(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        shapes = []

        def note(key: Key, shape: tuple[int, ...]) -> Array:
            del key
            shapes.append(shape)
            return jnp.zeros(shape)

        with _drawing(note):
            jax.eval_shape(lambda key: init(key, shape), jax.random.key(0))
        return shapes

    @functools.wraps(init)
    def made(key: Key, shape: tuple[int, ...]):
        shapes = shapes_for(tuple(shape))
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        if not shapes:
            return init(key, shape)
        # Not the key that the rest of the network is made from.
        numbers = _draw_alone(jax.random.fold_in(key, len(shapes)), (int(ends[-1]),))
        parts = iter(jnp.split(numbers, ends[:-1]))
        with _drawing(lambda key, shape: next(parts).reshape(shape)):
            return init(key, shape)

    return made


@contextlib.contextmanager
def _drawing(draw: _Draw):
    token = _draw.set(draw)
    try:
        yield
    finally:
        _draw.reset(token)
