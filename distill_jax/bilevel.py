# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The one outer loop of the library: an objective, differentiated through a decoder.

latent <- latent - optimizer( d objective.loss(decode(latent)) / d latent.learned )
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import optax

from distill_jax import base, errors
from distill_jax.storage import label_checks
from distill_jax.types import Key

__all__ = ["check_class_major", "distill"]

Optimizer = optax.GradientTransformation | Mapping[str, optax.GradientTransformation]


def distill(
    objective: base.Objective, *, decoder: base.Decoder, optimizer: Optimizer
) -> base.Method:
    """Makes a method out of an objective, a decoder and an optimiser.

    Args:
      objective: the scalar to lower, and how its inner state moves on.
      decoder: from initial examples to what is learned, and from that to a distilled
        set.
      optimizer: one optax transformation for all that is learned, or a mapping with
        one for each key of ``Latent.learned``.

    Returns:
      A :class:`~distill_jax.base.Method`. One ``step`` takes the gradient at the
      current inner state, updates the latent, and lets the inner state move on with
      the *updated* synthetic examples.

    Raises:
      InputError: from ``init``, when a learned key has no optimiser, an optimiser has
        no learned key, the initial set is not class-major, or its labels are not
        finite.

    Example:
      >>> import distill_jax as dj
      >>> import jax, jax.numpy as jnp, optax
      >>> objective = dj.Objective(
      ...     init=lambda key, synthetic: {},
      ...     loss=lambda synthetic, key, inner, batch: (
      ...         jnp.mean((synthetic.x[0] - batch.x.mean(0)) ** 2), dj.Aux()),
      ...     advance=lambda key, inner, synthetic, batch: inner)
      >>> method = dj.distill(
      ...     objective, decoder=dj.plain_decoder(), optimizer=optax.sgd(0.5))
      >>> initial = dj.Examples(x=jnp.zeros((1, 2)), y=jnp.ones((1, 1)))
      >>> real = dj.Examples(x=jnp.array([[1.0, 2.0], [3.0, 4.0]]), y=jnp.ones((2, 1)))
      >>> state = method.init(jax.random.key(0), initial)
      >>> state, info = method.step(jax.random.key(1), state, real)
      >>> method.read(state).x.tolist()
      [[1.0, 1.5]]
    """

    def init(key: Key, initial: base.Examples) -> base.State:
        check_class_major(initial)
        _check_finite(initial)
        key_latent, key_inner = jax.random.split(key)
        latent = decoder.init(key_latent, initial)
        inner = objective.init(key_inner, decoder.decode(latent))
        return base.State(
            step=jnp.zeros((), jnp.int32),
            latent=latent,
            opt=_partition(optimizer, latent.learned).init(latent.learned),
            inner=inner,
        )

    def step(key: Key, state: base.State, batch: Any) -> tuple[base.State, base.Info]:
        key_loss, key_advance = jax.random.split(key)
        fixed = state.latent.fixed

        def loss_fn(learned):
            synthetic = decoder.decode(base.Latent(learned, fixed))
            return objective.loss(synthetic, key_loss, state.inner, batch)

        learned = state.latent.learned
        (loss, aux), grads = jax.value_and_grad(loss_fn, has_aux=True)(learned)
        updates, opt = _partition(optimizer, learned).update(grads, state.opt, learned)
        learned: Any = optax.apply_updates(learned, updates)
        latent = base.Latent(learned, fixed)
        synthetic = jax.lax.stop_gradient(decoder.decode(latent))
        inner = objective.advance(key_advance, state.inner, synthetic, batch)
        state = base.State(step=state.step + 1, latent=latent, opt=opt, inner=inner)
        return state, base.Info(loss=loss, metrics=dict(aux.metrics))

    def read(state: base.State) -> base.Synthetic:
        return objective.read(decoder.decode(state.latent), state.inner)

    return base.Method(init=init, step=step, read=read)


def check_class_major(initial: base.Examples) -> None:
    """Raises unless the rows of an initial set are class-major with M / C per class.

    The class of a row is its ``group``, or what a hard label names. Where neither is
    there (soft labels, values), and in a set that is being traced, rows are taken to be
    in order.

    Args:
      initial: the set.

    Raises:
      InputError: when a class has more rows than another, or rows are out of order.

    Example:
      >>> import jax.numpy as jnp
      >>> check_class_major(base.Examples(jnp.zeros((2, 3)), jnp.eye(2)))
    """
    classes, num_classes = _classes(initial)
    num_rows = len(classes)
    if num_rows % num_classes:
        raise errors.InputError(
            f"The initial set has {num_rows} rows for {num_classes} classes; it needs "
            "the same number of rows for every class."
        )
    expected = np.repeat(np.arange(num_classes), num_rows // num_classes)
    if not np.array_equal(classes, expected):
        raise errors.InputError(
            "The rows of the initial set are not class-major: sort them by class, with "
            f"{num_rows // num_classes} rows for each of the {num_classes} classes. "
            f"The classes begin {classes[:8].tolist()}."
        )


def _check_finite(initial: base.Examples) -> None:
    """Raises for labels that are no numbers; what they mean, the protocol says."""
    for name in ("y", "target"):
        for labels in jax.tree.leaves(getattr(initial, name)):
            if not isinstance(labels, jax.core.Tracer):
                label_checks.check_labels(
                    labels, "values", name=f"The initial `{name}`"
                )


def _classes(initial: base.Examples) -> tuple[np.ndarray, int]:
    """The class of each row [M] and their number; one class where none is known."""
    known = initial.y if initial.group is None else initial.group
    if known is None or isinstance(known, jax.core.Tracer | Mapping):
        return np.zeros(0, np.int32), 1
    known = np.asarray(known)
    if initial.group is not None:
        return known, int(known.max(initial=0)) + 1
    # Hard labels are two numbers in all: one-hot, centred or smoothed.
    values = np.unique(known)
    is_hard = known.ndim == 2 and known.shape[1] > 1 and len(values) == 2
    if len(known) == 1:  # A soft label of two classes is two numbers, too.
        is_hard = is_hard and values.tolist() == [0, 1]
    if not is_hard or ((known == known.max()).sum(axis=1) != 1).any():
        return np.zeros(0, np.int32), 1
    return known.argmax(axis=1), known.shape[1]


def _partition(optimizer: Optimizer, learned: dict) -> optax.GradientTransformation:
    """One transformation for the whole `learned` dictionary."""
    if not isinstance(optimizer, Mapping):
        return optimizer
    missing, unused = set(learned) - set(optimizer), set(optimizer) - set(learned)
    if missing or unused:
        raise errors.InputError(
            f"The optimisers are for {sorted(optimizer)}, but what is learned is "
            f"{sorted(learned)}; give one optimiser for each learned key."
        )
    labels: Any = {name: name for name in learned}
    by_key: Any = dict(optimizer)
    return optax.partition(by_key, labels)
