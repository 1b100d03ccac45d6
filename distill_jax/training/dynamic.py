# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dynamic loops: a network's accuracy decides how long it is trained and kept.

    train, epoch by epoch, until   max - min of the last W accuracies > b
    replace the network as soon as max - min of the last W accuracies < a

The first window holds the accuracies after the epochs of one turn, the second those
before each turn. Both loops run inside jit, from arrays of the state, so that one
compilation serves and resuming is exact. The idea is that of Wang et al., "CAFE:
Learning to Condense Dataset by Aligning Features", 2022.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, deprecations, errors, tasks
from distill_jax.types import Array, Key, PyTree

__all__ = ["Limits", "Turn", "Window", "empty_window", "first_turn", "next_turn"]


class Limits(NamedTuple):
    """When a network is trained no longer, and when it is replaced; on the host."""

    settled_spread: float = 0.04  # a: replaced when the accuracies differ by less
    moved_spread: float = 0.03  # b: trained until the accuracies differ by more
    max_epochs: int = 50  # of one turn, however little has moved
    window_size: int = 10  # W


class Window(NamedTuple):
    """The last ``W`` numbers of a sequence, in a ring."""

    values: Array  # [W]
    num_pushed: Array  # [] int32, how many there were so far


class Turn(NamedTuple):
    """One network, and what decides how long it stays."""

    variables: base.Variables
    opt: optax.OptState
    window: Window  # its accuracies before each turn
    accuracy: Array  # [] the last of them, or of the network before it
    num_epochs: Array  # [] int32, epochs of the last turn
    generation: Array  # [] int32, how many networks there were before it
    context: PyTree = None  # of the task that the network learns; None without


# key -> a fresh learner and its optimiser's state; of a task without contexts the
# variables alone will do
InitFn = Callable[[Key], tuple[base.Learner | base.Variables, optax.OptState]]
# key, variables, opt, context -> variables and opt after one more epoch
EpochFn = Callable[
    [Key, base.Variables, optax.OptState, Any], tuple[base.Variables, Any]
]
AccuracyFn = Callable[[base.Variables, Any], Array]  # (variables, context)


def first_turn(key: Key, init_fn: InitFn, limits: Limits) -> Turn:
    """A fresh network of which nothing is known yet.

    Args:
      key: the random key.
      init_fn: ``key -> (learner, opt)``.
      limits: the size of the window counts.

    Returns:
      The :class:`Turn` to start with.

    Raises:
      InputError: for a count below 1, or a spread below 0.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> init_fn = lambda key: (base.Variables({"w": jnp.ones(())}, {}), ())
      >>> turn = first_turn(jax.random.key(0), init_fn, Limits(window_size=3))
      >>> turn.window.values.shape, int(turn.generation)
      ((3,), 0)
    """
    errors.check_counts(max_epochs=limits.max_epochs, window_size=limits.window_size)
    for name in ("settled_spread", "moved_spread"):
        if not getattr(limits, name) >= 0:
            raise errors.InputError(
                f"`{name}` is a difference of two accuracies, 0 or more, got "
                f"{getattr(limits, name)}."
            )
    network, opt = init_fn(key)
    variables, context = tasks.as_learner(network)
    zero = jnp.zeros((), jnp.int32)
    window = empty_window(limits.window_size)
    return Turn(variables, opt, window, jnp.zeros(()), zero, zero, context)


def next_turn(
    key: Key,
    turn: Turn,
    *,
    init_fn: InitFn,
    epoch_fn: EpochFn,
    accuracy_fn: AccuracyFn,
    limits: Limits,
) -> Turn:
    """Replaces the network where its accuracy has settled, and trains it otherwise.

    Args:
      key: the random key.
      turn: the network, and what is known of it.
      init_fn: ``key -> (learner, opt)`` of a fresh network, which brings a context.
      epoch_fn: ``(key, variables, opt, context) -> (variables, opt)`` after one more
        epoch.
      accuracy_fn: ``(variables, context) -> scalar``.
      limits: when to stop and to replace.

    Returns:
      The :class:`Turn` for the next step. A fresh network is not trained in the turn
      that it comes in, and its window is empty.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> init_fn = lambda key: (base.Variables(jnp.zeros(()), {}), ())
      >>> climb = lambda key, variables, opt, context: (
      ...     base.Variables(variables.params + 0.01, {}), opt)
      >>> limits = Limits(window_size=2, settled_spread=0.0, moved_spread=0.0)
      >>> turn = next_turn(
      ...     jax.random.key(1), first_turn(jax.random.key(0), init_fn, limits),
      ...     init_fn=init_fn, epoch_fn=climb, limits=limits,
      ...     accuracy_fn=lambda variables, context: variables.params)
      >>> int(turn.num_epochs), int(turn.generation)
      (2, 0)
    """
    epoch_fn = deprecations.with_context(epoch_fn, "epoch_fn", 4)
    accuracy_fn = deprecations.with_context(accuracy_fn, "accuracy_fn", 2)
    key_init, key_train = jax.random.split(key)
    accuracy = accuracy_fn(turn.variables, turn.context)
    window = _push(turn.window, accuracy)
    accuracy = accuracy.astype(turn.accuracy.dtype)

    def replaced() -> Turn:
        empty = empty_window(limits.window_size)
        generation = turn.generation + 1
        network, opt = init_fn(key_init)
        variables, context = tasks.as_learner(network)
        return Turn(variables, opt, empty, accuracy, jnp.int32(0), generation, context)

    def trained() -> Turn:
        variables, opt, num_epochs = _train(
            key_train, turn, epoch_fn, accuracy_fn, limits
        )
        return turn._replace(
            variables=variables,
            opt=opt,
            window=window,
            accuracy=accuracy,
            num_epochs=num_epochs,
        )

    is_settled = _is_full(window) & (_spread(window) < limits.settled_spread)
    return jax.lax.cond(is_settled, replaced, trained)


def empty_window(size: int) -> Window:
    """A window in which there is nothing yet.

    Example:
      >>> empty_window(3).values.tolist()
      [0.0, 0.0, 0.0]
    """
    return Window(jnp.zeros(size), jnp.zeros((), jnp.int32))


def _train(
    key: Key, turn: Turn, epoch_fn: EpochFn, accuracy_fn: AccuracyFn, limits: Limits
) -> tuple[base.Variables, Any, Array]:
    """Epochs until the last accuracies have moved; their number comes third."""

    def is_unmoved(carry):
        _, _, window, num_epochs = carry
        has_moved = _is_full(window) & (_spread(window) > limits.moved_spread)
        return ~has_moved & (num_epochs < limits.max_epochs)

    def epoch(carry):
        variables, opt, window, num_epochs = carry
        key_epoch = jax.random.fold_in(key, num_epochs)
        variables, opt = epoch_fn(key_epoch, variables, opt, turn.context)
        window = _push(window, accuracy_fn(variables, turn.context))
        return variables, opt, window, num_epochs + 1

    start = (turn.variables, turn.opt, empty_window(limits.window_size), jnp.int32(0))
    variables, opt, _, num_epochs = jax.lax.while_loop(is_unmoved, epoch, start)
    return variables, opt, num_epochs


def _push(window: Window, value: Array) -> Window:
    """The window after one more number."""
    place = window.num_pushed % window.values.shape[0]
    value = value.astype(window.values.dtype)
    return Window(window.values.at[place].set(value), window.num_pushed + 1)


def _is_full(window: Window) -> Array:
    return window.num_pushed >= window.values.shape[0]


def _spread(window: Window) -> Array:
    """The largest less the smallest number of a full window."""
    return jnp.max(window.values) - jnp.min(window.values)
