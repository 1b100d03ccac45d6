# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A temperature that is learned with the set: what turns regression into logits.

    logits = tau P,    tau = exp(log_temperature)

It serves the loss while distilling, and is not stored.
"""

import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.types import Key

__all__ = ["learn_temperature"]


def learn_temperature(decoder: base.Decoder, initial: float = 1.0) -> base.Decoder:
    """Makes a decoder learn the temperature of the outer loss too.

    Args:
      decoder: any decoder that has none.
      initial: the temperature at the start.

    Returns:
      A decoder that learns ``log_temperature``, a scalar.

    Raises:
      InputError: for a temperature that is not positive.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import distill_jax as dj
      >>> decoder = learn_temperature(dj.plain_decoder(), 2.0)
      >>> initial = dj.Examples(x=jnp.zeros((2, 3)), y=jnp.eye(2))
      >>> latent = decoder.init(jax.random.key(0), initial)
      >>> round(float(decoder.decode(latent).temperature), 6)
      2.0

    Reference:
      Noel Loo, Ramin Hasani, Mathias Lechner, Daniela Rus, "Dataset Distillation with
      Convexified Implicit Gradients", 2023, section 4.
    """
    if not initial > 0:
        raise errors.InputError(
            f"The temperature at the start must be positive, got {initial}."
        )

    def init(key: Key, examples: base.Examples) -> base.Latent:
        latent = decoder.init(key, examples)
        value = jnp.log(jnp.asarray(initial, dtype=float))
        return latent._replace(learned={**latent.learned, "log_temperature": value})

    def decode(latent: base.Latent) -> base.Synthetic:
        learned = dict(latent.learned)
        value = learned.pop("log_temperature")
        synthetic = decoder.decode(latent._replace(learned=learned))
        return synthetic._replace(temperature=jnp.exp(value))

    return base.Decoder(init=init, decode=decode)
