# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a traced program would do, without compiling or running it."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Multiplications", "bytes_written", "multiplications"]

_PRODUCTS = (
    "dot_general",
    "conv_general_dilated",
    "convolution",
    "convolution_for_x",
    "convolution_for_kernel",
)


class Multiplications(NamedTuple):
    """Of matrix products and convolutions; loops of unknown length count once."""

    total: float
    shared: float  # of them those that devices share


def multiplications(jaxpr: Any) -> Multiplications:
    """Counts the multiplications of a program, and those that devices share.

    Args:
      jaxpr: of ``jax.make_jaxpr(fn)(...)``, or the one inside of it.

    Returns:
      Those of all devices together; equal work that every device does counts once.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> product = lambda a: a @ a
      >>> jaxpr = jax.make_jaxpr(product)(jnp.ones((3, 3)))
      >>> multiplications(jaxpr.jaxpr)
      Multiplications(total=27.0, shared=0.0)
    """
    total = shared = 0.0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        own = _products(equation)
        parts = [multiplications(inner) for inner in _inner(equation)]
        if equation.primitive.name == "cond":
            part = max(parts)
        else:
            part = Multiplications(*map(sum, zip((own, 0.0), *parts, strict=True)))
        times = equation.params.get("length", 1)
        if equation.primitive.name == "shard_map":
            times = equation.params["mesh"].size
            part = part._replace(shared=part.total)
        total, shared = total + times * part.total, shared + times * part.shared
    return Multiplications(total, shared)


def bytes_written(jaxpr: Any) -> int:
    """The bytes of all values that a program computes, as if nothing were fused.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> bytes_written(jax.make_jaxpr(lambda a: 2 * a + 1)(jnp.ones(3)).jaxpr)
      24
    """
    total = 0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        values = [out.aval for out in equation.outvars]
        total += sum(
            [bytes_written(program) for program in _inner(equation)]
            or [value.size * value.dtype.itemsize for value in values]
        )
    return total


def _inner(equation: Any) -> Iterator[Any]:
    """The programs that an equation calls."""
    for param in equation.params.values():
        several = param if isinstance(param, tuple | list) else (param,)
        yield from (p for p in several if hasattr(p, "eqns") or hasattr(p, "jaxpr"))


def _products(equation: Any) -> int:
    """The multiplications of one equation."""
    name = equation.primitive.name
    if name not in _PRODUCTS:
        return 0
    left, right = (operand.aval.shape for operand in equation.invars)
    out = equation.outvars[0].aval.shape
    size = math.prod(out)
    if name == "dot_general":
        (axes, _), _ = equation.params["dimension_numbers"]
        return size * math.prod(left[axis] for axis in axes)
    if name == "conv_general_dilated":
        outputs = right[equation.params["dimension_numbers"].rhs_spec[0]]
        return size * math.prod(right) // outputs
    # Of `nets.trilinear`: one for each output of the convolution and place of a patch.
    if name == "convolution_for_kernel":
        return math.prod(right) * math.prod(out[:3])
    outputs = size if name == "convolution" else math.prod(left)
    return outputs * math.prod(right[:3])
