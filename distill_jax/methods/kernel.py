# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that solve the last layer in closed form: FRePo."""

from typing import Literal

import optax

from distill_jax import (
    base,
    bilevel,
    data,
    errors,
    objectives,
    samplers,
    seeds,
    transforms,
)
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import parts

__all__ = ["frepo"]


def frepo(
    task: base.Task,
    *,
    num_per_class: int,
    num_steps: int,
    batch_size: int = 1024,
    learning_rate: float = 3e-4,
    label_learning_rate: float | None = None,
    optimizer: Literal["lamb", "adam"] = "lamb",
    final_rate: float = 0.1,
    num_networks: int = 10,
    num_active: int = 1,
    max_age: int = 100,
    network_learning_rate: float = 3e-4,
    ridge: float = 1e-6,
    initialisation: seeds.Initialisation = "real",
    factor: int = 1,
    use_flip: bool = False,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Neural feature regression with a pool of networks and learned labels (FRePo).

    Args:
      task: a task with features.
      num_per_class: stored pictures of each class.
      num_steps: length of the run, over which the learning rates decay by a cosine.
      batch_size: real examples of each step.
      learning_rate: of the pictures, at the start.
      label_learning_rate: of the labels; that of the pictures by default.
      optimizer: for pictures and labels; the paper's is LAMB.
      final_rate: the learning rates at the end, as a share of those at the start.
      num_networks: the size of the pool.
      num_active: networks per step.
      max_age: training steps after which a network is replaced.
      network_learning_rate: of Adam for the networks.
      ridge: the regulariser, as a multiple of the mean diagonal of the kernel.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples.
      use_flip: mirror images in the evaluation; the paper: for colour pictures.
      protocol: how the result is judged; the paper's by default.

    Returns:
      A :class:`~distill_jax.base.Recipe` with centred targets.

    Raises:
      InputError: for rates and counts that are not positive, a share outside [0, 1],
        or an unknown optimiser.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = frepo(task, num_per_class=1, num_steps=2, batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).y.shape
      (10, 10)

    Reference:
      Yongchao Zhou, Ehsan Nezhadarya, Jimmy Ba, "Dataset Distillation using Neural
      Feature Regression", 2022, Algorithm 1.
    """
    label_learning_rate = (
        learning_rate if label_learning_rate is None else label_learning_rate
    )
    parts.check_positive(
        learning_rate=learning_rate,
        label_learning_rate=label_learning_rate,
        network_learning_rate=network_learning_rate,
        num_steps=num_steps,
        ridge=ridge,
    )
    if not 0 <= final_rate <= 1:
        raise errors.InputError(
            "`final_rate` is a share of the rate at the start, from 0 to 1, got "
            f"{final_rate}."
        )
    makers = {"lamb": optax.lamb, "adam": optax.adam}
    if optimizer not in makers:
        hint = errors.nearest(optimizer, makers)
        raise errors.InputError(f'There is no outer optimiser "{optimizer}". {hint}')
    decay = lambda rate: optax.cosine_decay_schedule(rate, num_steps, final_rate)
    method = bilevel.distill(
        objectives.kernel_regression(
            task,
            num_networks=num_networks,
            num_active=num_active,
            max_age=max_age,
            learning_rate=network_learning_rate,
            ridge=ridge,
        ),
        decoder=transforms.learn_labels(parts.decoder(factor), kind="centred"),
        optimizer={
            "x": makers[optimizer](decay(learning_rate)),
            "y": makers[optimizer](decay(label_learning_rate)),
        },
    )
    num_classes = task.description["num_classes"]
    num_examples = num_per_class * factor**2 * num_classes
    return base.Recipe(
        method=method,
        sampler=samplers.uniform(batch_size),
        seed_fn=seeds.seed_fn(initialisation, num_per_class * factor**2),
        source_fn=data.to_source,
        protocol=protocol or protocols.frepo(num_examples, use_flip=use_flip),
    )
