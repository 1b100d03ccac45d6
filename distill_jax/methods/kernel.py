# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that solve the last layer in closed form: FRePo and RCIG."""

from typing import Literal

import optax

from distill_jax import base, errors, objectives, samplers, transforms
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import ingredients, initial_examples, options
from distill_jax.transforms import bending

__all__ = ["frepo", "rcig"]


@options.named_method
def frepo(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
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
    bend: bending.Bends = None,
) -> base.Recipe:
    """Regresses on features of a pool of networks, with learned labels (FRePo).

    Args:
      task: what the set is made for: a network that gives features, a loss and the
        classes.
      num_steps: length of the run, over which the learning rates fall by a cosine.
      batch_size: real examples of a step.
      learning_rate: learning rate of the pictures at the start.
      label_learning_rate: learning rate of the labels at the start; that of the
        pictures by default.
      optimizer: of pictures and labels: ``"lamb"``, the paper's, or ``"adam"``.
      num_networks: networks of the pool.
      num_active: networks of the pool that take part in a step.
      max_age: steps of its training after which a network is replaced by a fresh one.
      network_learning_rate: learning rate of Adam for the networks.
      use_flip: whether mirror images join the regression and the evaluation; the paper
        has them for colour pictures.

    Returns:
      A :class:`~distill_jax.base.Recipe` with centred targets, or values.

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
    makers = {"lamb": optax.lamb, "adam": optax.adam}
    if optimizer not in makers:
        hint = errors.nearest(optimizer, makers)
        raise errors.InputError(f'There is no outer optimiser "{optimizer}". {hint}')
    label_rate = learning_rate if label_learning_rate is None else label_learning_rate
    cosine = lambda rate: ingredients.cosine(rate, num_steps, final_rate)
    shared = ingredients.Shared(
        task, num_per_class, num_examples, initialisation, factor, protocol, bend
    )
    objective = objectives.kernel_regression(
        task,
        num_networks=num_networks,
        num_active=num_active,
        training=objectives.MemberTraining(max_age, network_learning_rate),
        ridge=ridge,
        use_flip=use_flip,
    )
    method = shared.distill(
        objective,
        {
            "x": makers[optimizer](cosine(learning_rate)),
            "y": makers[optimizer](cosine(label_rate)),
        },
        decoder=transforms.learn_labels(shared.decoder(), kind=shared.label_kind),
    )
    return shared.recipe(
        method,
        samplers.uniform(batch_size),
        protocol=_protocol(shared, use_flip),
    )


@options.variant_of(frepo)
def rcig(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
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
    bend: bending.Bends = None,
) -> base.Recipe:
    """Regresses on features as :func:`frepo`, by the cross-entropy (RCIG).

    The outer loss is the cross-entropy of the ridge prediction times a learned
    temperature, the optimiser AdaBelief, the label's margin counts up to 1/(2C), and
    what is stored is a moving average. The paper's implicit derivative of the networks
    is an option; its softplus networks are the task's to have: distil with one of
    ``convnet(activation="softplus", softplus_beta=60)`` and judge with ReLU.

    Args:
      learning_rate: learning rate of AdaBelief for the pictures at the start.
      label_learning_rate: learning rate of AdaBelief for the labels at the start.
      temperature_learning_rate: learning rate of the logarithm of the temperature.
      num_steps: length of the run, over which the learning rates fall by a cosine; they
        are constant by default.
      decay: share of the old average in the moving average of pictures and labels,
        which is what is stored, from 0 to below 1; None stores the last ones.
      ridge: regulariser of the ridge regression, as a multiple of the mean diagonal of
        the kernel; by default 5e-4 for each example.
      num_implicit: iterations of conjugate gradients for the implicit derivative of the
        networks; 20 in the paper, and 0 for none of it.
      use_flip: whether mirror images join the regression and the evaluation.
      protocol: how a network is trained on the result to judge it, a
        :class:`~distill_jax.evaluation.Protocol`; FRePo's by default.

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
    options.check_positive(temperature_learning_rate=temperature_learning_rate)
    if num_implicit < 0:
        raise errors.InputError(
            f"`num_implicit` must be 0 for no implicit derivative, or more, got "
            f"{num_implicit}."
        )
    shared = ingredients.Shared(
        task, num_per_class, num_examples, initialisation, factor, protocol, bend
    )
    shared.check_classes("RCIG lowers the cross-entropy of a prediction")
    num_classes = task.facts.num_classes
    objective = objectives.kernel_regression(
        task,
        num_networks=num_networks,
        num_active=num_active,
        training=objectives.MemberTraining(max_age, network_learning_rate),
        ridge=5e-4 * shared.num_rows if ridge is None else ridge,
        margin_limit=0.5 / num_classes,
        use_flip=use_flip,
        num_implicit=num_implicit,
    )
    cosine = lambda rate: ingredients.cosine(rate, num_steps, final_rate)
    decoder = transforms.learn_labels(shared.decoder(), kind="centred")
    method = shared.distill(
        objective,
        {
            "x": optax.adabelief(cosine(learning_rate)),
            "y": optax.adabelief(cosine(label_learning_rate)),
            "log_temperature": optax.adabelief(cosine(temperature_learning_rate)),
        },
        decoder=transforms.learn_temperature(decoder),
    )
    if decay is not None:
        method = transforms.moving_average(method, decay)
    return shared.recipe(
        method,
        samplers.uniform(batch_size),
        protocol=_protocol(shared, use_flip),
    )


def _protocol(shared: ingredients.Shared, use_flip: bool) -> protocols.Protocol:
    """That of FRePo, which depends on the number of examples."""
    return protocols.frepo_protocol(shared.num_rows, use_flip=use_flip)
