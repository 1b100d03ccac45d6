# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The classification task: a network that names the class of an example.

With the logits ``z = f(x)`` the loss of one example is, by the kind of its label ``y``,

    "probabilities":  - sum_c y_c log softmax(z)_c          (cross-entropy)
    "centred":        1/2 sum_c (z_c - y_c)^2               (FRePo's regression)

A label that does not sum to one is not normalised: it weighs its example, as in
"A Label is Worth a Thousand Images".
"""

from collections.abc import Mapping
from typing import Any, get_args

import jax
import jax.numpy as jnp

from distill_jax import base, errors, nets, types
from distill_jax import data as data_lib
from distill_jax.tasks import judging
from distill_jax.types import Array, Key, PyTree

__all__ = ["classification", "encode", "soft_cross_entropy", "squared_error"]

_LOSSES = {"probabilities": "soft cross-entropy", "centred": "squared error"}


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
        give ``spec.num_classes`` outputs, or the targets are none of the two kinds.

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
    _check_targets(targets)
    _check_net(net, spec)
    loss_fn = soft_cross_entropy if targets == "probabilities" else squared_error

    def init(key: Key, context: Any) -> base.Variables:
        del context  # There is none.
        return net.init(key, spec.shape)

    def train_loss(
        variables: base.Variables, key: Key, data: Any, context: Any
    ) -> tuple[Array, PyTree]:
        del context
        logits, stats = net.apply_train(variables, key, data.x)
        return loss_fn(logits, data.y), stats

    def test_loss(
        variables: base.Variables, key: Key, data: Any, context: Any
    ) -> Array:
        del key, context  # Inference is deterministic.
        y = data.y if data.y.ndim == 2 else jax.nn.one_hot(data.y, spec.num_classes)
        return soft_cross_entropy(net.apply(variables, data.x), y)

    def features(
        variables: base.Variables, x: PyTree, context: Any
    ) -> Mapping[str, Array]:
        del context
        return net.features(variables, x)

    def predict(variables: base.Variables, x: PyTree, context: Any) -> Array:
        del context
        return net.apply(variables, x)

    def metrics(
        variables: base.Variables, data: Any, context: Any
    ) -> Mapping[str, Array]:
        logits = judging.predict_held_out(predict, variables, data, context)
        return {"accuracy": judging.accuracy(logits, data.y)}

    return base.Task(
        sample_context=lambda key: None,
        init=init,
        train_loss=train_loss,
        test_loss=test_loss,
        predict=predict,
        features=features,
        groups=lambda examples: examples.y,
        targets=targets,
        retarget=lambda kind: classification(net, spec, targets=kind),
        facts=base.TaskFacts(
            kind="classification",
            loss=_LOSSES[targets],
            num_classes=spec.num_classes,
            network=dict(net.description),
            data_name=spec.name,
            shape=tuple(spec.shape),
            bounds=_bounds(spec),
            metrics=(judging.ACCURACY,),
        ),
        metrics=metrics,
    )


def soft_cross_entropy(logits: Array, y: Array) -> Array:
    """The cross-entropy of each example, ``- sum_c y_c log softmax(z)_c``.

    Args:
      logits: [B, C].
      y: [B, C] class probabilities; a row need not sum to one.

    Returns:
      [B]. The gradient in the logits is ``(sum_c y_c) softmax(z) - y``.

    Example:
      >>> import jax.numpy as jnp
      >>> logits = jnp.log(jnp.array([[1.0, 3.0]]))  # Probabilities 1/4, 3/4.
      >>> loss = soft_cross_entropy(logits, jnp.array([[0.5, 0.5]]))
      >>> round(float(loss[0]), 4)
      0.837
    """
    return -jnp.sum(y * jax.nn.log_softmax(logits), axis=-1)


def squared_error(logits: Array, y: Array) -> Array:
    """Half the squared error of each example, ``1/2 sum_c (z_c - y_c)^2``.

    Args:
      logits: [B, C].
      y: [B, C] centred labels.

    Returns:
      [B].

    Example:
      >>> import jax.numpy as jnp
      >>> print(squared_error(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 0.0]])))
      [2.5]
    """
    return 0.5 * jnp.sum((logits - y) ** 2, axis=-1)


def encode(probabilities: Array, targets: types.Targets) -> Array:
    """Writes class probabilities as labels of a kind.

        "centred":  (p - 1/C) / sqrt(C / 10)

    Args:
      probabilities: [..., C]; one-hot rows for hard labels.
      targets: ``"probabilities"`` or ``"centred"``.

    Returns:
      [..., C].

    Raises:
      InputError: if the targets are none of the two kinds.

    Example:
      >>> import jax.numpy as jnp
      >>> print(encode(jnp.eye(10)[3, 2:5], "probabilities"))
      [0. 1. 0.]
      >>> print(encode(jnp.eye(10)[3], "centred")[2:5])
      [-0.1  0.9 -0.1]

    Reference:
      Zhou, Nezhadarya, Ba, "Dataset Distillation using Neural Feature Regression",
      2022.
    """
    _check_targets(targets)
    if targets == "probabilities":
        return probabilities
    num_classes = probabilities.shape[-1]
    return (probabilities - 1 / num_classes) / (num_classes / 10) ** 0.5


def _bounds(spec: data_lib.DataSpec) -> tuple[list[float], list[float]] | None:
    """What black and white are, where the data set says how it is normalised."""
    is_known = isinstance(spec.normalizer, data_lib.Normalizer)
    return data_lib.pixel_bounds(spec.normalizer) if is_known else None


def _check_targets(targets: str) -> None:
    known = get_args(types.Targets)
    if targets not in known:
        raise errors.InputError(
            f'`targets` is "{targets}", which no task knows. '
            f"{errors.nearest(str(targets), known)}"
        )
    if targets == "values":
        raise errors.InputError(
            'A classification task cannot have targets of the kind "values", which are '
            'numbers to be regressed; use "probabilities" or "centred".'
        )


def _check_net(net: nets.Net, spec: data_lib.DataSpec) -> None:
    """Traces the network on one batch of abstract examples."""
    name, shape = net.description.get("name", "given"), tuple(spec.shape)
    x = jax.ShapeDtypeStruct((2, *shape), jnp.result_type(float))
    try:
        variables = jax.eval_shape(lambda: net.init(jax.random.key(0), shape))
        logits = jax.eval_shape(net.apply, variables, x)
    except Exception as error:
        raise errors.InputError(
            f'The network "{name}" cannot take examples of shape {shape}, which the '
            f'data set "{spec.name}" has; use another network or other sizes '
            f"({type(error).__name__}: {str(error).splitlines()[0]})."
        ) from error
    if logits.shape != (2, spec.num_classes):
        raise errors.InputError(
            f'The network "{name}" gives outputs of shape {logits.shape[1:]} for one '
            f'example, but the data set "{spec.name}" has {spec.num_classes} classes; '
            f"build the network with num_classes={spec.num_classes}."
        )
