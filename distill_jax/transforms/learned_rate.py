# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A learning rate that is learned with the set, and stored in it.

"log":    beta = exp(log_learning_rate), which stays positive
"plain":  beta as it stands, which steps too large make negative
"""

from typing import Literal

import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.types import Key

__all__ = ["learn_rate"]

Kind = Literal["log", "plain"]


def learn_rate(
    decoder: base.Decoder, initial: float, *, kind: Kind = "log"
) -> base.Decoder:
    """Makes a decoder learn a learning rate too.

    Args:
      decoder: any decoder that has none.
      initial: the rate at the start.
      kind: how it is parametrised; see the head of this module.

    Returns:
      A decoder that learns ``log_learning_rate`` (or ``learning_rate``), a scalar.

    Raises:
      InputError: for an unknown kind, or a rate that is not positive.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import distill_jax as dj
      >>> decoder = learn_rate(dj.plain_decoder(), 0.01)
      >>> initial = dj.Examples(x=jnp.zeros((2, 3)), y=jnp.eye(2))
      >>> latent = decoder.init(jax.random.key(0), initial)
      >>> round(float(decoder.decode(latent).learning_rate), 6)
      0.01

    Reference:
      George Cazenavette et al., "Dataset Distillation by Matching Training
      Trajectories", 2022, section 3.2 (there plain).
    """
    if kind not in ("log", "plain"):
        hint = errors.nearest(str(kind), ["log", "plain"])
        raise errors.InputError(
            f'There is no kind "{kind}" of a learned learning rate. {hint}'
        )
    if not initial > 0:
        raise errors.InputError(
            f"The learning rate at the start must be positive, got {initial}."
        )
    name = "log_learning_rate" if kind == "log" else "learning_rate"

    def init(key: Key, examples: base.Examples) -> base.Latent:
        latent = decoder.init(key, examples)
        value = jnp.asarray(initial, dtype=float)
        value = jnp.log(value) if kind == "log" else value
        return latent._replace(learned={**latent.learned, name: value})

    def decode(latent: base.Latent) -> base.Synthetic:
        learned = dict(latent.learned)
        value = learned.pop(name)
        rate = jnp.exp(value) if kind == "log" else value
        synthetic = decoder.decode(latent._replace(learned=learned))
        return synthetic._replace(learning_rate=rate)

    return base.Decoder(init=init, decode=decode)
