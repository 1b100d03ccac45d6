# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options that several methods have: what each means, and what it may be.

A named method writes its signature, and in its docstring only the options whose meaning
is its own. :func:`named_method` adds the others from :data:`OPTIONS` and every default
from the signature, so that ``help(dj.methods.dsac)`` shows all, and checks what is
passed before the method's body runs. :func:`variant_of` takes the meanings of another
method before those of the table.

An option of one method alone stands in its docstring and is checked in its body.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from distill_jax import base, errors
from distill_jax.methods import docstrings
from distill_jax.transforms import bending

__all__ = [
    "OPTIONS",
    "Option",
    "check_momentum",
    "check_positive",
    "check_share",
    "named_method",
    "variant_of",
]

F = TypeVar("F", bound=Callable[..., base.Recipe])


class Option(NamedTuple):
    """An option as several methods have it."""

    meaning: str  # for the docstring, without the default
    check: Callable[..., None] | None = None  # (name=value), raises; not for None


def check_positive(**values: float) -> None:
    """Raises unless every value is above 0.

    Example:
      >>> check_positive(learning_rate=0.1)
    """
    for name, value in values.items():
        if not value > 0:
            raise errors.InputError(f"`{name}` must be positive, got {value}.")


def check_momentum(**values: float) -> None:
    """Raises unless every momentum is in [0, 1).

    Example:
      >>> check_momentum(momentum=0.5)
    """
    for name, value in values.items():
        if not 0 <= value < 1:
            raise errors.InputError(
                f"`{name}` must be at least 0 and below 1, got {value}."
            )


def check_share(of: str, **values: float) -> None:
    """Raises unless every value is in [0, 1].

    Example:
      >>> check_share("the steps", warm_share=0.5)
    """
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise errors.InputError(
                f"`{name}` is a share of {of}, from 0 to 1, got {value}."
            )


OPTIONS: Mapping[str, Option] = {
    "task": Option(
        "what the set is made for: a network, a loss and the classes; its ``y`` are "
        "class probabilities."
    ),
    "num_per_class": Option(
        "stored pictures of each class; None where there are no classes.",
        errors.check_counts,
    ),
    "num_examples": Option(
        "stored examples in all, in place of ``num_per_class``, where targets are "
        "values to be regressed; else None.",
        errors.check_counts,
    ),
    "batch_size": Option("real examples of each class in a step."),
    "learning_rate": Option("learning rate of the pictures.", check_positive),
    "momentum": Option(
        "momentum of the pictures' gradient descent, from 0 to below 1.", check_momentum
    ),
    "label_learning_rate": Option(
        "learning rate of the labels; that of the pictures by default.", check_positive
    ),
    "num_steps": Option(
        "length of the run, over which the learning rates fall by a cosine; they are "
        "constant where it is None.",
        check_positive,
    ),
    "final_rate": Option(
        "the learning rates at the end of the cosine, as a share of the first ones.",
        functools.partial(check_share, "the rate at the start"),
    ),
    "decay": Option(
        "share of the old average in the moving average of pictures and labels, which "
        "is what is stored, from 0 to below 1; None stores the last ones."
    ),
    "clip": Option(
        "gradients are clipped at this multiple of the average of their norm, above 1; "
        "None leaves them as they are."
    ),
    "num_networks": Option(
        "networks of each step, over which the loss is averaged; the papers use 1."
    ),
    "network_learning_rate": Option("learning rate of the networks.", check_positive),
    "network_batch_size": Option(
        "synthetic examples in an inner step of a network's training; all by default."
    ),
    "rate_learning_rate": Option(
        "learning rate of the student's learning rate as it stands. With "
        '``rate_kind="log"`` the logarithm\'s is that over ``initial_rate`` squared, '
        "which starts with steps of the same size. Published by default.",
        check_positive,
    ),
    "initial_rate": Option(
        "the student's learning rate at the start; published by default.",
        check_positive,
    ),
    "ridge": Option(
        "regulariser of the ridge regression, as a multiple of the mean diagonal of "
        "the kernel.",
        check_positive,
    ),
    "augmentation": Option(
        "strategy string of the siamese augmentation, one draw for real and synthetic "
        'examples: ``"none"``, operations such as ``"crop_rotate"``, or ``"auto"``: '
        "all of DSA, without ``flip`` for digits."
    ),
    "remat": Option(
        "what the backward pass through a network's training computes again, so that "
        'it need not be kept: ``"none"``, every ``"step"`` from its parameters and '
        'gradient, or ``"sqrt"``: also these, but for about ``2 sqrt(N)`` of N steps.'
    ),
    "initialisation": Option(
        'what the pictures start as: ``"real"``, random examples of each class; '
        '``"noise"``, normal; or ``"class_mean"``, means of random parts of each class.'
    ),
    "factor": Option(
        "with 2 or 3, each stored picture is cut into 4 or 9 tiles, which are enlarged "
        "to as many examples; with 1 it is one example."
    ),
    "use_flip": Option("whether mirror images join the examples of the evaluation."),
    "protocol": Option(
        "how a network is trained on the result to judge it, a "
        ":class:`~distill_jax.evaluation.Protocol`; the paper's by default."
    ),
    "bend": Option(
        "a function from an objective to an objective, or a list of such, the first of "
        "which is applied first. They are put around the objective and its siamese "
        "augmentation; None leaves both as they are.",
        bending.check_bend,
    ),
}


def named_method(method: F) -> F:
    """Completes the docstring of a method, and checks the options it is called with.

    Args:
      method: a function of a task and of options. Its docstring explains the options
        whose meaning is its own; the others must be in :data:`OPTIONS`.

    Returns:
      The method, with the same signature.

    Raises:
      TypeError: for an option that is explained nowhere, or one that is explained but
        does not exist.

    Example:
      >>> @named_method
      ... def descent(task: base.Task, *, momentum: float = 0.5) -> base.Recipe:
      ...     "Descends."
      ...     raise NotImplementedError
      >>> print(descent.__doc__.split("Returns:")[0].strip())
      Descends.
      <BLANKLINE>
      Args:
        task: what the set is made for: a network, a loss and the classes; its ``y`` are
          class probabilities.
        momentum: momentum of the pictures' gradient descent, from 0 to below 1.
          Default: 0.5.
      >>> descent(None, momentum=2.0)
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: `momentum` must be at least 0 and below 1, got 2.0.
    """
    return _complete(method, docstrings.Docstring())


def variant_of(origin: Callable[..., base.Recipe]) -> Callable[[F], F]:
    """Makes a :func:`named_method` whose options mean what they mean in another.

    Args:
      origin: the other named method.

    Returns:
      A decorator.

    Example:
      >>> from distill_jax import methods
      >>> "matches (steps) with each network" in methods.dsa.__doc__  # as in `dc`
      True
    """
    return lambda method: _complete(
        method, _docstrings.get(origin, docstrings.Docstring())
    )


_USUAL = {
    "Returns": "  A :class:`~distill_jax.base.Recipe`, which :func:`distill_jax.run` "
    "takes.",
    "Raises": "  InputError: for an option out of its range, or one that does not fit "
    "the task or\n    the other options.",
}
_docstrings: dict[
    Callable, docstrings.Docstring
] = {}  # of each method, before it was completed


def _complete(method: F, inherited: docstrings.Docstring) -> F:
    """A method that checks its options; what its docstring lacks is inherited."""
    parameters = inspect.signature(method).parameters
    checks = {name: OPTIONS[name].check for name in parameters if name in OPTIONS}

    @functools.wraps(method)
    def checked(*args: Any, **options: Any) -> base.Recipe:
        for name, value in options.items():
            check = checks.get(name)
            if check is not None and value is not None:
                check(**{name: value})
        return method(*args, **options)

    if method.__doc__:  # Python leaves docstrings out where it is told to.
        own = docstrings.read(method.__doc__)
        for name in own.meanings.keys() - parameters.keys():
            raise TypeError(f"`{method.__name__}` explains `{name}`, which it lacks.")
        table = {name: option.meaning for name, option in OPTIONS.items()}
        whole = docstrings.Docstring(
            own.head,
            {**table, **inherited.meanings, **own.meanings},
            {**_USUAL, **inherited.sections, **own.sections},
        )
        checked.__doc__ = docstrings.write(whole, method.__name__, parameters.values())
        usual = {name: whole.sections[name] for name in _USUAL}
        _docstrings[checked] = whole._replace(sections=usual)
    return checked  # pyright: ignore[reportReturnType]
