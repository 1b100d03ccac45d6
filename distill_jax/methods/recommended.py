# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Our own recommended recipe: a kernel warm start, then unrolling what is evaluated."""

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
from distill_jax.inner import augment, unroll
from distill_jax.methods import parts

__all__ = ["auto"]


def auto(
    task: base.Task,
    *,
    num_per_class: int,
    num_steps: int,
    warm_share: float = 0.8,
    batch_size: int = 256,
    learning_rate: float = 1e-2,
    unrolled_rate: float = 1e-2,
    final_rate: float = 0.1,
    ridge: float = 1e-3,
    num_networks: int = 10,
    network_learning_rate: float = 1e-3,
    num_inner_steps: int = 100,
    window: int = 20,
    network_batch_size: int | None = None,
    augmentation: str = "none",
    clip: float | None = 2.0,
    decay: float | None = 0.99,
    initialisation: seeds.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Neural feature regression, then random windows of the evaluation's training.

    The kernel is cheap and gets most of the way; what it does not see is the training
    by which the set is judged, and that is what is unrolled at the end, with the labels
    and the optimiser of the evaluation.

    Args:
      task: a task with features.
      num_per_class: stored pictures of each class.
      num_steps: length of the run, both stages together.
      warm_share: the share of the steps that regress on features; 1 for all of them.
      batch_size: real examples of each step.
      learning_rate: of pictures and labels, by Adam, at the start of the first stage.
      unrolled_rate: the same at the start of the second.
      final_rate: the rates at the end of each stage, as a share of those at its start.
      ridge: the regulariser, as a multiple of the mean diagonal of the kernel.
      num_networks: the size of the pool of the first stage.
      network_learning_rate: of Adam for the networks, in all of it.
      num_inner_steps: T, of the training that is unrolled and by which the set is
        judged.
      window: W, how many steps of it are differentiated.
      network_batch_size: synthetic examples of an inner step; all by default.
      augmentation: a strategy, drawn anew in each inner step, and in the evaluation.
      clip: gradients are clipped at this multiple of the average of their norm.
      decay: of the moving average of pictures and labels, which is what is stored.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples.
      protocol: how the result is judged; by default by the training that was unrolled.

    Returns:
      A :class:`~distill_jax.base.Recipe` with centred targets.

    Raises:
      InputError: for a share outside [0, 1], and as
        :func:`~distill_jax.methods.rat_bptt`.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = auto(task, num_per_class=1, num_steps=4, num_inner_steps=3, window=2)
      >>> state, history = dj.run(recipe, digits, num_steps=4, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Its stages are those of :func:`~distill_jax.methods.rcig` and
      :func:`~distill_jax.methods.rat_bptt`.
    """
    parts.check_positive(
        learning_rate=learning_rate,
        unrolled_rate=unrolled_rate,
        network_learning_rate=network_learning_rate,
        num_steps=num_steps,
        ridge=ridge,
    )
    if not 0 <= warm_share <= 1:
        raise errors.InputError(
            f"`warm_share` is a share of the steps, from 0 to 1, got {warm_share}."
        )
    strategy = parts.strategy(task, augmentation)
    num_warm = round(warm_share * num_steps)
    num_after = num_steps - num_warm
    stages, rates = [], []
    if num_warm:
        kernel = objectives.kernel_regression(
            task,
            num_networks=num_networks,
            learning_rate=network_learning_rate,
            ridge=ridge,
            margin_limit=0.5 / task.description["num_classes"],
        )
        stages.append((kernel, num_warm))
        rates.append(parts.cosine(learning_rate, num_warm, final_rate))
    if num_after:
        unrolled = objectives.unrolled_training(
            task.retarget("centred"),
            num_steps=num_inner_steps,
            window=window,
            windows="random",
            optimizer=unroll.adam(network_learning_rate),
            batch_size=network_batch_size,
            policy=augment.parse(strategy),
        )
        stages.append((unrolled, num_after))
        rates.append(parts.cosine(unrolled_rate, num_after, final_rate))
    rate = optax.join_schedules(rates, [num_warm] if len(rates) > 1 else [])
    clipped = [] if clip is None else [transforms.clip_by_average_norm(clip)]
    outer = optax.chain(*clipped, optax.adam(rate))
    decoder = transforms.learn_labels(parts.decoder(factor), kind="centred")
    method = bilevel.distill(
        objectives.in_stages(stages),
        decoder=transforms.learn_temperature(decoder),
        optimizer={"x": outer, "y": outer, "log_temperature": optax.adam(3e-2)},
    )
    if decay is not None:
        method = transforms.moving_average(method, decay)
    judged = protocols.Protocol(
        optimizer="adam",
        learning_rate=network_learning_rate,
        weight_decay=0.0,
        num_steps=num_inner_steps,
        batch_size=network_batch_size or 10**6,  # all of the set
        augmentation=strategy,
        targets="centred",
    )
    return base.Recipe(
        method=method,
        sampler=samplers.uniform(batch_size),
        seed_fn=seeds.seed_fn(initialisation, num_per_class * factor**2),
        source_fn=data.to_source,
        protocol=protocol or judged,
    )
