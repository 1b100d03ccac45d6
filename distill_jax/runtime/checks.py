# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What ends a run in a sentence: arguments that cannot work, a state that is broken."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors
from distill_jax.compute import compiling
from distill_jax.runtime import calendar as calendars
from distill_jax.runtime import record as records
from distill_jax.storage import label_checks
from distill_jax.types import Array

__all__ = [
    "check_arguments",
    "check_end",
    "check_labels",
    "check_moves",
    "inspector",
]

_LEARN_SLOWER = (
    "Lower the rate at which the learned learning rate is learned (`rate_learning_rate`"
    "), or start from another one (`initial_rate`)."
)


def check_arguments(
    calendar: calendars.Calendar, key: Any, workdir: Any, evaluate_fn: Any
) -> None:
    """Raises in a sentence where the arguments of ``run`` do not go together.

    Args:
      calendar: what is due when.
      key: everything random comes from it.
      workdir: folder of the run, or None.
      evaluate_fn: what evaluates a set, or None.

    Raises:
      InputError: if they do not.

    Example:
      >>> calendar = calendars.Calendar(10, 1, None, None)
      >>> check_arguments(calendar, jax.random.key(0), None, None)
    """
    is_key = isinstance(key, jax.Array) and jnp.issubdtype(
        key.dtype, jax.dtypes.prng_key
    )
    if not is_key or key.shape:
        raise errors.InputError(
            f"`key` must be one typed key as `jax.random.key(0)` makes it, got {key!r}."
        )
    if calendar.checkpoint_every is not None and workdir is None:
        raise errors.InputError(
            f"`checkpoint_every` is {calendar.checkpoint_every}, but there is no "
            "`workdir` to save to; pass one, or leave the checkpoints off."
        )
    if calendar.evaluate_every is not None and evaluate_fn is None:
        raise errors.InputError(
            f"`evaluate_every` is {calendar.evaluate_every}, but there is no "
            "`evaluate_fn` to call; pass one, or leave the evaluations off."
        )


def check_labels(latent: base.Latent, protocol: Any) -> None:
    """Raises unless the labels that a run begins with are what its protocol says.

    Args:
      latent: the first one.
      protocol: how networks are trained on the set; where it does not say what labels
        are, any finite numbers will do.

    Raises:
      InputError: if they are not.

    Example:
      >>> check_labels(base.Latent({"x": 1.0}, {"y": jnp.eye(2)}), None)
    """
    kind = getattr(protocol, "targets", "values")
    mass = getattr(protocol, "label_mass", "one")
    for name, labels in {**latent.fixed, **latent.learned}.items():
        field, _, form = name.partition("_")
        if field in ("y", "target"):
            for leaf in jax.tree.leaves(labels):
                now = "values" if form else kind  # Logits are any numbers.
                label_checks.check_labels(leaf, now, mass, name=f"The initial `{name}`")


def inspector(first: base.State) -> Callable[[base.State, records.Record], None]:
    """Makes a check that a state has not become NaN where it was not at first.

    What is learned must be finite; other leaves may hold infinities (a best loss so
    far), but no new NaN.

    Args:
      first: the state that the run begins with.

    Returns:
      ``(state, record) -> None``, which raises ``NonFiniteError``.
    """

    def flags(state: base.State) -> tuple[dict[str, Array], dict[str, Array]]:
        flagged = {}
        for path, leaf in jax.tree.leaves_with_path(state):
            if jnp.issubdtype(leaf.dtype, jnp.inexact):
                name = jax.tree_util.keystr(path)
                is_learned = name.startswith(".latent.learned")
                bad = ~jnp.isfinite(leaf) if is_learned else jnp.isnan(leaf)
                flagged[name] = bad.any()
        return flagged, _rate_of(state)

    jitted = compiling.jit(flags)
    known, _ = jax.device_get(jitted(first))

    def inspect(state: base.State, record: records.Record) -> None:
        now, rates = jax.device_get(jitted(state))
        names = [name for name in now if now[name] and not known[name]]
        if names:
            raise errors.NonFiniteError(
                f"After step {int(state.step)} the loss is still finite, but "
                f"`state{names[0]}` is not; {record.last_good()}. Lower the learning "
                "rate, or look for a derivative that is infinite."
            )
        for rate in rates.values():
            # One below zero may come back, from 0 or infinity there is no return.
            if rate == 0 or not np.isfinite(rate):
                _refuse_rate(rate, state, record)

    return inspect


def check_moves(record: records.Record) -> None:
    """Raises where a gate has refused so many steps that nothing is learned any more.

    Args:
      record: of the run.

    Raises:
      NonFiniteError: if it has.

    Example:
      >>> check_moves(records.Record(None, None, identity={}, use_tensorboard=False))
    """
    if record.refusals.is_dead:
        raise errors.NonFiniteError(
            f"The run no longer moves: {record.refusals.in_words()}; "
            f"{record.last_good()}. Lower the learning rates, of the experts too, or "
            "look at the learned learning rate: with one far too high every student "
            "diverges."
        )


def check_end(state: base.State, record: records.Record) -> None:
    """Raises where a run came to its end with nothing that can be used.

    Args:
      state: the last one.
      record: of the run.

    Raises:
      NonFiniteError: when the last steps were all refused, or the learned learning rate
        is not positive.

    Example:
      >>> state = base.State(jnp.int32(3), base.Latent({}, {}), (), {})
      >>> record = records.Record(None, None, identity={}, use_tensorboard=False)
      >>> check_end(state, record)
    """
    check_moves(record)
    if record.refusals.is_notable:
        errors.warn(f"The run came to its end, but {record.refusals.in_words()}.")
    for rate in _rate_of(state).values():
        if not 0 < float(rate) < np.inf:
            _refuse_rate(rate, state, record)


def _rate_of(state: base.State) -> dict[str, Array]:
    """The learned learning rate by the name of its parameter, where there is one."""
    learned = getattr(state.latent, "learned", None) or {}
    forms = {"learning_rate": lambda leaf: leaf, "log_learning_rate": jnp.exp}
    return {
        name: form(learned[name]) for name, form in forms.items() if name in learned
    }


def _refuse_rate(rate: Any, state: base.State, record: records.Record) -> None:
    raise errors.NonFiniteError(
        f"After step {int(state.step)} the learned learning rate is {float(rate):.3g}, "
        "with which no network learns anything (it must be finite and positive); "
        f"{record.last_good()}. {_LEARN_SLOWER}"
    )
