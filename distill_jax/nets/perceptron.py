# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The multi-layer perceptron: flatten, then dense layers with ReLU between them.

h_0 = flatten(x),  h_{i+1} = relu(h_i W_i + b_i),  logits = h_L W + b
"""

from collections.abc import Sequence

from flax import linen

from distill_jax import errors
from distill_jax.nets import layers
from distill_jax.nets import net as net_lib
from distill_jax.types import Array

__all__ = ["MLP", "mlp"]


class MLP(linen.Module):
    """The module behind :func:`mlp`, which checks and documents the options."""

    num_classes: int
    hidden: tuple[int, ...] = (128, 128)

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, ...] to logits [B, C]."""
        x = x.reshape(x.shape[0], -1)
        for block, width in enumerate(self.hidden):
            x = layers.relu(layers.Dense(width, name=f"dense{block}")(x))
            self.sow("intermediates", f"block{block}", x)
        self.sow("intermediates", "penultimate", x)
        return layers.Dense(self.num_classes, name="dense")(x)


def mlp(num_classes: int, *, hidden: Sequence[int] = (128, 128)) -> net_lib.Net:
    """Makes a multi-layer perceptron for examples of any shape.

    Args:
      num_classes: number of outputs.
      hidden: width of each hidden layer; ``()`` is the linear classifier.

    Returns:
      A :class:`~distill_jax.nets.Net` with parameters ``dense0``, ``dense1``, ...,
      ``dense`` and the features ``block0``, ``block1``, ... [B, width] and
      ``penultimate``, which is the last of them (or the flattened input).

    Raises:
      InputError: if a number is not a whole number of at least 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from distill_jax import nets
      >>> net = nets.mlp(10, hidden=(16,))
      >>> variables = net.init(jax.random.key(0), (8, 8, 1))
      >>> net.apply(variables, jnp.zeros((2, 8, 8, 1))).shape
      (2, 10)
    """
    hidden = tuple(hidden) if isinstance(hidden, Sequence) else (hidden,)
    if any(not isinstance(n, int) or n < 1 for n in (num_classes, *hidden)):
        raise errors.InputError(
            "The numbers of classes and of hidden units of an MLP must be whole "
            f"numbers of at least 1, got num_classes={num_classes} and hidden={hidden}."
        )
    return net_lib.from_flax(
        MLP(num_classes, hidden),
        description={"name": "mlp", "num_classes": num_classes, "hidden": list(hidden)},
    )
