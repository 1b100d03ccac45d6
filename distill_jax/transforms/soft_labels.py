# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learned labels: the targets of the distilled set move from fixed to learned.

"logits":         y = softmax(y_logits)
"probabilities":  y as it stands
"centred":        y = (onehot - 1/C) / sqrt(C/10) at the start, then free
"""

from typing import Literal

import jax

from distill_jax import base, errors, tasks
from distill_jax.types import Key

__all__ = ["learn_labels"]

Kind = Literal["logits", "probabilities", "centred"]


def learn_labels(
    decoder: base.Decoder, *, kind: Kind, scale: float | None = 10.0
) -> base.Decoder:
    """Makes a decoder's labels learned.

    Args:
      decoder: a decoder that keeps ``y`` fixed.
      kind: how labels are parametrised; see the head of this module.
      scale: with ``"logits"``, how many times the one-hot initial set the logits start
        as; None where the initial set holds logits already.

    Returns:
      A decoder that learns ``y`` (or ``y_logits``) beside what was learned before.

    Raises:
      InputError: for an unknown kind.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import distill_jax as dj
      >>> decoder = learn_labels(dj.plain_decoder(), kind="centred")
      >>> initial = dj.Examples(x=jnp.zeros((2, 3)), y=jnp.eye(2))
      >>> latent = decoder.init(jax.random.key(0), initial)
      >>> sorted(latent.learned), sorted(latent.fixed)
      (['x', 'y'], [])

    Reference:
      Centred labels: Yongchao Zhou, Ehsan Nezhadarya, Jimmy Ba, "Dataset Distillation
      using Neural Feature Regression", 2022, section 4. Logits: Ziyao Guo et al.,
      "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory
      Matching", 2024, section 3.3.
    """
    if kind not in ("logits", "probabilities", "centred"):
        hint = errors.nearest(kind, ["logits", "probabilities", "centred"])
        raise errors.InputError(f'There is no kind "{kind}" of learned labels. {hint}')
    name = "y_logits" if kind == "logits" else "y"

    def init(key: Key, initial: base.Examples) -> base.Latent:
        latent = decoder.init(key, initial)
        fixed = dict(latent.fixed)
        y = fixed.pop("y")
        if kind == "logits":
            y = y if scale is None else scale * y
        else:
            y = tasks.encode(y, kind)
        return base.Latent(learned={**latent.learned, name: y}, fixed=fixed)

    def decode(latent: base.Latent) -> base.Synthetic:
        learned = dict(latent.learned)
        y = learned.pop(name)
        y = jax.nn.softmax(y) if kind == "logits" else y
        return decoder.decode(base.Latent(learned, {**latent.fixed, "y": y}))

    return base.Decoder(init=init, decode=decode)
