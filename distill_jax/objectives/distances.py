# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distances between the gradients of two batches, as trees of arrays.

    per_output_cosine:  sum over kernels, sum over output units o of
                        1 - <G[:, o], S[:, o]> / (||G[:, o]|| ||S[:, o]|| + 1e-6)
    whole_cosine:       1 - <G, S> / (||G|| ||S|| + 1e-6), all in one vector
    mse, l1:            sum of squared, of absolute differences

The first is Zhao, Mopuri and Bilen's ("Dataset Condensation with Gradient Matching",
2021, eq. 10). A dead unit makes a column of zeros, where the derivative of a plain norm
is NaN: norms here have derivative zero there, and such a column adds exactly 1.
"""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.types import Array, PyTree

__all__ = ["Distance", "Parameters", "gradient_distance", "norm", "select"]

Distance = Literal["per_output_cosine", "whole_cosine", "mse", "l1"]
Parameters = Literal["all", "kernels", "convolutions"]

EPSILON = 1e-6


def gradient_distance(kind: Distance, real: PyTree, synthetic: PyTree) -> Array:
    """The distance between two gradients.

    Args:
      kind: see the head of this module. ``"per_output_cosine"`` takes the last axis of
        an array as its output units and leaves out arrays of one axis (biases, scales).
      real: a tree of arrays.
      synthetic: a tree of the same shapes.

    Returns:
      A scalar.

    Raises:
      InputError: if the kind is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> real = {"kernel": jnp.array([[3.0, 0.0], [4.0, 0.0]]), "bias": jnp.ones(2)}
      >>> double = {"kernel": 2 * real["kernel"], "bias": -real["bias"]}
      >>> round(float(gradient_distance("per_output_cosine", real, double)), 4)
      1.0
      >>> float(gradient_distance("l1", real, double))
      11.0

    Reference:
      Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, "Dataset Condensation with Gradient
      Matching", 2021, eqs. 9 and 10.
    """
    check_distance(kind)
    pairs = list(zip(jax.tree.leaves(real), jax.tree.leaves(synthetic), strict=True))
    if kind == "whole_cosine":
        inner = sum(jnp.sum(g * s) for g, s in pairs)
        size = norm([g for g, _ in pairs]) * norm([s for _, s in pairs])
        return 1 - inner / (size + EPSILON)
    fn = _DISTANCES[kind]
    return sum((fn(g, s) for g, s in pairs), start=jnp.zeros(()))


def select(gradients: PyTree, parameters: Parameters) -> list[Array]:
    """The gradients of some of the parameters.

    Args:
      gradients: a tree of arrays.
      parameters: ``"all"``; ``"kernels"``, those of two axes and more; or
        ``"convolutions"``, those of four.

    Returns:
      Their list.

    Raises:
      InputError: if the choice is unknown, or there are no such parameters.

    Example:
      >>> import jax.numpy as jnp
      >>> gradients = {"bias": jnp.ones(2), "kernel": jnp.ones((3, 2))}
      >>> [leaf.shape for leaf in select(gradients, "kernels")]
      [(3, 2)]
    """
    least = {"all": 0, "kernels": 2, "convolutions": 4}
    if parameters not in least:
        raise errors.InputError(
            f'There is no choice of parameters "{parameters}". '
            f"{errors.nearest(str(parameters), least)}"
        )
    selected = [g for g in jax.tree.leaves(gradients) if g.ndim >= least[parameters]]
    if not selected:
        raise errors.InputError(
            f"The network has no {parameters} whose gradients could be matched; use "
            'parameters="all" or another network.'
        )
    return selected


def norm(tree: PyTree) -> Array:
    """The Euclidean norm of all arrays of a tree, with derivative 0 at 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> float(norm([jnp.array([3.0]), jnp.array([4.0])]))
      5.0
      >>> jax.grad(norm)(jnp.zeros(2)).tolist()
      [0.0, 0.0]
    """
    squares = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)]
    return _root(sum(squares, start=jnp.zeros(())))


def check_distance(kind: str) -> None:
    """Raises unless a distance is known.

    Example:
      >>> check_distance("mse")
    """
    if kind not in get_args(Distance):
        raise errors.InputError(
            f'There is no distance "{kind}" between gradients. '
            f"{errors.nearest(str(kind), get_args(Distance))}"
        )


def _per_output_cosine(real: Array, synthetic: Array) -> Array:
    if real.ndim < 2:
        return jnp.zeros((), real.dtype)
    g, s = (a.reshape(-1, a.shape[-1]) for a in (real, synthetic))
    size = _root(jnp.sum(g**2, axis=0)) * _root(jnp.sum(s**2, axis=0))
    return jnp.sum(1 - jnp.sum(g * s, axis=0) / (size + EPSILON))


def _root(square: Array) -> Array:
    """The square root, with derivative 0 at 0."""
    is_zero = square == 0
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, square)))


_DISTANCES: dict[str, Callable[[Array, Array], Array]] = {
    "per_output_cosine": _per_output_cosine,
    "mse": lambda g, s: jnp.sum((g - s) ** 2),
    "l1": lambda g, s: jnp.sum(jnp.abs(g - s)),
}
