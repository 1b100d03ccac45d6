# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that need no network while they distil: KIP."""

import jax
import optax

from distill_jax import base, objectives, samplers, transforms
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import ntk
from distill_jax.methods import ingredients, initial_examples, options
from distill_jax.transforms import bending
from distill_jax.types import Array, Key

__all__ = ["kip"]


@options.named_method
def kip(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    num_steps: int,
    batch_size: int = 5000,
    learning_rate: float = 4e-2,
    label_learning_rate: float | None = None,
    final_rate: float = 1.0,
    kernel: ntk.Kernel | None = None,
    depth: int = 1,
    ridge: float = 1e-6,
    use_learned_labels: bool = False,
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    use_flip: bool = False,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Regresses on the kernel of an infinitely wide network (KIP).

    Args:
      task: what the set is made for: its classes count here, its network in the
        evaluation only.
      num_steps: length of the run, over which the learning rates fall by a cosine.
      batch_size: real examples of a step; all of a smaller data set.
      learning_rate: learning rate of Adam for the pictures at the start.
      label_learning_rate: learning rate of Adam for the labels at the start; that of
        the pictures by default.
      final_rate: the learning rates at the end of the cosine, as a share of those at
        its start; the paper's are constant.
      kernel: ``(x, x') -> [N, M]``; by default the neural tangent kernel of a fully
        connected network.
      depth: hidden layers of the network of the default kernel.
      use_learned_labels: whether labels are learned beside the pictures.
      protocol: how a network is trained on the result to judge it, a
        :class:`~distill_jax.evaluation.Protocol`; FRePo's by default. How good the
        result is under the kernel itself,
        :func:`~distill_jax.evaluation.kernel_ridge_accuracy` says.

    Returns:
      A :class:`~distill_jax.base.Recipe` with centred targets, or values.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = kip(task, num_per_class=1, num_steps=2, batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Timothy Nguyen, Zhourong Chen, Jaehoon Lee, "Dataset Meta-Learning from Kernel
      Ridge-Regression", 2021, algorithm 1; its released code.
    """
    options.check_positive(batch_size=batch_size)
    shared = ingredients.Shared(
        task, num_per_class, num_examples, initialisation, factor, protocol, bend
    )
    label_rate = learning_rate if label_learning_rate is None else label_learning_rate
    adam = lambda rate: optax.adam(ingredients.cosine(rate, num_steps, final_rate))
    optimizer = {"x": adam(learning_rate)}
    decoder = shared.decoder()
    if task.has_classes:
        decoder = _centre_labels(decoder)
    if use_learned_labels:
        # The kind that takes labels as they stand: they are centred already.
        decoder = transforms.learn_labels(decoder, kind="values")
        optimizer["y"] = adam(label_rate)
    objective = objectives.kernel_inducing_points(
        kernel=kernel, depth=depth, ridge=ridge, task=task
    )
    return shared.recipe(
        shared.distill(objective, optimizer, decoder=decoder),
        _at_most(batch_size),
        protocol=protocols.frepo_protocol(shared.num_rows, use_flip=use_flip),
    )


def _centre_labels(decoder: base.Decoder) -> base.Decoder:
    """Labels at the start ``onehot - 1/C``, on the scale of the objective's targets."""

    def init(key: Key, initial: base.Examples) -> base.Latent:
        return decoder.init(
            key, initial._replace(y=initial.y - 1.0 / initial.y.shape[-1])
        )

    return base.Decoder(init=init, decode=decoder.decode)


def _at_most(batch_size: int) -> base.Sampler:
    """Uniform batches, without rows of weight 0 where the data set is smaller."""

    def sample(key: Key, step: Array, source: base.Source) -> base.Examples:
        num_examples = jax.tree.leaves(source.x)[0].shape[0]
        return samplers.uniform(min(batch_size, num_examples))(key, step, source)

    return sample
