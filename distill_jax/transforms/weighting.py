# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Weighted real examples: some of the data set count more than others.

    w_b <- w_b g(b),   g an entry of a table [N], or a function of the examples

A weight of 0 leaves an example out as if it were not there, except that it still takes
its place in the batch.
"""

from collections.abc import Callable

import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.types import Array, Key

__all__ = ["weigh_real"]


def weigh_real(
    sampler: base.Sampler, weights: Array | Callable[[base.Examples], Array]
) -> base.Sampler:
    """Multiplies weights into the real examples that a sampler draws.

    Nothing is normalised and no gradient is stopped: objectives take means over
    weights, and a loss may be differentiated in a table that is closed over.

    Args:
      sampler: yields :class:`~distill_jax.base.Examples` of any leading axes, or a
        :class:`~distill_jax.base.Pair`, of which only ``match`` is weighed.
      weights: a table ``[N]``, looked up by ``Examples.index``; or a function of the
        examples to weights of the leading axes.

    Returns:
      The sampler.

    Raises:
      InputError: for a table with more than one axis; from the sampler while tracing,
        when a table has not as many entries as the data set has examples, the examples
        have no index to look up, or the function gives another shape.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import distill_jax as dj
      >>> source = dj.data.to_source(dj.data.load("digits"))
      >>> table = jnp.zeros(len(source.y)).at[:100].set(1.0)
      >>> batch = weigh_real(dj.samplers.uniform(400), table)(
      ...     jax.random.key(0), 0, source)
      >>> batch.weight.tolist() == (batch.index < 100).tolist()
      True
    """
    if not callable(weights) and jnp.ndim(weights) != 1:
        raise errors.InputError(
            "`weights` is a table with one entry for each example of the data set, "
            f"[N], or a function, but an array of shape {jnp.shape(weights)} was given."
        )

    def factor(examples: base.Examples, source: base.Source) -> Array:
        if callable(weights):
            return weights(examples)
        if len(weights) != len(source.y):  # Else the last entry would serve the rest.
            raise errors.InputError(
                f"The table of weights has {len(weights)} entries, but the data set "
                f"has {len(source.y)} examples; give every example one."
            )
        if examples.index is None:
            raise errors.InputError(
                "The examples of this sampler carry no `index` at which their weights "
                "could be looked up; give a function of the examples instead."
            )
        return jnp.asarray(weights)[examples.index]

    def sample(key: Key, step: Array, source: base.Source) -> base.Batch:
        batch = sampler(key, step, source)
        examples = base.matched(batch)
        if examples is None:
            raise errors.InputError(
                "The batches of this sampler hold contexts and no real examples that "
                "could be weighed; leave `weigh_real` out."
            )
        weight, leading = factor(examples, source), examples.y.shape[:-1]
        if weight.shape != leading:
            raise errors.InputError(
                f"The examples of a batch have the leading axes {leading}, but their "
                f"weights have the shape {weight.shape}."
            )
        if examples.weight is not None:
            weight = weight * examples.weight
        return base.replace_matched(batch, examples._replace(weight=weight))

    return sample
