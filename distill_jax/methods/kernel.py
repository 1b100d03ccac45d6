# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that solve the last layer in closed form: FRePo and RCIG."""

from typing import Literal

import optax

from distill_jax import base, bilevel, data, errors, objectives, samplers, transforms
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import initial_examples, parts

__all__ = ["frepo", "rcig"]


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
    initialisation: initial_examples.Initialisation = "real",
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
      use_flip: mirror images, in the regression and in the evaluation; the paper: for
        colour pictures.
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
    makers = {"lamb": optax.lamb, "adam": optax.adam}
    if optimizer not in makers:
        hint = errors.nearest(optimizer, makers)
        raise errors.InputError(f'There is no outer optimiser "{optimizer}". {hint}')
    decay = lambda rate: parts.cosine(rate, num_steps, final_rate)
    method = bilevel.distill(
        objectives.kernel_regression(
            task,
            num_networks=num_networks,
            num_active=num_active,
            max_age=max_age,
            learning_rate=network_learning_rate,
            ridge=ridge,
            use_flip=use_flip,
        ),
        decoder=transforms.learn_labels(parts.decoder(factor), kind="centred"),
        optimizer={
            "x": makers[optimizer](decay(learning_rate)),
            "y": makers[optimizer](decay(label_learning_rate)),
        },
    )
    return _recipe(
        task,
        method,
        num_per_class * factor**2,
        batch_size=batch_size,
        initialisation=initialisation,
        use_flip=use_flip,
        protocol=protocol,
    )


def rcig(
    task: base.Task,
    *,
    num_per_class: int,
    batch_size: int = 1024,
    learning_rate: float = 3e-3,
    label_learning_rate: float = 3e-3,
    temperature_learning_rate: float = 3e-2,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    decay: float | None = 0.99,
    num_networks: int = 10,
    num_active: int = 1,
    max_age: int = 100,
    network_learning_rate: float = 3e-4,
    ridge: float | None = None,
    num_implicit: int = 0,
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    use_flip: bool = False,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """What makes RCIG better than FRePo: a cross-entropy, and an average of the set.

    The outer loss is the cross-entropy of the ridge prediction times a learned
    temperature, the optimiser AdaBelief, the label's margin counts up to 1/(2C), and
    what is stored is a moving average. The paper's implicit derivative of the networks
    is an option; its softplus networks are the task's to have: distil with one of
    ``convnet(activation="softplus", softplus_beta=60)`` and judge with ReLU.

    Args:
      task: a task with features.
      num_per_class: stored pictures of each class.
      batch_size: real examples of each step.
      learning_rate: of the pictures.
      label_learning_rate: of the labels.
      temperature_learning_rate: of the logarithm of the temperature.
      num_steps: length of the run, over which the learning rates decay by a cosine;
        they are constant by default.
      final_rate: the learning rates at the end, as a share of those at the start.
      decay: of the moving average; None for the last pictures and labels.
      num_networks: the size of the pool.
      num_active: networks per step.
      max_age: training steps after which a network is replaced.
      network_learning_rate: of Adam for the networks.
      ridge: the regulariser, as a multiple of the mean diagonal of the kernel; by
        default 5e-4 for each example.
      num_implicit: iterations of conjugate gradients for the implicit derivative of
        the networks; 20 in the paper, none by default.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples.
      use_flip: mirror images, in the regression and in the evaluation.
      protocol: how the result is judged; that of FRePo by default.

    Returns:
      A :class:`~distill_jax.base.Recipe` with centred targets.

    Raises:
      InputError: for rates and counts that are not positive.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = rcig(task, num_per_class=1, batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).y.shape
      (10, 10)

    Reference:
      Noel Loo, Ramin Hasani, Mathias Lechner, Daniela Rus, "Dataset Distillation with
      Convexified Implicit Gradients", 2023, section 4 and its released code.
    """
    num_classes = task.facts.num_classes
    num_examples = num_per_class * factor**2 * num_classes
    jitter = 5e-4 * num_examples if ridge is None else ridge
    parts.check_positive(
        learning_rate=learning_rate,
        label_learning_rate=label_learning_rate,
        temperature_learning_rate=temperature_learning_rate,
        network_learning_rate=network_learning_rate,
        ridge=jitter,
    )
    if num_implicit < 0:
        raise errors.InputError(
            f"`num_implicit` must be 0 for no implicit derivative, or more, got "
            f"{num_implicit}."
        )
    belief = lambda rate: optax.adabelief(parts.cosine(rate, num_steps, final_rate))
    decoder = transforms.learn_labels(parts.decoder(factor), kind="centred")
    method = bilevel.distill(
        objectives.kernel_regression(
            task,
            num_networks=num_networks,
            num_active=num_active,
            max_age=max_age,
            learning_rate=network_learning_rate,
            ridge=jitter,
            margin_limit=0.5 / num_classes,
            use_flip=use_flip,
            num_implicit=num_implicit,
        ),
        decoder=transforms.learn_temperature(decoder),
        optimizer={
            "x": belief(learning_rate),
            "y": belief(label_learning_rate),
            "log_temperature": belief(temperature_learning_rate),
        },
    )
    if decay is not None:
        method = transforms.moving_average(method, decay)
    return _recipe(
        task,
        method,
        num_per_class * factor**2,
        batch_size=batch_size,
        initialisation=initialisation,
        use_flip=use_flip,
        protocol=protocol,
    )


def _recipe(
    task: base.Task,
    method: base.Method,
    num_per_class: int,
    *,
    batch_size: int,
    initialisation: initial_examples.Initialisation,
    use_flip: bool,
    protocol: protocols.Protocol | None,
) -> base.Recipe:
    num_examples = num_per_class * task.facts.num_classes
    return base.Recipe(
        method=method,
        sampler=samplers.uniform(batch_size),
        initial_fn=initial_examples.initial_fn(initialisation, num_per_class),
        source_fn=data.to_source,
        protocol=protocol or protocols.frepo_protocol(num_examples, use_flip=use_flip),
    )
