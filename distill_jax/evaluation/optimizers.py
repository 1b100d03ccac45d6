# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The optimiser of a protocol, as an optax transformation.

    learning rate at step t  =  learning_rate * factor(t)

The original scripts lower the learning rate in the middle of a training by making a
*new* optimiser, so the momentum is forgotten there as well; the transformation below
does so too.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax import errors
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.training import minibatches
from distill_jax.types import Array

__all__ = ["make_optimizer", "make_schedule", "num_steps"]


def num_steps(protocol: protocol_lib.Protocol, num_examples: int) -> int:
    """How many mini-batches a training takes.

    Args:
      protocol: has the number of epochs or of steps, and the batch size.
      num_examples: M.

    Example:
      >>> num_steps(protocol_lib.Protocol(num_epochs=3, batch_size=4), 10)
      9
    """
    if protocol.num_steps is not None:
        return protocol.num_steps
    assert protocol.num_epochs is not None  # Checked at construction.
    return protocol.num_epochs * minibatches.num_steps_per_epoch(
        num_examples, protocol.batch_size
    )


def make_schedule(
    protocol: protocol_lib.Protocol, num_examples: int
) -> tuple[optax.Schedule, int | None]:
    """The factor of the learning rate at every step, and where the optimiser restarts.

    Args:
      protocol: names the schedule. Its "periods" are epochs where it counts epochs and
        steps where it counts steps; with E = periods - 1 the drop comes after
        ``E // 2 + 2`` periods and a stair after every ``E // 4``, and the late drops
        after ``2 P // 3`` and ``5 P // 6`` of P periods, as in the originals.
      num_examples: M.

    Returns:
      (count -> factor in [0, 1], step before which the optimiser is made new or None).

    Raises:
      InputError: if the warm-up takes as long as the training.

    Example:
      >>> import jax.numpy as jnp
      >>> protocol = protocol_lib.Protocol(
      ...     num_epochs=6, schedule="step_drop", batch_size=4)
      >>> factor, restart = make_schedule(protocol, 8)
      >>> restart, [round(float(factor(jnp.array(t))), 2) for t in (7, 8, 11)]
      (8, [1.0, 0.1, 0.1])
    """
    total = num_steps(protocol, num_examples)
    is_epochs = protocol.num_epochs is not None
    num_periods = protocol.num_epochs if is_epochs else protocol.num_steps
    assert num_periods is not None
    period = total // num_periods
    if protocol.schedule == "step_drop":
        drop = ((num_periods - 1) // 2 + 2) * period
        stairs = {drop: protocol.decay_rate}
        return optax.piecewise_constant_schedule(1.0, stairs), drop
    if protocol.schedule == "late_drops":
        late = [2 * num_periods // 3 * period, 5 * num_periods // 6 * period]
        stairs = dict.fromkeys(late, protocol.decay_rate)
        return optax.piecewise_constant_schedule(1.0, stairs), None
    if protocol.schedule == "staircase":
        quarter = max((num_periods - 1) // 4, 1) * period
        return optax.exponential_decay(
            1.0, quarter, protocol.decay_rate, staircase=True
        ), None
    if protocol.schedule == "cosine":
        return optax.cosine_decay_schedule(1.0, total), None
    if protocol.schedule == "warmup_cosine":
        _check_warmup(protocol, total)
        return optax.warmup_cosine_decay_schedule(
            0.0, 1.0, protocol.warmup_steps, total
        ), None
    return optax.constant_schedule(1.0), None


def make_optimizer(
    protocol: protocol_lib.Protocol, num_examples: int, learning_rate: float | Array
) -> optax.GradientTransformation:
    """The optimiser of a protocol.

    Args:
      protocol: names the optimiser and its schedule.
      num_examples: M, which says how many steps an epoch has.
      learning_rate: [] the highest one; may be traced.

    Raises:
      InputError: if the warm-up takes as long as the training.

    Example:
      >>> import jax.numpy as jnp
      >>> protocol = protocol_lib.Protocol(num_steps=10, weight_decay=0.1)
      >>> optimizer = make_optimizer(protocol, 5, 0.5)
      >>> params = jnp.array([1.0])
      >>> update, _ = optimizer.update(
      ...     jnp.array([2.0]), optimizer.init(params), params)
      >>> print(update)  # - 0.5 (2 + 0.1)
      [-1.05]
    """
    factor, restart = make_schedule(protocol, num_examples)
    decay = optax.add_decayed_weights(protocol.weight_decay)
    rule = {
        "sgd": optax.chain(decay, optax.trace(protocol.momentum)),
        "adam": optax.chain(decay, optax.scale_by_adam()),
        "adamw": optax.chain(optax.scale_by_adam(), decay),
    }[protocol.optimizer]
    if restart is not None:
        rule = _restarted(rule, restart)
    rate = optax.scale_by_schedule(
        lambda step: -learning_rate * jnp.asarray(factor(step))
    )
    return optax.chain(rule, rate)


class _RestartState(NamedTuple):
    step: Array  # [] int32
    inner: optax.OptState


def _restarted(
    rule: optax.GradientTransformation, step: int
) -> optax.GradientTransformation:
    """Forgets the state of an optimiser before one step."""

    def init(params):
        return _RestartState(jnp.zeros((), jnp.int32), rule.init(params))

    def update(updates, state, params=None):
        assert params is not None  # `learn.fit` always gives them.
        inner = jax.tree.map(
            lambda fresh, old: jnp.where(state.step == step, fresh, old),
            rule.init(params),
            state.inner,
        )
        updates, inner = rule.update(updates, inner, params)
        return updates, _RestartState(state.step + 1, inner)

    return optax.GradientTransformation(init, update)


def _check_warmup(protocol: protocol_lib.Protocol, total: int) -> None:
    if protocol.warmup_steps >= total:
        raise errors.InputError(
            f"The warm-up of {protocol.warmup_steps} steps leaves nothing of the "
            f"{total} steps of training; lower `warmup_steps` or train longer."
        )
