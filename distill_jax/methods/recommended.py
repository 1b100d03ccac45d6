# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Our own recommended recipe: a kernel, and perhaps what is evaluated, unrolled."""

from typing import Any

import optax

from distill_jax import base, bilevel, data, errors, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import initial_examples, parts

__all__ = ["auto"]


def auto(
    task: base.Task,
    *,
    num_per_class: int,
    num_steps: int,
    warm_share: float = 1.0,
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
    clip: float = 2.0,
    decay: float | None = 0.99,
    initialisation: initial_examples.Initialisation = "real",
    factor: int | None = None,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Neural feature regression by the cross-entropy, on quartered pictures.

    The loss of RCIG with a pool of networks, pictures that stand for four examples each
    where they are large and few, learned labels, and a moving average. What follows on
    request (``warm_share`` below 1) is the training of a network in random windows,
    from what the kernel came to; it is off, for it did not help wherever it was tried
    on a validation split, and neither did solving the labels in closed form.

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
      num_inner_steps: T, of the training that is unrolled.
      window: W, how many steps of it are differentiated.
      network_batch_size: synthetic examples of an inner step; all by default.
      augmentation: a strategy, drawn anew in each inner step, and in the evaluation.
      clip: gradients are clipped at this multiple of the average of their norm, and
        divided by it.
      decay: of the moving average of pictures and labels, which is what is stored.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples; by default
        2 for pictures of at least 24 rows and columns with fewer than five of a class,
        else 1.
      protocol: how the result is judged; by default by 500 steps of Adam with a warm-up
        and a cosine, or by the training that was unrolled.

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
      >>> recipe = auto(task, num_per_class=1, num_steps=4, batch_size=64)
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
    factor = _factor(task, num_per_class) if factor is None else factor
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
            margin_limit=0.5 / task.facts.num_classes,
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
            policy=policies.parse(strategy),
        )
        stages.append((unrolled, num_after))
        rates.append(parts.cosine(unrolled_rate, num_after, final_rate))
    rate = optax.join_schedules(rates, [num_warm] if len(rates) > 1 else [])
    # Adam remembers the size of gradients for longer than a stage has to begin.
    relative = transforms.clip_by_average_norm(clip, is_relative=True)
    outer = optax.chain(relative, optax.adam(rate))
    decoder = transforms.learn_labels(parts.decoder(factor), kind="centred")
    method = bilevel.distill(
        objectives.in_stages(stages),
        decoder=transforms.learn_temperature(decoder),
        optimizer={"x": outer, "y": outer, "log_temperature": optax.adam(3e-2)},
    )
    if decay is not None:
        method = transforms.moving_average(method, decay)
    training: dict[str, Any] = {
        "schedule": "warmup_cosine",
        "warmup_steps": 50,
        "num_steps": 500,
    }
    if num_after:
        training = {
            "num_steps": num_inner_steps,
            "batch_size": network_batch_size or 10**6,  # all of the set
        }
    judged = protocols.Protocol(
        optimizer="adam",
        learning_rate=network_learning_rate,
        weight_decay=0.0,
        augmentation=strategy,
        targets="centred",
        **training,
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


def _factor(task: base.Task, num_per_class: int) -> int:
    """Quarters are worth it where they show something and examples are few."""
    shape = task.facts.shape
    is_large = len(shape) == 3 and min(shape[:2]) >= 24
    return 2 if is_large and num_per_class < 5 else 1
