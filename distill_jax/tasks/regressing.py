# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The regression task: a network that names one or several numbers of an example.

Targets are standardised by the mean and the deviation of the training split,

    encode(y)_t = (y_t - mean_t) / std_t,        loss = mean_t (f(x)_t - encode(y)_t)^2

so that targets of all units count alike, and one learning rate fits all data.
"""

from collections.abc import Mapping

import jax.numpy as jnp

from distill_jax import base, errors, nets, types
from distill_jax import data as data_lib
from distill_jax.tasks import supervised
from distill_jax.types import Array

__all__ = ["regression"]

_METRICS = (
    types.Metric("squared_error", is_higher_better=False),
    types.Metric("r2"),
)


def regression(net: nets.Net, spec: data_lib.DataSpec) -> base.Task:
    """Makes the task of regressing the targets of a data set with one network.

    Args:
      net: a :class:`~distill_jax.nets.Net` with an output for every target.
      spec: a :class:`~distill_jax.data.DataSpec` of values, as
        ``data.from_arrays(..., targets="values")`` makes it.

    Returns:
      A :class:`~distill_jax.base.Task` with targets of the kind ``"values"``: ``y``
      [B, T] is standardised, as ``encode`` makes it, and so is what ``predict`` gives
      [B, T]. ``train_loss`` is the mean squared error over the targets. ``test_loss``
      and ``metrics`` take targets in the units of the data. Networks are judged by
      ``squared_error``, of standardised targets, and by ``r2``, the coefficient of
      determination, a mean over the targets. All examples are one group; there is no
      context.

    Raises:
      InputError: if the data have classes, or the network does not take their examples
        or does not give as many outputs as there are targets.

    Example:
      >>> import distill_jax as dj, jax, numpy as np
      >>> x = np.linspace(-1, 1, 60)[:, None]
      >>> data = dj.data.from_arrays(x, 5 * x[:, 0] ** 2, targets="values")
      >>> task = dj.tasks.regression(dj.nets.mlp(1, hidden=(8,)), data.spec)
      >>> variables = task.init(jax.random.key(0), None)
      >>> task.predict(variables, data.test.x, None).shape
      (12, 1)
    """
    mean, std = spec.target_mean, spec.target_std
    if mean is None or std is None:
        raise errors.InputError(
            f'The data set "{spec.name}" has {spec.num_classes} classes and no values '
            "to be regressed; use `tasks.classification`, or read the data by "
            '`data.from_arrays(..., targets="values")`.'
        )

    def encode(y: Array) -> Array:
        of_rows = lambda value: jnp.broadcast_to(jnp.asarray(value, y.dtype), y.shape)
        return (y - of_rows(mean)) / of_rows(std)

    def metrics(outputs: Array, y: Array) -> Mapping[str, Array]:
        squares = (outputs - encode(y)) ** 2
        return {"squared_error": squares.mean(axis=-1), "r2": _r2(squares, encode(y))}

    return supervised.supervised(
        net,
        spec,
        facts=base.TaskFacts(
            kind="regression", loss="mean squared error", metrics=_METRICS
        ),
        targets="values",
        encode=encode,
        output_loss=_mean_squared_error,
        test_loss=lambda outputs, y: _mean_squared_error(outputs, encode(y)),
        metrics=metrics,
        groups=lambda examples: jnp.ones((*examples.y.shape[:-1], 1)),
        retarget=lambda kind: _retargeted(net, spec, kind),
    )


def _mean_squared_error(outputs: Array, y: Array) -> Array:
    """[B, T] and [B, T] -> [B]."""
    return jnp.mean((outputs - y) ** 2, axis=-1)


def _r2(squares: Array, y: Array) -> Array:
    """``1 - sum_n (z_n - y_n)^2 / sum_n (y_n - mean y)^2``, a mean over the targets.

    A target that does not vary is explained by its mean, and counts as 0.
    """
    spread = jnp.sum((y - y.mean(axis=0, keepdims=True)) ** 2, axis=0)
    is_varied = spread > 0
    shares = 1 - squares.sum(axis=0) / jnp.where(is_varied, spread, 1.0)
    shares = jnp.where(is_varied | ~jnp.isfinite(shares), shares, 0.0)
    return jnp.mean(shares)


def _retargeted(net: nets.Net, spec: data_lib.DataSpec, kind: str) -> base.Task:
    if kind != "values":
        raise errors.InputError(
            'A regression task has targets of the kind "values" and cannot have '
            f'"{kind}"; where a protocol says so, use `dataclasses.replace(protocol, '
            'targets="values")`.'
        )
    return regression(net, spec)
