# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learned labels: the targets of the distilled set move from fixed to learned.

"logits":         y = softmax(y_logits), or exp(y_logits), whose mass is free
"probabilities":  y as it stands: not negative, the mass of a row is free, or y / sum y
"simplex":        y as it stands: rows stay on the simplex
"centred":        y = (onehot - 1/C) / sqrt(C/10) at the start, then free
"values":         y as it stands: numbers that are regressed, or centred already
"""

from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.core
import jax.numpy as jnp

from distill_jax import base, errors, tasks
from distill_jax.labels import mass
from distill_jax.storage import label_checks
from distill_jax.types import Array, Key

__all__ = ["Kind", "is_normal", "learn_labels", "warn_if_saturated"]

Kind = Literal["logits", "probabilities", "simplex", "centred", "values"]
_FIELDS = ("y", "target")
# Kinds of probabilities, and whether their rows sum to one where it is not said.
_NORMAL = {"logits": True, "probabilities": False, "simplex": True}
_SATURATED = 0.95  # of the mass of a row, on average, in one class


def learn_labels(
    decoder: base.Decoder,
    *,
    kind: Kind,
    scale: float | None = 10.0,
    fields: Sequence[str] = ("y",),
    smoothing: float | None = None,
    is_normalized: bool | None = None,
) -> base.Decoder:
    """Makes a decoder's labels learned.

    A row of ``"probabilities"`` that moves freely does not keep its mass: networks are
    then trained by a protocol with ``label_mass="free"``, and an optimiser that ends
    with ``optax.keep_params_nonnegative()`` keeps the entries probabilities. For a
    ``"simplex"`` it ends with :func:`~distill_jax.transforms.keep_on_simplex`.

    Args:
      decoder: a decoder that keeps the labels fixed.
      kind: how labels are parametrised; see the head of this module.
      scale: with ``"logits"``, how many times the one-hot initial set the logits start
        as; None where the initial set holds logits already.
      fields: what is learned: ``"y"``, the label; ``"target"``, what a representation
        learns, which starts as the label where the initial set has none; or both.
      smoothing: with ``"logits"``, in place of ``scale``: the logits start as the
        logarithm of the initial labels, of which this share, above 0 and at most 1, is
        spread over all classes. So the labels start as they are, smoothed.
      is_normalized: whether the rows of ``"logits"`` and ``"probabilities"`` are given
        the mass one when they are decoded; by default those of logits are.

    Returns:
      A decoder that learns each of the fields (``y`` or ``y_logits``, ``target`` or
      ``target_logits``) beside what was learned before.

    Raises:
      InputError: for an unknown kind or field, a smoothing out of its range, or a kind
        whose mass cannot be chosen; from ``init``, when a field is learned already, or
        the initial labels are not finite, or no probabilities where the kind starts
        from these.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import distill_jax as dj
      >>> decoder = learn_labels(dj.plain_decoder(), kind="centred")
      >>> initial = dj.Examples(x=jnp.zeros((2, 3)), y=jnp.eye(2))
      >>> latent = decoder.init(jax.random.key(0), initial)
      >>> sorted(latent.learned), sorted(latent.fixed)
      (['x', 'y'], [])
      >>> decoder = learn_labels(dj.plain_decoder(), kind="logits", fields=["target"])
      >>> latent = decoder.init(jax.random.key(0), initial)
      >>> sorted(latent.learned), sorted(latent.fixed)
      (['target_logits', 'x'], ['y'])

    Reference:
      Centred labels: Yongchao Zhou, Ehsan Nezhadarya, Jimmy Ba, "Dataset Distillation
      using Neural Feature Regression", 2022, section 4. Logits: Ziyao Guo et al.,
      "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory
      Matching", 2024, section 3.3.
    """
    _check_choices(kind, fields)
    _check_smoothing(kind, smoothing)
    normal = is_normal(kind, is_normalized) if kind in _NORMAL else False
    names = {
        field: f"{field}_logits" if kind == "logits" else field for field in fields
    }

    def init(key: Key, initial: base.Examples) -> base.Latent:
        latent = decoder.init(key, initial)
        _check_is_fixed(latent, fields)
        learned = {}
        for field, name in names.items():
            label = latent.fixed.get(field)
            if label is None:  # A copy: a loop may donate both, and no buffer twice.
                label = jnp.copy(latent.fixed.get("y", initial.y))
            learned[name] = _parametrise(label, kind, scale, smoothing, field)
        fixed = {n: leaf for n, leaf in latent.fixed.items() if n not in names}
        return base.Latent(learned={**latent.learned, **learned}, fixed=fixed)

    def decode(latent: base.Latent) -> base.Synthetic:
        learned = dict(latent.learned)
        labels = {field: learned.pop(name) for field, name in names.items()}
        labels = {field: _decoded(y, kind, normal) for field, y in labels.items()}
        return decoder.decode(base.Latent(learned, {**latent.fixed, **labels}))

    return base.Decoder(init=init, decode=decode)


def is_normal(kind: str, is_normalized: bool | None) -> bool:
    """Whether the rows of learned probabilities are decoded with the mass one.

    Args:
      kind: ``"logits"``, ``"probabilities"`` or ``"simplex"``.
      is_normalized: what was chosen; None for what is usual.

    Raises:
      InputError: for a kind whose mass is not chosen.

    Example:
      >>> is_normal("logits", None), is_normal("probabilities", None)
      (True, False)
    """
    if is_normalized is None:
        return _NORMAL[kind]
    if kind not in ("logits", "probabilities"):
        raise errors.InputError(
            f'`is_normalized` is {is_normalized}, but labels of the kind "{kind}" have '
            'the mass that they have; it is chosen for "logits" and "probabilities".'
        )
    return is_normalized


def _decoded(label: Array, kind: Kind, normal: bool) -> Array:
    """The labels that what is learned stands for."""
    if kind == "logits":
        return jax.nn.softmax(label) if normal else jnp.exp(label)
    return mass.normalize(label) if normal and kind == "probabilities" else label


def _parametrise(
    label: Array, kind: Kind, scale: float | None, smoothing: float | None, field: str
) -> Array:
    """What is learned, at the start."""
    is_known = not isinstance(label, jax.core.Tracer)  # Else a run checks it.
    holds_logits = kind == "logits" and scale is None and smoothing is None
    if is_known:
        is_number = kind == "values" or holds_logits
        label_checks.check_labels(
            label,
            "values" if is_number else "probabilities",
            "free" if kind == "probabilities" else "one",
            name=f"The initial `{field}`",
        )
    if kind == "logits" and smoothing is not None:
        smoothed = mass.smooth(label, smoothing)
        if is_known:
            warn_if_saturated(label, smoothing)
        return jnp.log(smoothed)
    if kind == "logits":
        return label if scale is None else scale * label
    return tasks.encode(label, kind) if kind == "centred" else label


def warn_if_saturated(labels: Array, smoothing: float) -> None:
    """Warns of logits that a softmax hardly passes a gradient on to.

    Args:
      labels: [..., C] as they are at the start.
      smoothing: that the logits are to start with.

    Example:
      >>> warn_if_saturated(jnp.eye(10), 0.5)
    """
    top = float(mass.smooth(labels, smoothing).max(axis=-1).mean())
    if top > _SATURATED:
        errors.warn(
            f"The label logits start saturated: the largest class of a label has "
            f"{100 * top:.1f} % of its mass, and a softmax passes on to it only "
            f"{100 * top * (1 - top):.1f} % of a gradient. Use a `smoothing` above "
            f"{smoothing:.3g}, such as 0.5, or labels of an earlier epoch."
        )


def _check_choices(kind: str, fields: Sequence[str]) -> None:
    known = get_args(Kind)
    if kind not in known:
        hint = errors.nearest(kind, known)
        raise errors.InputError(f'There is no kind "{kind}" of learned labels. {hint}')
    if isinstance(fields, str) or not fields:
        raise errors.InputError(
            f'`fields` is {fields!r}; pass a list of what is learned: ["y", "target"].'
        )
    for field in fields:
        if field not in _FIELDS:
            hint = errors.nearest(field, _FIELDS)
            raise errors.InputError(f'There is no label "{field}" to learn. {hint}')


def _check_smoothing(kind: str, smoothing: float | None) -> None:
    if smoothing is None:
        return
    if kind != "logits":
        raise errors.InputError(
            f'`smoothing` is {smoothing}, but labels of the kind "{kind}" start as '
            'they are; it is the start of "logits".'
        )
    if not 0 < smoothing <= 1:
        raise errors.InputError(
            f"`smoothing` is a share of each label, above 0 and at most 1, got "
            f"{smoothing}; without any the logarithm of a hard label is not finite."
        )


def _check_is_fixed(latent: base.Latent, fields: Sequence[str]) -> None:
    for field in fields:
        if {field, f"{field}_logits"} & set(latent.learned):
            raise errors.InputError(
                f"`{field}` is learned already; give `learn_labels` a decoder that "
                "keeps it fixed."
            )
