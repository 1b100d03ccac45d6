# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Composition: the plain decoder that transforms bend, and function composition.

Transforms are endomorphisms (`Decoder -> Decoder`, `Objective -> Objective`,
`Sampler -> Sampler`, `Method -> Method`), so that
``compose(f, g)(thing) = f(g(thing))``.
"""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from distill_jax import base
from distill_jax.types import Key

__all__ = ["compose", "plain_decoder"]

T = TypeVar("T")


def compose(*transforms: Callable[[T], T]) -> Callable[[T], T]:
    """Composes transforms; the last one is applied first.

    Args:
      *transforms: functions from a thing to a thing of the same kind.

    Returns:
      The transform ``thing -> transforms[0](transforms[1](... (thing)))``.

    Example:
      >>> compose(lambda x: x + 1, lambda x: 10 * x)(2)
      21
    """
    return functools.reduce(
        lambda outer, inner: lambda thing: outer(inner(thing)),
        transforms,
        lambda thing: thing,
    )


def plain_decoder() -> base.Decoder:
    """The decoder that learns the inputs and keeps everything else fixed.

    Returns:
      A :class:`~distill_jax.base.Decoder` with ``learned = {"x"}`` and
      ``fixed = {"y"}``, and ``weight`` and ``target`` where the initial set has them.

    Example:
      >>> import distill_jax as dj
      >>> import jax, jax.numpy as jnp
      >>> decoder = plain_decoder()
      >>> latent = decoder.init(
      ...     jax.random.key(0), dj.Examples(x=jnp.ones((2, 3)), y=jnp.eye(2)))
      >>> sorted(latent.learned), sorted(latent.fixed)
      (['x'], ['y'])
    """

    def init(key: Key, initial: base.Examples) -> base.Latent:
        del key  # Deterministic.
        fixed = {"y": jax.tree.map(jnp.asarray, initial.y)}
        for name in ("weight", "target"):
            if getattr(initial, name) is not None:
                fixed[name] = jax.tree.map(jnp.asarray, getattr(initial, name))
        return base.Latent(learned={"x": initial.x}, fixed=fixed)

    def decode(latent: base.Latent) -> base.Synthetic:
        return base.Synthetic(**latent.learned, **latent.fixed)

    return base.Decoder(init=init, decode=decode)
