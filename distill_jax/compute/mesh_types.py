# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Types without the mesh that an array lies on.

The type of an array that lies on a mesh, or that comes out of ``shard_map``, names the
mesh. A function inside of ``shard_map`` that closes over such an array sees two kinds
of one mesh, and jax refuses to differentiate a loop there ("Context mesh ... should
match the mesh of sharding"). An identity whose result names no mesh mends that; where
the array lies is left to the compiler, and nothing is copied.
"""

import jax
import jax.core
from jax.extend import core
from jax.interpreters import ad, batching, mlir

from distill_jax.types import Array, PyTree

__all__ = ["without_mesh"]


def without_mesh(tree: PyTree) -> PyTree:
    """The same arrays, inside of jit, with types that name no mesh.

    Args:
      tree: arrays, and whatever else, which stays as it is.

    Returns:
      A tree of the same values, differentiable.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> jax.jit(without_mesh)(jnp.arange(3.0)).tolist()
      [0.0, 1.0, 2.0]
    """
    is_traced = lambda leaf: isinstance(leaf, jax.core.Tracer)
    return jax.tree.map(lambda leaf: _forget(leaf) if is_traced(leaf) else leaf, tree)


def _forget(leaf: Array) -> Array:
    return _identity.bind(leaf)


def _type_without_mesh(aval: jax.core.ShapedArray) -> jax.core.ShapedArray:
    return jax.core.ShapedArray(aval.shape, aval.dtype, weak_type=aval.weak_type)


_identity = core.Primitive("forget_mesh")
_identity.def_impl(lambda value: value)
_identity.def_abstract_eval(_type_without_mesh)
mlir.register_lowering(_identity, lambda _, value: [value])
ad.deflinear2(_identity, lambda cotangent, _: [cotangent])
batching.defvectorized(_identity)
