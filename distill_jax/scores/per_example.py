# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What one network says of every example; a high score means a hard example.

With the loss ``L``, the logits ``z = f(x)``, the probabilities ``p = softmax(z)``, the
features before the last layer ``h`` and a label ``y`` of class ``k``,

    loss              L(x, y)
    grand             || d L(x, y) / d theta ||,  over all parameters    (GraNd, GraDN)
    last_layer_grand  || p - y || sqrt(|| h ||^2 + 1),  a bound of it from below
    el2n              || p - y ||
    margin            max over c != k of z_c  -  z_k
    misclassified     1 where argmax z is not k, else 0
    input_norm        || x ||,  the control: no network is asked

At random initialisation GraNd follows the norm of the input and chooses no better than
chance (Kirsch, 2023); score with networks that were trained for some epochs.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, errors
from distill_jax.types import Array

__all__ = [
    "OF_CLASSES",
    "SCORES",
    "ScoreFn",
    "el2n",
    "grand",
    "input_norm",
    "last_layer_grand",
    "loss",
    "margin",
    "misclassified",
]

ScoreFn = Callable[[base.Task, base.Variables, base.Examples, Any], Array]
OF_CLASSES = ("last_layer_grand", "el2n", "margin", "misclassified")  # no values
# A test loss takes a key for tasks that draw points; classification ignores it.
_KEY_SEED = 0


def loss(
    task: base.Task,
    variables: base.Variables,
    examples: base.Examples,
    context: Any = None,
) -> Array:
    """The loss of each example, as the task judges it.

    Args:
      task: gives ``test_loss``, such as the cross-entropy.
      variables: of one network.
      examples: ``x`` [B, ...] as networks see it, ``y`` [B, C].
      context: of the task.

    Returns:
      [B].

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> zeros = jax.tree.map(jnp.zeros_like, task.init(jax.random.key(0), None))
      >>> examples = dj.Examples(x=jnp.zeros((2, 8, 8, 1)), y=jnp.eye(10)[:2])
      >>> bool(jnp.allclose(loss(task, zeros, examples), jnp.log(10)))
      True
    """
    return task.test_loss(variables, jax.random.key(_KEY_SEED), examples, context)


def grand(
    task: base.Task,
    variables: base.Variables,
    examples: base.Examples,
    context: Any = None,
) -> Array:
    """The norm of the gradient of each example's loss, in all parameters together.

    Args:
      task: gives ``test_loss``; a network with statistics is scored in inference.
      variables: of one network.
      examples: ``x`` [B, ...] as networks see it, ``y`` [B, C].
      context: of the task.

    Returns:
      [B].

    Example:
      For a linear classifier it is the product of EL2N and the norm of ``[x; 1]``.

      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=()), data.spec)
      >>> variables = task.init(jax.random.key(0), None)
      >>> examples = dj.Examples(x=jnp.ones((2, 8, 8, 1)), y=jnp.eye(10)[:2])
      >>> ratio = grand(task, variables, examples) / el2n(task, variables, examples)
      >>> bool(jnp.allclose(ratio, jnp.sqrt(65.0)))
      True

    Reference:
      Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet: Finding Important
      Examples Early in Training", 2021, definition 2.1. Called GraDN in Wang et al.,
      "Not All Samples Should Be Utilized Equally: Towards Understanding and Improving
      Dataset Distillation", 2024.
    """

    def loss_of_one(params: Any, example: base.Examples) -> Array:
        one = jax.tree.map(lambda leaf: leaf[None], example)
        return loss(task, variables._replace(params=params), one, context)[0]

    gradient = jax.grad(loss_of_one)
    norm = lambda example: optax.tree.norm(gradient(variables.params, example))
    return jax.vmap(norm)(examples._replace(weight=None))


def last_layer_grand(
    task: base.Task,
    variables: base.Variables,
    examples: base.Examples,
    context: Any = None,
) -> Array:
    """The norm of the gradient in the last layer alone; needs no backward pass.

    Args:
      task: gives ``predict`` and the features ``"penultimate"``; its network ends in a
        linear layer with a bias.
      variables: of one network.
      examples: ``x`` [B, ...] as networks see it, ``y`` [B, C].
      context: of the task.

    Returns:
      [B], at most :func:`grand`.

    Raises:
      InputError: when the task has no features.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> variables = task.init(jax.random.key(0), None)
      >>> examples = dj.Examples(x=jnp.ones((2, 8, 8, 1)), y=jnp.eye(10)[:2])
      >>> bound = last_layer_grand(task, variables, examples)
      >>> bool(jnp.all(bound <= grand(task, variables, examples)))
      True
    """
    if task.features is None:
        raise errors.InputError(
            "`last_layer_grand` needs the features before the last layer, which this "
            "task does not give; use `el2n` or `grand`."
        )
    features = task.features(variables, examples.x, context)["penultimate"]
    features = features.reshape(len(features), -1)
    length = jnp.sqrt(jnp.sum(features**2, axis=1) + 1)
    return el2n(task, variables, examples, context) * length


def el2n(
    task: base.Task,
    variables: base.Variables,
    examples: base.Examples,
    context: Any = None,
) -> Array:
    """The distance of the predicted probabilities from the label.

    Args:
      task: gives ``predict``.
      variables: of one network.
      examples: ``x`` [B, ...] as networks see it, ``y`` [B, C].
      context: of the task.

    Returns:
      [B], from 0 to the square root of two.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> zeros = jax.tree.map(jnp.zeros_like, task.init(jax.random.key(0), None))
      >>> examples = dj.Examples(x=jnp.zeros((1, 8, 8, 1)), y=jnp.eye(10)[:1])
      >>> bool(jnp.allclose(el2n(task, zeros, examples), jnp.sqrt(0.9)))
      True

    Reference:
      Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet: Finding Important
      Examples Early in Training", 2021, definition 2.3.
    """
    logits = task.predict(variables, examples.x, context)
    return jnp.linalg.norm(jax.nn.softmax(logits) - examples.y, axis=1)


def margin(
    task: base.Task,
    variables: base.Variables,
    examples: base.Examples,
    context: Any = None,
) -> Array:
    """By how much the largest other logit exceeds that of the class.

    Args:
      task: gives ``predict``.
      variables: of one network.
      examples: ``x`` [B, ...] as networks see it, ``y`` [B, C]; its argmax counts.
      context: of the task.

    Returns:
      [B]; positive where the example is misclassified.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> zeros = jax.tree.map(jnp.zeros_like, task.init(jax.random.key(0), None))
      >>> examples = dj.Examples(x=jnp.zeros((1, 8, 8, 1)), y=jnp.eye(10)[:1])
      >>> margin(task, zeros, examples).tolist()
      [0.0]
    """
    logits = task.predict(variables, examples.x, context)
    is_own = jax.nn.one_hot(examples.y.argmax(axis=1), logits.shape[1], dtype=bool)
    others = jnp.where(is_own, -jnp.inf, logits).max(axis=1)
    return others - jnp.where(is_own, logits, -jnp.inf).max(axis=1)


def misclassified(
    task: base.Task,
    variables: base.Variables,
    examples: base.Examples,
    context: Any = None,
) -> Array:
    """Whether each example is misclassified; the mean over networks is a difficulty.

    Args:
      task: gives ``predict``.
      variables: of one network.
      examples: ``x`` [B, ...] as networks see it, ``y`` [B, C]; its argmax counts.
      context: of the task.

    Returns:
      [B], 0 or 1.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> zeros = jax.tree.map(jnp.zeros_like, task.init(jax.random.key(0), None))
      >>> examples = dj.Examples(x=jnp.zeros((2, 8, 8, 1)), y=jnp.eye(10)[:2])
      >>> misclassified(task, zeros, examples).tolist()
      [0.0, 1.0]

    Reference:
      Wang et al., "Not All Samples Should Be Utilized Equally: Towards Understanding
      and Improving Dataset Distillation", 2024, sample difficulty.
    """
    logits = task.predict(variables, examples.x, context)
    is_wrong = logits.argmax(axis=1) != examples.y.argmax(axis=1)
    return is_wrong.astype(logits.dtype)


def input_norm(
    task: base.Task,
    variables: base.Variables,
    examples: base.Examples,
    context: Any = None,
) -> Array:
    """The norm of each input, which a score of hardness should not merely repeat.

    Args:
      task: of no account, as the network is.
      variables: of no account.
      examples: ``x`` [B, ...] as networks see it.
      context: of no account.

    Returns:
      [B].

    Example:
      >>> import distill_jax as dj, jax.numpy as jnp
      >>> examples = dj.Examples(x=jnp.ones((1, 3, 3, 1)), y=jnp.ones((1, 1)))
      >>> input_norm(None, None, examples).tolist()
      [3.0]

    Reference:
      Kirsch, "Does 'Deep Learning on a Data Diet' reproduce? Overall yes, but GraNd at
      Initialization does not", 2023.
    """
    del task, variables, context
    return jnp.linalg.norm(examples.x.reshape(len(examples.x), -1), axis=1)


SCORES: Mapping[str, ScoreFn] = {
    fn.__name__: fn
    for fn in (loss, grand, last_layer_grand, el2n, margin, misclassified, input_norm)
}
