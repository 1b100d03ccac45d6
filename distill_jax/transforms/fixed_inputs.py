# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Inputs that stay as they are, so that labels alone are learned."""

from distill_jax import base, errors
from distill_jax.types import Key

__all__ = ["fix_inputs"]


def fix_inputs(decoder: base.Decoder) -> base.Decoder:
    """Keeps the inputs of a decoder as they start; what else it learns goes on.

    No gradient in the inputs is computed, and no optimiser moves them.

    Args:
      decoder: learns ``x``, and something else too, such as one that
        :func:`~distill_jax.transforms.learn_labels` made.

    Returns:
      The decoder whose ``x`` is fixed.

    Raises:
      InputError: from ``init``, when ``x`` is not learned, or nothing else is.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import distill_jax as dj
      >>> decoder = dj.transforms.learn_labels(dj.plain_decoder(), kind="probabilities")
      >>> latent = fix_inputs(decoder).init(
      ...     jax.random.key(0), dj.Examples(x=jnp.zeros((2, 3)), y=jnp.eye(2)))
      >>> sorted(latent.learned), sorted(latent.fixed)
      (['y'], ['x'])

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024, section 5.
    """

    def init(key: Key, initial: base.Examples) -> base.Latent:
        latent = decoder.init(key, initial)
        learned = dict(latent.learned)
        if "x" not in learned:
            raise errors.InputError(
                "`fix_inputs` was given a decoder whose inputs are not learned "
                f"(it learns {sorted(learned)}); leave it out."
            )
        x = learned.pop("x")
        if not learned:
            raise errors.InputError(
                "With its inputs fixed the decoder learns nothing; let it learn labels "
                "first: `fix_inputs(learn_labels(decoder, kind=...))`."
            )
        return base.Latent(learned=learned, fixed={**latent.fixed, "x": x})

    def decode(latent: base.Latent) -> base.Synthetic:
        fixed = dict(latent.fixed)
        x = fixed.pop("x")
        return decoder.decode(base.Latent({**latent.learned, "x": x}, fixed))

    return base.Decoder(init=init, decode=decode)
