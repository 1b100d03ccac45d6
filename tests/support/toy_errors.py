# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task without classes: a linear map judged by its squared error, and by R^2."""

import jax
import jax.numpy as jnp
import numpy as np

import distill_jax as dj
from distill_jax import base, types

NUM_INPUTS, NUM_TARGETS = 3, 2
SQUARED_ERROR = types.Metric("squared_error", is_higher_better=False)
R2 = types.Metric("r2")


def data(num: int = 40) -> dj.data.Dataset:
    """Noisy values of a linear map, in three splits."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, num, NUM_INPUTS)).astype(np.float32)
    y = x @ rng.normal(size=(NUM_INPUTS, NUM_TARGETS))
    y = (y + 0.1 * rng.normal(size=y.shape)).astype(np.float32)
    spec = dj.data.DataSpec(
        name="lines",
        shape=(NUM_INPUTS,),
        num_classes=NUM_TARGETS,
        class_names=(),
        normalizer=dj.data.mean_std_normalizer(x[0], scale=1.0),
        fingerprint="",
    )
    splits = [dj.data.Arrays(*pair) for pair in zip(x, y, strict=True)]
    return dj.data.Dataset(*splits, spec=spec)


def init(key, context):
    """Weights, and a context that decides whether outputs are finite."""
    del context
    kernel = 0.1 * jax.random.normal(key, (NUM_INPUTS, NUM_TARGETS))
    return base.Variables({"kernel": kernel, "bias": jnp.zeros(NUM_TARGETS)}, {})


def predict(variables, x, context):
    """The linear map; what the context is divided by may be zero."""
    bias = variables.params["bias"] + 0.0 / context
    return x @ variables.params["kernel"] + bias[None]


def losses(variables, data, context):
    return jnp.mean((predict(variables, data.x, context) - data.y) ** 2, axis=-1)


def metrics(variables, data, context):
    outputs = dj.tasks.predict_held_out(predict, variables, data, context)
    squares = jnp.mean((outputs - data.y) ** 2, axis=-1)
    return {
        "squared_error": squares,  # Of each example.
        "r2": 1 - squares.mean() / jnp.var(data.y, axis=0).mean(),  # Of all of them.
    }


def task(sample_context=lambda key: jnp.ones(())) -> base.Task:
    """Networks whose context is zero diverge."""
    return base.Task(
        sample_context=sample_context,
        init=init,
        train_loss=lambda variables, key, data, context: (
            losses(variables, data, context),
            {},
        ),
        test_loss=lambda variables, key, data, context: losses(
            variables, data, context
        ),
        predict=predict,
        features=None,
        groups=lambda examples: jnp.ones((len(examples.y), 1)),
        targets="values",
        retarget=lambda targets: task(sample_context),
        facts=base.TaskFacts(kind="lines", metrics=(SQUARED_ERROR, R2)),
        metrics=metrics,
    )
