# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Moment matching: means and deviations of random features, class by class.

    L = sum_c ||mean f(x_real[c]) - mean f(x_syn[c])||^2
      + sum_c ||std  f(x_real[c]) - std  f(x_syn[c])||^2

A skeleton to copy: it is no paper's method, but a complete one.
"""

import jax.numpy as jnp
import optax

import distill_jax as dj

__all__ = ["moment_matching", "moments"]


def moment_matching(task: dj.Task, *, deviation: float = 1.0) -> dj.Objective:
    """Matches two moments of each class under freshly drawn networks.

    Args:
      task: a task with features.
      deviation: the share of the second moment.

    Returns:
      An :class:`~distill_jax.base.Objective` on per-class batches ``[C, B, ...]``.

    Raises:
      InputError: when the task has no features, or the share is negative.
    """
    features_fn = task.features
    if features_fn is None:
        raise dj.InputError(
            "Moment matching needs a task with features, and this one has none: give "
            "its network a `features` function."
        )
    if not deviation >= 0:
        raise dj.InputError(f"`deviation` must be 0 or more, got {deviation}.")

    def init(key, synthetic):
        # What the loss reads beside the synthetic set: here, the network of this step.
        del synthetic
        return dj.tasks.init_learner(task, key)  # Its variables and its context.

    def class_moments(learner, x, weight, num_classes):
        features = features_fn(learner.variables, x, learner.context)["penultimate"]
        features = features.reshape(num_classes, -1, features.shape[-1])
        weight = jnp.ones(features.shape[:2]) if weight is None else weight
        share = weight.reshape(num_classes, -1)
        share = share / share.sum(axis=1, keepdims=True)  # Rows may weigh nothing.
        mean = jnp.einsum("cb,cbd->cd", share, features)
        square = jnp.einsum("cb,cbd->cd", share, (features - mean[:, None]) ** 2)
        # The square root has no derivative at zero, and a unit may be dead.
        return mean, jnp.sqrt(square + 1e-6)

    def loss(synthetic, key, inner, batch):
        del key  # The network was drawn by `init` or `advance`.
        num_classes = batch.y.shape[0]
        x_real = batch.x.reshape(-1, *batch.x.shape[2:])
        mean_real, std_real = class_moments(inner, x_real, batch.weight, num_classes)
        mean_syn, std_syn = class_moments(
            inner, synthetic.x, synthetic.weight, num_classes
        )
        first = jnp.sum((mean_real - mean_syn) ** 2)
        second = jnp.sum((std_real - std_syn) ** 2)
        aux = dj.Aux(metrics={"first": first, "second": second})
        return first + deviation * second, aux

    def advance(key, inner, synthetic, batch):
        # After the update: what the next step needs. Here, another network.
        del inner, batch
        return init(key, synthetic)

    def read(synthetic, inner):
        del inner  # Nothing is assigned by the method itself.
        return synthetic

    # Where the loss is asked for at a given network, that is the inner state.
    at = dj.tasks.as_learner
    return dj.Objective(init=init, loss=loss, advance=advance, read=read, at=at)


def moments(
    task: dj.Task,
    *,
    num_per_class: int,
    batch_size: int = 64,
    learning_rate: float = 0.5,
) -> dj.Recipe:
    """Moment matching as a named method: a composition, and nothing else.

    Args:
      task: a task with features.
      num_per_class: pictures of each class.
      batch_size: real examples of each class and step.
      learning_rate: of the pictures.

    Returns:
      A :class:`~distill_jax.base.Recipe` for :func:`distill_jax.run`.
    """
    method = dj.distill(
        moment_matching(task),
        decoder=dj.plain_decoder(),
        optimizer=optax.sgd(learning_rate, momentum=0.5),
    )
    return dj.Recipe(
        method=method,
        sampler=dj.samplers.per_class(batch_size),
        initial_fn=dj.methods.initial_fn("real", num_per_class),
        source_fn=dj.data.to_source,
        protocol=dj.evaluation.Protocol(num_steps=300, learning_rate=0.01),
    )
