# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A random draw from a policy, and its deterministic application.

    w ~ policy,  x' = A_w(x)

Real and synthetic pictures that are bent with the same ``w`` are siamese; gradients
flow through ``A_w`` into the pixels.

Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
2021.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.augmentation import operations, policies
from distill_jax.compute import randomness
from distill_jax.types import Array, Key

__all__ = ["Augmentation", "augment", "check_shape", "sample_augmentation"]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Static:
    """A policy as the static part of a pytree."""

    value: policies.Policy | None


class Augmentation(NamedTuple):
    """One draw from a policy, a pytree; the policy is a static part of it."""

    policy: _Static
    choice: Array | None  # [], or [E] for "per_example": which of those drawn from
    draws: tuple[dict[str, Array], ...]  # for each operation, arrays with leading E


def check_shape(policy: policies.Policy | None, shape: tuple[int, ...]) -> None:
    """Raises unless pictures of a shape can be augmented by a policy.

    Args:
      policy: what augmentation is drawn from, or ``None``.
      shape: [H, W, channels] of one example.

    Raises:
      InputError: if the examples are no pictures, or an operation does not fit them.

    Example:
      >>> check_shape(policies.crop_policy(4), (28, 28, 1))
    """
    if policy is not None:
        _bound(policy, tuple(shape))


def sample_augmentation(
    key: Key,
    policy: policies.Policy | None,
    *,
    num_examples: int,
    shape: tuple[int, ...],
) -> Augmentation:
    """Draws one augmentation.

    Args:
      key: a random key.
      policy: what to draw from; ``None`` for the identity.
      num_examples: B, how many examples are to be augmented; without meaning for a
        siamese policy, whose draw fits any number.
      shape: [H, W, channels] of one example.

    Returns:
      The :class:`Augmentation`, to be given to :func:`augment` as often as wished.

    Raises:
      InputError: if the examples are no pictures, or an operation does not fit them.

    Example:
      >>> import jax
      >>> from distill_jax.augmentation import drawing, policies
      >>> policy = policies.crop_policy(1)
      >>> drawn = drawing.sample_augmentation(
      ...     jax.random.key(0), policy, num_examples=5, shape=(8, 8, 1))
      >>> drawn.draws[0]["rows"].shape
      (5,)
    """
    if policy is None:
        return Augmentation(_Static(None), None, ())
    num = 1 if policy.siamese else num_examples
    spare, draws = operations.sample(
        key, policy.operations, policy.strengths, num, tuple(shape)
    )
    choice = None
    num_choices = len(draws)
    if policy.mode == "composed":
        num_choices = len(_composed(policy)[1])
    if policy.mode != "all" and num_choices:
        choice = randomness.whole_numbers(spare, 0, num_choices)
        choice = choice if policy.mode == "per_example" else choice[0]
    return Augmentation(_Static(policy), choice, draws)


def augment(params: Augmentation, x: Array) -> Array:
    """Applies a drawn augmentation.

    Args:
      params: what :func:`sample_augmentation` drew.
      x: [B, H, W, channels], with the number of examples it was drawn for (any number
        for a siamese policy).

    Returns:
      [B, H, W, channels], of the type of ``x``.

    Raises:
      InputError: if it was drawn for another number of examples.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from distill_jax.augmentation import drawing, policies
      >>> drawn = drawing.sample_augmentation(
      ...     jax.random.key(0), policies.dsa_policy(), num_examples=2, shape=(8, 8, 3))
      >>> drawing.augment(drawn, jnp.ones((2, 8, 8, 3))).shape
      (2, 8, 8, 3)
    """
    policy = params.policy.value
    if policy is None:
        return x
    _check_number(params, x)
    branches = [
        _branch(operation, draws)
        for operation, draws in zip(
            _bound(policy, x.shape[1:]), params.draws, strict=True
        )
    ]
    if policy.mode == "all":
        for branch in branches:
            x = branch(x)
        return x
    if policy.mode == "composed":
        before, middle, after = (
            [branches[number] for number in numbers] for numbers in _composed(policy)
        )
        for branch in before:
            x = branch(x)
        if middle:
            x = jax.lax.switch(params.choice, middle, x)
        for branch in after:
            x = branch(x)
        return x
    if policy.mode == "single":
        return jax.lax.switch(params.choice, branches, x)
    assert params.choice is not None
    out = x
    for number, branch in enumerate(branches):
        chosen = (params.choice == number)[:, None, None, None]
        out = jnp.where(chosen, branch(x), out)
    return out


def _bound(
    policy: policies.Policy, shape: tuple[int, ...]
) -> tuple[operations.Operation, ...]:
    return operations.bind(
        policy.operations, policy.strengths, shape, align_corners=policy.align_corners
    )


def _composed(policy: policies.Policy) -> tuple[list[int], list[int], list[int]]:
    """Positions of the operations that come first, of which one is drawn, and last."""
    numbers = {name: number for number, name in enumerate(policy.operations)}
    first = [numbers.pop(name) for name in ("flip", "color") if name in numbers]
    last = [numbers.pop("cutout")] if "cutout" in numbers else []
    return first, list(numbers.values()), last


def _branch(
    operation: operations.Operation, draws: dict[str, Array]
) -> Callable[[Array], Array]:
    """One operation as a function of the pictures alone."""
    return lambda x: operation.apply(x, **draws).astype(x.dtype)


def _check_number(params: Augmentation, x: Array) -> None:
    num = jax.tree.leaves(params.draws)[0].shape[0]
    if num not in (1, x.shape[0]):
        raise errors.InputError(
            f"This augmentation was drawn for {num} examples, but {x.shape[0]} came; "
            f"draw it with num_examples={x.shape[0]}, or use a siamese policy, which "
            "serves any number."
        )
