# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How programs are compiled.

On the CPU a step is hundreds of small loops beside a few products, and most of the time
of a short run went into optimising each of those loops. The products come from
libraries, and no optimisation makes them faster.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax

__all__ = ["ahead_of_time", "jit", "options"]

# Measured (benchmarks/log.md): compilation takes two thirds of the time, and steps take
# the same. (None at all, level 0, gives wrong derivatives of a maximum.)
_ON_CPU = {"xla_backend_optimization_level": 1}


def options() -> dict[str, Any]:
    """What to tell the compiler, as `compiler_options` of :func:`jax.jit`.

    Returns:
      Options of XLA by name: on the CPU what spares compilation and costs no speed,
      less what ``XLA_FLAGS`` sets and what this version of XLA does not know; elsewhere
      none.

    Example:
      >>> import jax
      >>> set(options()) <= {"xla_backend_optimization_level"}
      True
      >>> float(jax.jit(lambda x: x + 1, compiler_options=options())(1.0))
      2.0
    """
    if jax.default_backend() != "cpu":
        return {}
    flags = os.environ.get("XLA_FLAGS", "")
    return {
        name: value
        for name, value in _ON_CPU.items()
        if name not in flags and _is_known(name)
    }


def jit(fn: Callable, **jit_options: Any) -> Any:
    """:func:`jax.jit` with :func:`options`, for what no other jitted function calls.

    Args:
      fn: what is compiled, once for all arguments of the same shapes.
      **jit_options: of :func:`jax.jit`, such as ``donate_argnums``.

    Returns:
      The jitted function.

    Example:
      >>> import jax.numpy as jnp
      >>> float(jit(lambda x: x.sum())(jnp.arange(3.0)))
      3.0
    """
    return jax.jit(fn, compiler_options=options(), **jit_options)


def ahead_of_time(fn: Callable, *args: Any, **jit_options: Any) -> jax.stages.Compiled:
    """Compiles a function for arguments of given shapes, as :func:`jit` does.

    Args:
      fn: what is compiled.
      *args: arguments, or their shapes.
      **jit_options: of :func:`jax.jit`, such as ``donate_argnums``.

    Returns:
      The program, to be called with such arguments.

    Example:
      >>> import jax.numpy as jnp
      >>> program = ahead_of_time(lambda x: x.sum(), jnp.ones(3))
      >>> float(program(jnp.arange(3.0)))
      3.0
    """
    return jit(fn, **jit_options).lower(*args).compile()


@functools.cache
def _is_known(name: str) -> bool:
    """Whether XLA takes an option of this name; it refuses to compile otherwise."""
    jitted = jax.jit(lambda: 0.0, compiler_options={name: _ON_CPU[name]})
    try:
        jitted.lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
