# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Siamese augmentation: real and synthetic examples are bent in the same way.

    L(A_w(S), A_w(T)),  w drawn afresh for every step and every class

Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", 2021.
"""

import jax

from distill_jax import base
from distill_jax.augmentation import drawing, policies
from distill_jax.types import Array, Key

__all__ = ["siamese"]


def siamese(
    objective: base.Objective, policy: policies.Policy | None
) -> base.Objective:
    """Augments both sides of a matching loss with shared parameters for each class.

    Args:
      objective: an objective on per-class batches, ``x_real [C, B, H, W, channels]``.
      policy: what to draw from. One draw serves all examples of a class, real and
        synthetic; gradients flow through it into the synthetic pictures. None leaves
        the objective as it is.

    Returns:
      The objective on augmented examples. What it advances with is not augmented.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10), data.spec)
      >>> policy = dj.augmentation.policies.dsa_policy("crop_rotate")
      >>> objective = siamese(dj.objectives.distribution_matching(task), policy)
      >>> objective.loss.__name__
      'loss'

    Reference:
      Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese
      Augmentation", 2021, eq. 5.
    """
    if policy is None:
        return objective
    shared = policies.share(policy)

    def pair(args: tuple[Key, Array, Array]) -> tuple[Array, Array]:
        key, x_syn, x_real = args
        params = drawing.sample_augmentation(
            key, shared, num_examples=1, shape=x_syn.shape[1:]
        )
        return drawing.augment(params, x_syn), drawing.augment(params, x_real)

    def loss(synthetic, key, inner, batch):
        key_augment, key_loss = jax.random.split(key)
        real = base.matched(batch)
        num_classes = real.y.shape[0]
        by_class = synthetic.x.reshape(num_classes, -1, *synthetic.x.shape[1:])
        keys = jax.random.split(key_augment, num_classes)
        # One class after the other: each then computes its own operation only.
        x_syn, x_real = jax.lax.map(pair, (keys, by_class, real.x))
        synthetic = synthetic._replace(x=x_syn.reshape(synthetic.x.shape))
        batch = base.replace_matched(batch, real._replace(x=x_real))
        return objective.loss(synthetic, key_loss, inner, batch)

    return objective._replace(loss=loss)
