# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The classification task: a network that names the class of an example.

With the logits ``z = f(x)`` the loss of one example is, by the kind of its label ``y``,

    "probabilities":  - sum_c y_c log softmax(z)_c          (cross-entropy)
    "centred":        1/2 sum_c (z_c - y_c)^2               (FRePo's regression)

A label that does not sum to one is not normalised: it weighs its example, as in
"A Label is Worth a Thousand Images".
"""

import jax

from distill_jax import base, errors, nets, types
from distill_jax import data as data_lib
from distill_jax.tasks import judging, losses, supervised
from distill_jax.types import Array

__all__ = ["classification"]

_LOSSES = {
    "probabilities": ("soft cross-entropy", losses.soft_cross_entropy),
    "centred": ("squared error", losses.squared_error),
}


def classification(
    net: nets.Net, spec: data_lib.DataSpec, *, targets: types.Targets = "probabilities"
) -> base.Task:
    """Makes the task of classifying the examples of a data set with one network.

    Args:
      net: a :class:`~distill_jax.nets.Net`.
      spec: a :class:`~distill_jax.data.DataSpec`; ``shape`` and ``num_classes`` count.
      targets: what ``y`` [B, C] means to ``train_loss``: ``"probabilities"`` (soft
        cross-entropy) or ``"centred"`` (half the squared error).

    Returns:
      A :class:`~distill_jax.base.Task`. ``predict`` gives logits [B, C], whose argmax
      is the class for both kinds of targets; ``metrics`` judges by it. ``test_loss``
      is the cross-entropy of ``softmax(logits)`` with classes [B] or probabilities
      [B, C]. There is no context.

    Raises:
      InputError: if the network does not take examples of ``spec.shape``, does not
        give ``spec.num_classes`` outputs, the targets are none of the two kinds, or
        the data have no classes.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> variables = task.init(jax.random.key(0), None)
      >>> examples = dj.Examples(x=jnp.ones((2, 8, 8, 1)), y=jnp.eye(10)[:2])
      >>> loss, stats = task.train_loss(variables, jax.random.key(1), examples, None)
      >>> loss.shape, stats
      ((2,), {})

    Reference:
      Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024 (soft cross-entropy). Zhou, Nezhadarya, Ba, "Dataset
      Distillation using Neural Feature Regression", 2022 (centred labels).
    """
    losses.check_targets(targets)
    if not spec.num_classes:
        raise errors.InputError(
            f'The targets of "{spec.name}" are {spec.num_targets} numbers and no '
            "classes; use `tasks.regression`."
        )

    def test_loss(logits: Array, y: Array) -> Array:
        y = y if y.ndim == 2 else jax.nn.one_hot(y, spec.num_classes)
        return losses.soft_cross_entropy(logits, y)

    return supervised.supervised(
        net,
        spec,
        facts=base.TaskFacts(
            kind="classification",
            loss=_LOSSES[targets][0],
            num_classes=spec.num_classes,
            metrics=(judging.ACCURACY,),
        ),
        targets=targets,
        encode=lambda probabilities: losses.encode(probabilities, targets),
        output_loss=_LOSSES[targets][1],
        test_loss=test_loss,
        metrics=lambda logits, y: {"accuracy": judging.accuracy(logits, y)},
        groups=lambda examples: examples.y,
        retarget=lambda kind: classification(net, spec, targets=kind),
    )
