# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that differentiate through the training of networks: BPTT and RaT-BPTT."""

from distill_jax import base
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import ingredients, initial_examples, options
from distill_jax.methods import unrolled_recipes as recipes
from distill_jax.transforms import bending

__all__ = ["bptt", "rat_bptt"]


@options.named_method
def bptt(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    num_inner_steps: int = 40,
    window: int | None = None,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    label_learning_rate: float | None = None,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    network_optimizer: recipes.Optimizer = "adam",
    network_learning_rate: float = 1e-3,
    network_batch_size: int | None = None,
    num_networks: int = 1,
    augmentation: str = "none",
    clip: float | None = 2.0,
    decay: float | None = 0.99,
    remat: unroll.Remat = "step",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Differentiates the whole training of a network, or the end of it (BPTT).

    Args:
      num_inner_steps: T, steps of a network's training, by which the set is judged too.
      window: W, how many of the last steps are differentiated; all by default, fewer
        for truncated BPTT.
      batch_size: real examples on which the trained network is judged in a step.
      learning_rate: learning rate of Adam for the pictures.
      label_learning_rate: learning rate of Adam for the labels, which then stay at 0 or
        above; None for labels that are not learned.
      network_optimizer: of the networks: ``"adam"``, or ``"sgd"`` with momentum 0.9.
      num_networks: fresh networks of each step, over which the loss is averaged.
      augmentation: strategy string of what is drawn anew in each inner step and in the
        evaluation: ``"none"``, operations such as ``"crop_rotate"``, or ``"auto"``:
        all of DSA, without ``flip`` for digits.
      protocol: how a network is trained on the result to judge it, a
        :class:`~distill_jax.evaluation.Protocol`; by default the training that was
        unrolled.

    Raises:
      InputError: for a window longer than the training, an unknown optimiser, or
        another option out of its range.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = bptt(task, num_per_class=1, num_inner_steps=3, batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Tongzhou Wang et al., "Dataset Distillation", 2018, algorithm 1; settings and
      stabilisers of Yunzhen Feng, Ramakrishna Vedantam, Julia Kempe, "Embarrassingly
      Simple Dataset Distillation", 2023.
    """
    return recipes.unrolled_recipe(
        task,
        ingredients.Shared(
            task, num_per_class, num_examples, initialisation, factor, protocol, bend
        ),
        recipes.Outer(
            learning_rate, label_learning_rate, num_steps, final_rate, clip, decay
        ),
        recipes.Unrolling(
            "last", num_inner_steps, window, augmentation, remat, num_networks
        ),
        recipes.Student(network_optimizer, network_learning_rate, network_batch_size),
        batch_size=batch_size,
    )


@options.variant_of(bptt)
def rat_bptt(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    num_inner_steps: int = 200,
    window: int = 40,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    label_learning_rate: float | None = 1e-3,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    network_optimizer: recipes.Optimizer = "adam",
    network_learning_rate: float = 1e-3,
    network_batch_size: int | None = None,
    num_networks: int = 1,
    augmentation: str = "none",
    clip: float | None = 2.0,
    decay: float | None = 0.99,
    remat: unroll.Remat = "step",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Differentiates random windows of the training of a network (RaT-BPTT).

    Args:
      num_inner_steps: T, steps of the longest training of a network, by which the set
        is judged too; published for CIFAR-10: 200 to 300.
      window: W; each step of the run differentiates W steps of the training after t0
        others, t0 drawn uniformly from 0 to T - W; published: 60 to 100.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = rat_bptt(
      ...     task, num_per_class=1, num_inner_steps=6, window=2, batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).y.shape
      (10, 10)

    Reference:
      Yunzhen Feng, Ramakrishna Vedantam, Julia Kempe, "Embarrassingly Simple Dataset
      Distillation", 2023, algorithm 1 and appendix.
    """
    return recipes.unrolled_recipe(
        task,
        ingredients.Shared(
            task, num_per_class, num_examples, initialisation, factor, protocol, bend
        ),
        recipes.Outer(
            learning_rate, label_learning_rate, num_steps, final_rate, clip, decay
        ),
        recipes.Unrolling(
            "random", num_inner_steps, window, augmentation, remat, num_networks
        ),
        recipes.Student(network_optimizer, network_learning_rate, network_batch_size),
        batch_size=batch_size,
    )
