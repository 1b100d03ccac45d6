# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bending an objective: functions that make another objective of it.

    L' = f_k( ... f_2( f_1(L) ) ),   f: Objective -> Objective

Every named method takes such functions as ``bend=``. One that reads probes says which,
and the method makes these; without it they are not computed.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from distill_jax import base, errors
from distill_jax.types import Array

__all__ = ["Bend", "Bends", "bend", "check_bend", "wanted", "wants"]

Bend = Callable[[base.Objective], base.Objective]
Bends = Bend | Sequence[Bend] | None
F = TypeVar("F", bound=Callable)


def bend(objective: base.Objective, bends: Bends) -> base.Objective:
    """Puts an objective through functions that make another of it.

    Args:
      objective: what is to be bent.
      bends: a function from an objective to one, or a list of such, the first of which
        is applied first; None leaves the objective as it is. What it adds to the loss
        is differentiated with it.

    Returns:
      The :class:`~distill_jax.base.Objective`. It logs ``matching_loss``, the loss
      before it was bent, which is what :func:`~distill_jax.transforms.gate_steps`
      compares with its threshold.

    Raises:
      InputError: for what is no function, a function that returns no objective, or one
        that wants a probe which the objective does not have.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> def small_pictures(objective):
      ...     def loss(synthetic, key, inner, batch):
      ...         value, aux = objective.loss(synthetic, key, inner, batch)
      ...         return value + 0.5 * jnp.mean(synthetic.x**2), aux
      ...     return objective._replace(loss=loss)
      >>> objective = dj.Objective(
      ...     init=lambda key, synthetic: {},
      ...     loss=lambda synthetic, key, inner, batch: (
      ...         jnp.mean((synthetic.x - batch) ** 2), dj.Aux()),
      ...     advance=lambda key, inner, synthetic, batch: inner)
      >>> bent = bend(objective, small_pictures)
      >>> synthetic = dj.Synthetic(jnp.full((1, 1), 2.0), jnp.ones((1, 1)))
      >>> loss, aux = bent.loss(synthetic, jax.random.key(0), {}, 1.0)
      >>> float(loss), float(aux.metrics["matching_loss"])
      (3.0, 1.0)
    """
    functions = _listed(bends)
    if not functions:
        return objective
    check_bend(bend=bends)
    names = wanted(bends)
    for name in names:
        if name not in objective.probes:
            raise _missing(name, objective.probes)
    bent = objective._replace(loss=_with_matching_loss(objective, names))
    for function in functions:
        bent = function(bent)
        if not isinstance(bent, base.Objective):
            raise errors.InputError(
                "A function of `bend` takes an objective and must return one, but "
                f"`{_name(function)}` returned {type(bent).__name__}; end it with "
                "`return objective._replace(loss=...)`."
            )
    return bent


def wants(*probes: str) -> Callable[[F], F]:
    """Marks a function from an objective to one as a reader of probes.

    Args:
      *probes: names of intermediates that the loss of an objective gives in
        ``Aux.probes`` when they are asked for, such as ``"syn_grad"``.

    Returns:
      A decorator, which sets the attribute ``wants`` of the function.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> @wants("syn_grad")
      ... def short_gradients(objective):
      ...     def loss(synthetic, key, inner, batch):
      ...         value, aux = objective.loss(synthetic, key, inner, batch)
      ...         size = optax.tree.norm(aux.probes["syn_grad"], squared=True)
      ...         return value + 0.01 * size, aux
      ...     return objective._replace(loss=loss)
      >>> short_gradients.wants
      ('syn_grad',)
    """

    def mark(function: F) -> F:
        setattr(function, "wants", probes)  # noqa: B010 - Functions declare none.
        return function

    return mark


def wanted(bends: Bends) -> tuple[str, ...]:
    """Returns the names of all probes that some functions want, each once.

    Args:
      bends: as :func:`bend` takes them.

    Example:
      >>> wanted([wants("syn_grad")(lambda objective: objective), lambda o: o])
      ('syn_grad',)
    """
    names = (name for function in _listed(bends) for name in _wants_of(function))
    return tuple(dict.fromkeys(names))


def check_bend(**values: Bends) -> None:
    """Raises unless every value is a function, or a list of functions.

    Example:
      >>> check_bend(bend=[lambda objective: objective])
    """
    for name, value in values.items():
        if not all(callable(function) for function in _listed(value)):
            raise errors.InputError(
                f"`{name}` must be a function from an objective to an objective, or a "
                f"list of such, got {value}."
            )


def _listed(bends: Bends) -> list:
    """The functions, in the order in which they are applied."""
    if bends is None:
        return []
    return list(bends) if isinstance(bends, list | tuple) else [bends]


def _wants_of(function: Bend) -> Sequence[str]:
    return getattr(function, "wants", ())


def _name(function: Bend) -> str:
    return getattr(function, "__name__", repr(function))


def _with_matching_loss(objective: base.Objective, names: Sequence[str]) -> Callable:
    """The loss, which is logged under its name before anything is added to it."""

    def loss(synthetic, key, inner, batch) -> tuple[Array, base.Aux]:
        value, aux = objective.loss(synthetic, key, inner, batch)
        for name in names:
            if name not in aux.probes:
                raise _missing(name, aux.probes)
        metrics = {**aux.metrics, "matching_loss": value}
        return value, aux._replace(metrics=metrics)

    return loss


def _missing(name: str, known) -> errors.InputError:
    has = ", ".join(f'"{probe}"' for probe in known) or "none"
    return errors.InputError(
        f'A function of `bend` wants the probe "{name}", which this objective does not '
        f"give; it gives {has}. Take a method whose objective does, or make the "
        "objective with `probes=`."
    )
