# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learned labels: the targets of the distilled set move from fixed to learned.

"logits":         y = softmax(y_logits)
"probabilities":  y as it stands: not negative, the mass of a row is free
"centred":        y = (onehot - 1/C) / sqrt(C/10) at the start, then free
"values":         y as it stands: numbers that are regressed, or centred already
"""

from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.core
import jax.numpy as jnp

from distill_jax import base, errors, tasks
from distill_jax.storage import label_checks
from distill_jax.types import Array, Key

__all__ = ["learn_labels"]

Kind = Literal["logits", "probabilities", "centred", "values"]
_FIELDS = ("y", "target")


def learn_labels(
    decoder: base.Decoder,
    *,
    kind: Kind,
    scale: float | None = 10.0,
    fields: Sequence[str] = ("y",),
) -> base.Decoder:
    """Makes a decoder's labels learned.

    A row of ``"probabilities"`` that moves freely does not keep its mass: networks are
    then trained by a protocol with ``label_mass="free"``, and an optimiser that ends
    with ``optax.keep_params_nonnegative()`` keeps the entries probabilities.

    Args:
      decoder: a decoder that keeps the labels fixed.
      kind: how labels are parametrised; see the head of this module.
      scale: with ``"logits"``, how many times the one-hot initial set the logits start
        as; None where the initial set holds logits already.
      fields: what is learned: ``"y"``, the label; ``"target"``, what a representation
        learns, which starts as the label where the initial set has none; or both.

    Returns:
      A decoder that learns each of the fields (``y`` or ``y_logits``, ``target`` or
      ``target_logits``) beside what was learned before.

    Raises:
      InputError: for an unknown kind or field; from ``init``, when a field is learned
        already, or the initial labels are not finite, or no probabilities where the
        kind starts from these.

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
            learned[name] = _parametrise(label, kind, scale, field)
        fixed = {n: leaf for n, leaf in latent.fixed.items() if n not in names}
        return base.Latent(learned={**latent.learned, **learned}, fixed=fixed)

    def decode(latent: base.Latent) -> base.Synthetic:
        learned = dict(latent.learned)
        labels = {field: learned.pop(name) for field, name in names.items()}
        if kind == "logits":
            labels = {field: jax.nn.softmax(label) for field, label in labels.items()}
        return decoder.decode(base.Latent(learned, {**latent.fixed, **labels}))

    return base.Decoder(init=init, decode=decode)


def _parametrise(label: Array, kind: Kind, scale: float | None, field: str) -> Array:
    """What is learned, at the start."""
    if not isinstance(label, jax.core.Tracer):  # Else a run checks its first state.
        is_number = kind == "values" or (kind == "logits" and scale is None)
        label_checks.check_labels(
            label,
            "values" if is_number else "probabilities",
            "free" if kind == "probabilities" else "one",
            name=f"The initial `{field}`",
        )
    if kind == "logits":
        return label if scale is None else scale * label
    return tasks.encode(label, kind) if kind == "centred" else label


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


def _check_is_fixed(latent: base.Latent, fields: Sequence[str]) -> None:
    for field in fields:
        if {field, f"{field}_logits"} & set(latent.learned):
            raise errors.InputError(
                f"`{field}` is learned already; give `learn_labels` a decoder that "
                "keeps it fixed."
            )
