# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that differentiate through the training of networks: BPTT and RaT-BPTT."""

from typing import Any, Literal

import optax

from distill_jax import base, bilevel, data, errors, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import initial_examples, parts

__all__ = ["bptt", "rat_bptt"]

Student = Literal["adam", "sgd"]


def bptt(
    task: base.Task,
    *,
    num_per_class: int,
    num_inner_steps: int = 40,
    window: int | None = None,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    label_learning_rate: float | None = None,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    network_optimizer: Student = "adam",
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
) -> base.Recipe:
    """Backpropagation through the whole training of a network, or through its end.

    Args:
      task: a task whose ``y`` are class probabilities.
      num_per_class: stored pictures of each class.
      num_inner_steps: T, the length of the training, by which the set is also judged.
      window: W, how many of the last steps are differentiated; all by default, fewer
        for truncated BPTT.
      batch_size: real examples on which the trained network is judged.
      learning_rate: of the pictures, by Adam.
      label_learning_rate: of the labels, which are learned and stay at 0 or above;
        None for labels that stay as they are.
      num_steps: length of the run, over which the learning rates decay by a cosine;
        they are constant by default.
      final_rate: the learning rates at the end, as a share of those at the start.
      network_optimizer: ``"adam"`` or ``"sgd"``, with momentum 0.9.
      network_learning_rate: of the networks.
      network_batch_size: synthetic examples of each inner step; all by default.
      num_networks: fresh networks of each step.
      augmentation: a strategy, drawn anew in each inner step, and in the evaluation.
      clip: gradients are clipped at this multiple of the average of their norm; None
        for as they are.
      decay: of the moving average of pictures and labels, which is what is stored; None
        for the last ones.
      remat: what the backward pass computes again, see
        :func:`~distill_jax.inner.unroll.train_student`.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples.
      protocol: how the result is judged; by default by the training that was unrolled.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: for a window longer than the training, rates and counts that are not
        positive, an unknown optimiser.

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
    return _recipe(task, "last", **_without_task(locals()))


def rat_bptt(
    task: base.Task,
    *,
    num_per_class: int,
    num_inner_steps: int = 200,
    window: int = 40,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    label_learning_rate: float | None = 1e-3,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    network_optimizer: Student = "adam",
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
) -> base.Recipe:
    """Backpropagation through random windows of the training of a network.

    Args:
      task: see :func:`bptt`, as for all that is not named here.
      num_per_class: see :func:`bptt`.
      num_inner_steps: T, the longest training; published for CIFAR-10: 200 to 300.
      window: W; every outer step differentiates W steps after t0 others, t0 drawn
        uniformly from 0 to T - W. Published: 60 to 100.
      batch_size: see :func:`bptt`.
      learning_rate: see :func:`bptt`.
      label_learning_rate: see :func:`bptt`.
      num_steps: see :func:`bptt`.
      final_rate: see :func:`bptt`.
      network_optimizer: see :func:`bptt`.
      network_learning_rate: see :func:`bptt`.
      network_batch_size: see :func:`bptt`.
      num_networks: see :func:`bptt`.
      augmentation: see :func:`bptt`.
      clip: see :func:`bptt`.
      decay: see :func:`bptt`.
      remat: see :func:`bptt`.
      initialisation: see :func:`bptt`.
      factor: see :func:`bptt`.
      protocol: see :func:`bptt`.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`bptt`.

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
    return _recipe(task, "random", **_without_task(locals()))


def _without_task(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "task"}


def _recipe(
    task: base.Task,
    windows: objectives.Windows,
    *,
    num_per_class: int,
    num_inner_steps: int,
    window: int | None,
    batch_size: int,
    learning_rate: float,
    label_learning_rate: float | None,
    num_steps: int | None,
    final_rate: float,
    network_optimizer: Student,
    network_learning_rate: float,
    network_batch_size: int | None,
    num_networks: int,
    augmentation: str,
    clip: float | None,
    decay: float | None,
    remat: unroll.Remat,
    initialisation: initial_examples.Initialisation,
    factor: int,
    protocol: protocols.Protocol | None,
) -> base.Recipe:
    has_labels = label_learning_rate is not None
    parts.check_positive(
        learning_rate=learning_rate,
        network_learning_rate=network_learning_rate,
        **({"label_learning_rate": label_learning_rate} if has_labels else {}),
    )
    strategy = parts.strategy(task, augmentation)
    objective = objectives.unrolled_training(
        task,
        num_steps=num_inner_steps,
        window=window,
        windows=windows,
        optimizer=_student(network_optimizer, network_learning_rate),
        batch_size=network_batch_size,
        policy=policies.parse(strategy),
        remat=remat,
        num_networks=num_networks,
    )

    def outer(rate: float, *after: optax.GradientTransformation):
        clipped = [] if clip is None else [transforms.clip_by_average_norm(clip)]
        rates = parts.cosine(rate, num_steps, final_rate)
        return optax.chain(*clipped, optax.adam(rates), *after)

    decoder, optimizer = parts.decoder(factor), {"x": outer(learning_rate)}
    if label_learning_rate is not None:
        decoder = transforms.learn_labels(decoder, kind="probabilities")
        stays = optax.keep_params_nonnegative()
        optimizer["y"] = outer(label_learning_rate, stays)
    method = bilevel.distill(objective, decoder=decoder, optimizer=optimizer)
    if decay is not None:
        method = transforms.moving_average(method, decay)
    judged = protocols.Protocol(
        optimizer=network_optimizer,
        learning_rate=network_learning_rate,
        weight_decay=0.0,
        num_steps=num_inner_steps,
        batch_size=network_batch_size or 10**6,  # all of the set
        augmentation=strategy,
    )
    return base.Recipe(
        method=method,
        sampler=samplers.uniform(batch_size),
        initial_fn=initial_examples.initial_fn(
            initialisation, num_per_class * factor**2
        ),
        source_fn=data.to_source,
        protocol=protocol or judged,
    )


def _student(name: str, rate: float) -> optax.GradientTransformation:
    """The optimiser of the networks, as the evaluation has it too."""
    if name == "adam":
        return unroll.adam(rate)
    if name == "sgd":
        return optax.sgd(rate, momentum=0.9)
    hint = errors.nearest(str(name), ["adam", "sgd"])
    raise errors.InputError(f'Networks have no optimiser "{name}" here. {hint}')
