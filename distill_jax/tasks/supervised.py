# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What all tasks have in common that teach one network to answer to one input."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax import base, errors, nets
from distill_jax import data as data_lib
from distill_jax.tasks import judging
from distill_jax.types import Array, Key, PyTree, Targets

__all__ = ["supervised"]


def supervised(
    net: nets.Net,
    spec: data_lib.DataSpec,
    *,
    facts: base.TaskFacts,
    targets: Targets,
    encode: Callable[[Array], Array],
    output_loss: Callable[[Array, Array], Array],
    test_loss: Callable[[Array, Array], Array],
    metrics: Callable[[Array, Array], Mapping[str, Array]],
    groups: Callable[[Any], Array],
    retarget: Callable[[Targets], base.Task],
) -> base.Task:
    """Makes the task of a network and of losses of its outputs.

    Args:
      net: the network.
      spec: of the data: what goes in, and how many numbers come out.
      facts: those that are this task's; what is known of network and data is added.
      targets: what ``y`` is to ``output_loss``.
      encode: targets as the data have them -> as ``output_loss`` takes them.
      output_loss: (outputs [B, C], ``y`` [B, C]) -> [B].
      test_loss: (outputs [B, C], ``y`` as the data have it) -> [B].
      metrics: (outputs [N, C], ``y`` as the data have it) -> by name [N] or [].
      groups: of :class:`~distill_jax.base.Task`.
      retarget: likewise.

    Returns:
      A :class:`~distill_jax.base.Task` without a context.

    Raises:
      InputError: if the network does not take examples of ``spec.shape``, or does not
        give an output for every class or target.
    """
    _check_net(net, spec)

    def train_loss(
        variables: base.Variables, key: Key, data: Any, context: Any
    ) -> tuple[Array, PyTree]:
        del context
        outputs, stats = net.apply_train(variables, key, data.x)
        return output_loss(outputs, data.y), stats

    def loss_of_data(
        variables: base.Variables, key: Key, data: Any, context: Any
    ) -> Array:
        del key, context  # Inference is deterministic.
        return test_loss(net.apply(variables, data.x), data.y)

    def predict(variables: base.Variables, x: PyTree, context: Any) -> Array:
        del context
        return net.apply(variables, x)

    def metrics_of_data(
        variables: base.Variables, data: Any, context: Any
    ) -> Mapping[str, Array]:
        return metrics(
            judging.predict_held_out(predict, variables, data, context), data.y
        )

    return base.Task(
        sample_context=lambda key: None,
        init=lambda key, context: net.init(key, spec.shape),
        train_loss=train_loss,
        test_loss=loss_of_data,
        predict=predict,
        features=lambda variables, x, context: net.features(variables, x),
        groups=groups,
        targets=targets,
        retarget=retarget,
        facts=dataclasses.replace(
            facts,
            network=dict(net.description),
            data_name=spec.name,
            shape=tuple(spec.shape),
            bounds=_bounds(spec),
        ),
        metrics=metrics_of_data,
        encode=encode,
        output_loss=output_loss,
    )


def _bounds(spec: data_lib.DataSpec) -> tuple[list[float], list[float]] | None:
    """What black and white are, where the data set says how it is normalised."""
    is_known = isinstance(spec.normalizer, data_lib.Normalizer)
    return data_lib.pixel_bounds(spec.normalizer) if is_known else None


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
    num_outputs = spec.num_classes or spec.num_targets
    if logits.shape != (2, num_outputs):
        kind = "classes" if spec.num_classes else "targets"
        raise errors.InputError(
            f'The network "{name}" gives outputs of shape {logits.shape[1:]} for one '
            f'example, but the data set "{spec.name}" has {num_outputs} {kind}; '
            f"build the network with num_classes={num_outputs}."
        )
