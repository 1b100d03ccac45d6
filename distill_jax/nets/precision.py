# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The precision in which a network multiplies; everything around it stays as it is.

    float32          exact products, also where a GPU or TPU would round by default
    tensorfloat32    float32 whose products are rounded to 10 bits, on GPUs that can
    bfloat16         weights and activations of 16 bits, sums of products in float32

Parameters, their optimiser, statistics of normalisation, losses and the solution of
ridge regression keep their own type, so that small updates are not lost.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.nets import net as net_lib
from distill_jax.types import Array, Key, PyTree

__all__ = ["Precision", "with_precision"]

Precision = Literal["float32", "tensorfloat32", "bfloat16"]


def with_precision(net: net_lib.Net, precision: Precision) -> net_lib.Net:
    """The same network, computed in another precision.

    Args:
      net: any network.
      precision: ``"float32"``, ``"tensorfloat32"`` or ``"bfloat16"``. Without this
        function products are of what the device has by default, which is
        TensorFloat-32 on recent GPUs. On the CPU the first two are the same, and the
        last is slower than either.

    Returns:
      A :class:`~distill_jax.nets.Net` with the variables of ``net``; logits and
      features have the type of the examples.

    Raises:
      InputError: for another precision.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from distill_jax import nets
      >>> net = nets.with_precision(nets.mlp(3, hidden=(8,)), "bfloat16")
      >>> variables = net.init(jax.random.key(0), (4,))
      >>> net.apply(variables, jnp.ones((2, 4))).dtype, net.description["precision"]
      (dtype('float32'), 'bfloat16')
    """
    if precision not in get_args(Precision):
        raise errors.InputError(
            f'There is no precision "{precision}" of a network. '
            f"{errors.nearest(str(precision), get_args(Precision))}"
        )
    is_half = precision == "bfloat16"
    products = jax.default_matmul_precision("default" if is_half else precision)

    def narrow(variables: base.Variables, x: Array) -> tuple[base.Variables, Array]:
        if not is_half:
            return variables, x
        return variables._replace(params=_cast(variables.params)), _cast(x)

    def apply(variables: base.Variables, x: Array) -> Array:
        with products:
            return net.apply(*narrow(variables, x)).astype(x.dtype)

    def apply_train(
        variables: base.Variables, key: Key, x: Array
    ) -> tuple[Array, PyTree]:
        narrow_variables, narrow_x = narrow(variables, x)
        with products:
            logits, stats = net.apply_train(narrow_variables, key, narrow_x)
        return logits.astype(x.dtype), stats

    def features(variables: base.Variables, x: Array) -> Mapping[str, Array]:
        with products:
            layers = net.features(*narrow(variables, x))
        return {name: layer.astype(x.dtype) for name, layer in layers.items()}

    description: dict[str, Any] = {**net.description, "precision": precision}
    return net_lib.Net(net.init, apply, apply_train, features, description)


def _cast(tree: PyTree) -> PyTree:
    """Floating-point arrays in 16 bits; counts and keys as they are."""

    def narrow(leaf: Array) -> Array:
        is_real = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return jnp.asarray(leaf, jnp.bfloat16) if is_real else leaf

    return jax.tree.map(narrow, tree)
