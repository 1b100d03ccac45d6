# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task with a context: which features a network sees.

With the mask m of a context the network computes f(m x). So the task on x is the plain
task on m x, which tells what every number of an objective should be.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

import distill_jax as dj
from distill_jax import base


def masked(task: base.Task, sample_mask: Callable | None = None) -> base.Task:
    """The same task where a mask, drawn as the context, hides some of the features."""
    shape = task.facts.shape
    if sample_mask is None:
        sample_mask = lambda key: jax.random.bernoulli(key, 0.6, shape).astype(float)
    hide = lambda data, mask: data._replace(x=seen(data.x, mask))
    features = task.features
    return task._replace(
        sample_context=sample_mask,
        init=lambda key, mask: task.init(key, None),
        train_loss=lambda variables, key, data, mask: task.train_loss(
            variables, key, hide(data, mask), None
        ),
        test_loss=lambda variables, key, data, mask: task.test_loss(
            variables, key, hide(data, mask), None
        ),
        predict=lambda variables, x, mask: task.predict(variables, seen(x, mask), None),
        features=None
        if features is None
        else lambda variables, x, mask: features(variables, seen(x, mask), None),
        retarget=lambda kind: masked(task.retarget(kind), sample_mask),
    )


def seen(x, mask):
    """``m x``, with as many leading axes as the features have."""
    leading = (1,) * (x.ndim - mask.ndim)
    return x * mask.reshape(*leading, *mask.shape)


def task(shape: tuple[int, ...] = (2, 3, 1), num_classes: int = 3) -> base.Task:
    """Classifies small examples with a perceptron; without a context."""
    names = tuple(map(str, range(num_classes)))
    spec = dj.data.DataSpec("toy", shape, num_classes, names, None, "")
    return dj.tasks.classification(dj.nets.mlp(num_classes, hidden=(5,)), spec)


def mask(*hidden: int, size: int = 6, shape: tuple[int, ...] = (2, 3, 1)):
    """The mask that hides the features of these numbers."""
    return jnp.ones(size).at[jnp.array(hidden)].set(0.0).reshape(shape)
