# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Our own recommended recipe: a kernel, and perhaps what is evaluated, unrolled."""

import dataclasses

import optax

from distill_jax import base, objectives, samplers, transforms
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import ingredients, initial_examples, options
from distill_jax.methods import unrolled_recipes as recipes
from distill_jax.transforms import bending

__all__ = ["auto"]

# How the result is judged where no training is unrolled.
_SHORT = {
    "schedule": "warmup_cosine",
    "warmup_steps": 50,
    "num_steps": 500,
    "batch_size": protocols.Protocol.batch_size,
}


@options.named_method
def auto(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
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
    bend: bending.Bends = None,
) -> base.Recipe:
    """Regresses on features by the cross-entropy, on quartered pictures.

    The loss of RCIG with a pool of networks, pictures that stand for four examples each
    where they are large and few, learned labels, and a moving average. With
    ``warm_share`` below 1 the training of a network in random windows follows, from
    what the kernel came to; it is off by default, since it does not help on validation
    splits, and neither does solving the labels in closed form.

    Args:
      task: what the set is made for: a network that gives features, a loss and the
        classes.
      num_steps: length of the run, both stages together.
      warm_share: the share of the steps that regress on features, from 0 to 1.
      batch_size: real examples of a step.
      learning_rate: learning rate of Adam for pictures and labels, at the start of the
        first stage.
      unrolled_rate: learning rate of Adam for pictures and labels, at the start of the
        second stage.
      final_rate: the learning rates at the end of each stage, as a share of those at
        its start.
      num_networks: networks of the pool of the first stage.
      network_learning_rate: learning rate of Adam for the networks: of the pool, of the
        training that is unrolled, and of the evaluation.
      num_inner_steps: T, steps of the training that is unrolled.
      window: W, how many of those steps are differentiated.
      augmentation: strategy string of what is drawn anew in each inner step and in the
        evaluation: ``"none"``, operations such as ``"crop_rotate"``, or ``"auto"``:
        all of DSA, without ``flip`` for digits.
      clip: gradients are clipped at this multiple of the average of their norm, above
        1, and divided by that average.
      factor: with 2 or 3, each stored picture is cut into 4 or 9 tiles, which are
        enlarged to as many examples; by default 2 for pictures of at least 24 rows and
        columns with fewer than five of a class, else 1.
      protocol: how a network is trained on the result to judge it, a
        :class:`~distill_jax.evaluation.Protocol`; by default 500 steps of Adam with a
        warm-up and a cosine, or the training that was unrolled.

    Returns:
      A :class:`~distill_jax.base.Recipe` with centred targets.

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
    options.check_positive(unrolled_rate=unrolled_rate)
    options.check_share("the steps", warm_share=warm_share)
    factor = _factor(task, num_per_class) if factor is None else factor
    shared = ingredients.Shared(
        task, num_per_class, num_examples, initialisation, factor, protocol, bend
    )
    shared.check_classes("`auto` lowers the cross-entropy of a prediction")
    unrolling = recipes.Unrolling("random", num_inner_steps, window, augmentation)
    student = recipes.Student("adam", network_learning_rate, network_batch_size)
    num_warm = round(warm_share * num_steps)
    num_after = num_steps - num_warm
    stages, rates = [], []
    if num_warm:
        kernel = objectives.kernel_regression(
            task,
            num_networks=num_networks,
            training=objectives.MemberTraining(learning_rate=network_learning_rate),
            ridge=ridge,
            margin_limit=0.5 / task.facts.num_classes,
        )
        stages.append((kernel, num_warm))
        rates.append(ingredients.cosine(learning_rate, num_warm, final_rate))
    if num_after:
        windows = recipes.training_objective(
            task.retarget("centred"), unrolling, student, probes=shared.probes
        )
        stages.append((windows, num_after))
        rates.append(ingredients.cosine(unrolled_rate, num_after, final_rate))
    rate = optax.join_schedules(rates, [num_warm] if len(rates) > 1 else [])
    # Adam remembers the size of gradients for longer than a stage has to begin.
    relative = transforms.clip_by_average_norm(clip, is_relative=True)
    outer = optax.chain(relative, optax.adam(rate))
    decoder = transforms.learn_labels(shared.decoder(), kind="centred")
    method = shared.distill(
        objectives.in_stages(stages),
        {"x": outer, "y": outer, "log_temperature": optax.adam(3e-2)},
        decoder=transforms.learn_temperature(decoder),
    )
    if decay is not None:
        method = transforms.moving_average(method, decay)
    judged = recipes.training_protocol(task, unrolling, student)
    if not num_after:
        judged = dataclasses.replace(judged, **_SHORT)
    return shared.recipe(
        method,
        samplers.uniform(batch_size),
        protocol=dataclasses.replace(judged, targets="centred"),
    )


def _factor(task: base.Task, num_per_class: int | None) -> int:
    """Quarters are worth it where they show something and examples are few."""
    shape = task.facts.shape
    is_large = len(shape) == 3 and min(shape[:2]) >= 24
    return 2 if is_large and (num_per_class or 5) < 5 else 1
