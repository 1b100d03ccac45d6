# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentation: a policy, a random draw from it, and a deterministic application.

    w ~ policy,  x' = A_w(x)

Real and synthetic pictures that are bent with the same ``w`` are siamese; gradients
flow through ``A_w`` into the pixels. The policy ``None`` is the identity everywhere.

Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
2021.
"""

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.augmentation import operations as operations_lib
from distill_jax.compute import randomness
from distill_jax.types import Array, Key

__all__ = [
    "Augmentation",
    "Policy",
    "augment",
    "check_fit",
    "crop_policy",
    "dc_policy",
    "dsa_policy",
    "flip_policy",
    "noise_policy",
    "parse",
    "resized_crop_policy",
    "sample_augmentation",
    "share",
]

Mode = Literal["single", "per_example", "all"]

_DSA = operations_lib.Strengths()


@dataclasses.dataclass(frozen=True)
class Policy:
    """What augmentations are drawn from: plain facts, made by the functions below.

    ``mode`` is ``"single"`` (one operation, drawn uniformly, for the whole call),
    ``"per_example"`` (one operation for each example) or ``"all"`` (every operation, in
    order). A ``siamese`` policy draws one set of parameters for all examples.
    """

    operations: tuple[str, ...]
    mode: Mode = "single"
    siamese: bool = False
    align_corners: bool = False
    strengths: operations_lib.Strengths = _DSA


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Static:
    """A policy as the static part of a pytree."""

    value: Policy | None


class Augmentation(NamedTuple):
    """One draw from a policy, a pytree; the policy is a static part of it."""

    policy: _Static
    choice: Array | None  # [], or [E] for "per_example": number of the operation
    draws: tuple[dict[str, Array], ...]  # for each operation, arrays with leading E


def dsa_policy(
    strategy: str = "color_crop_cutout_flip_scale_rotate",
    *,
    align_corners: bool = False,
    siamese: bool = False,
    mode: Mode = "single",
) -> Policy:
    """Differentiable siamese augmentation: one of several operations for each call.

    Args:
      strategy: names joined by ``_``: ``color`` (brightness, then saturation, then
        contrast), ``crop`` (shift by up to 1/8), ``cutout`` (half the side), ``flip``,
        ``scale`` (1/1.2 to 1.2 in each axis), ``rotate`` (up to 15 degrees). Also
        ``translate`` (the same shift as crop: FRePo's evaluation names both, so there a
        shift is drawn twice as often), ``brightness``, ``saturation``, ``contrast``,
        ``noise`` and ``rrc`` (random resized crop).
      align_corners: the convention of scale and rotate: ``False`` in DC, DSA and DM,
        ``True`` in MTT and what follows it.
      siamese: one set of parameters for all examples, to be shared between real and
        synthetic batches; else one for each example.
      mode: ``"single"``, ``"per_example"`` or ``"all"``, see :class:`Policy`.

    Returns:
      A :class:`Policy`.

    Raises:
      InputError: if an operation or the mode is unknown.

    Example:
      >>> dsa_policy("color_flip").operations
      ('color', 'flip')

    Reference:
      Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese
      Augmentation", 2021, section 3.2.
    """
    names = tuple(strategy.split("_"))
    for name in names:
        if name not in operations_lib.OPERATIONS:
            raise errors.InputError(
                f'There is no augmentation "{name}" (in "{strategy}"). '
                f"{errors.nearest(name, operations_lib.OPERATIONS)}"
            )
    if mode not in get_args(Mode):
        raise errors.InputError(
            f'There is no mode of augmentation "{mode}". '
            f"{errors.nearest(str(mode), get_args(Mode))}"
        )
    return Policy(names, mode, siamese, align_corners)


def parse(
    strategy: str | None,
    *,
    align_corners: bool = False,
    siamese: bool = False,
    mode: Mode = "single",
) -> Policy | None:
    """Reads a policy from a string as configurations hold it.

    Args:
      strategy: ``"none"``, what :func:`dsa_policy` takes, or ``"dc:"`` before what
        :func:`dc_policy` takes, for which the other arguments mean nothing.
      align_corners: see :func:`dsa_policy`.
      siamese: see :func:`dsa_policy`.
      mode: see :func:`dsa_policy`.

    Returns:
      A :class:`Policy`; ``None``, the identity, for ``"none"``.

    Raises:
      InputError: if an operation or the mode is unknown.

    Example:
      >>> parse("none") is None, parse("crop_flip", mode="all").mode
      (True, 'all')
      >>> parse("dc:crop_scale_rotate") == dc_policy()
      True
    """
    if strategy is None or strategy == "none":
        return None
    if strategy.startswith("dc:"):
        return dc_policy(strategy.removeprefix("dc:"))
    return dsa_policy(strategy, align_corners=align_corners, siamese=siamese, mode=mode)


def dc_policy(strategy: str = "crop_scale_rotate") -> Policy:
    """The augmentation with which DC trains its evaluation networks on MNIST.

    One operation for each picture: a shift by up to 4 pixels, a scale of 0.8 to 1.2, a
    rotation by up to 45 degrees, or noise of 0.001; what comes in from outside has the
    mean colour of the batch. Scale and rotate are bilinear here, where the original
    takes the nearest pixel or a spline, and always leaves black outside a scaled one.

    Args:
      strategy: names joined by ``_``; ``"crop_noise"`` for networks with batch norm.

    Returns:
      A :class:`Policy`.

    Raises:
      InputError: if an operation is unknown.

    Example:
      >>> dc_policy().mode
      'per_example'

    Reference:
      Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, "Dataset Condensation with Gradient
      Matching", 2021.
    """
    strengths = operations_lib.Strengths(
        shift_pixels=4, scale=(1 / 1.2, 1 / 0.8), rotate=45.0, fill="mean"
    )
    return dataclasses.replace(
        dsa_policy(strategy, mode="per_example"), strengths=strengths
    )


def crop_policy(pad: int) -> Policy:
    """Random crops of the picture padded with zeros: shifts by up to ``pad`` pixels.

    Args:
      pad: zeros added at each side.

    Returns:
      A :class:`Policy`; the shift is drawn for each example.

    Raises:
      InputError: if ``pad`` is negative; when drawing, if it is as large as they are.

    Example:
      >>> crop_policy(4).strengths.shift_pixels
      4
    """
    if not isinstance(pad, int) or pad < 0:
        raise errors.InputError(
            f"The padding of a crop must be a whole number of at least 0, got {pad}."
        )
    return Policy(("crop",), strengths=operations_lib.Strengths(shift_pixels=pad))


def flip_policy() -> Policy:
    """Mirrors each picture left and right with probability 1/2.

    Returns:
      A :class:`Policy`.

    Example:
      >>> flip_policy().operations
      ('flip',)
    """
    return Policy(("flip",))


def noise_policy(sigma: float) -> Policy:
    """Adds Gaussian noise to every pixel.

    Args:
      sigma: its standard deviation.

    Returns:
      A :class:`Policy`.

    Raises:
      InputError: if ``sigma`` is negative.

    Example:
      >>> noise_policy(0.1).strengths.noise
      0.1
    """
    if not sigma >= 0:
        raise errors.InputError(
            f"The standard deviation of noise must be at least 0, got {sigma}."
        )
    return Policy(("noise",), strengths=operations_lib.Strengths(noise=sigma))


def resized_crop_policy(low: float = 0.08, high: float = 1.0) -> Policy:
    """Enlarges a random square part of each picture to the full size.

    Args:
      low: the smallest share of the area; 0.2 or more for small pictures.
      high: the largest share.

    Returns:
      A :class:`Policy`.

    Raises:
      InputError: unless 0 < low <= high <= 1.

    Example:
      >>> resized_crop_policy(0.2).strengths.area
      (0.2, 1.0)
    """
    if not 0 < low <= high <= 1:
        raise errors.InputError(
            f"The shares of the area must obey 0 < low <= high <= 1, got low={low} and "
            f"high={high}."
        )
    return Policy(("rrc",), strengths=operations_lib.Strengths(area=(low, high)))


def share(policy: Policy | None) -> Policy | None:
    """The same policy with one set of parameters for all examples.

    Args:
      policy: any policy.

    Returns:
      The siamese :class:`Policy`.

    Example:
      >>> share(flip_policy()).siamese
      True
    """
    return policy and dataclasses.replace(policy, siamese=True)


def check_fit(policy: Policy | None, shape: tuple[int, ...]) -> None:
    """Raises unless pictures of a shape can be augmented by a policy.

    Args:
      policy: what augmentation is drawn from, or ``None``.
      shape: [H, W, channels] of one example.

    Raises:
      InputError: if the examples are no pictures, or an operation does not fit them.

    Example:
      >>> check_fit(crop_policy(4), (28, 28, 1))
    """
    if policy is not None:
        operations_lib.check_fit(policy.operations, policy.strengths, tuple(shape))


def sample_augmentation(
    key: Key, policy: Policy | None, *, num_examples: int, shape: tuple[int, ...]
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
      >>> from distill_jax.augmentation import policies
      >>> policy = policies.crop_policy(1)
      >>> drawn = policies.sample_augmentation(
      ...     jax.random.key(0), policy, num_examples=5, shape=(8, 8, 1))
      >>> drawn.draws[0]["rows"].shape
      (5,)
    """
    if policy is None:
        return Augmentation(_Static(None), None, ())
    check_fit(policy, shape)
    num = 1 if policy.siamese else num_examples
    spare, draws = operations_lib.sample(
        key, policy.operations, policy.strengths, num, tuple(shape)
    )
    choice = None
    if policy.mode != "all":
        choice = randomness.whole_numbers(spare, 0, len(policy.operations))
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
      >>> from distill_jax.augmentation import policies
      >>> drawn = policies.sample_augmentation(
      ...     jax.random.key(0), policies.dsa_policy(), num_examples=2, shape=(8, 8, 3))
      >>> policies.augment(drawn, jnp.ones((2, 8, 8, 3))).shape
      (2, 8, 8, 3)
    """
    policy = params.policy.value
    if policy is None:
        return x
    _check_number(params, x)
    branches = [
        _branch(policy, name, draws)
        for name, draws in zip(policy.operations, params.draws, strict=True)
    ]
    if policy.mode == "all":
        for branch in branches:
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


def _branch(policy: Policy, name: str, draws: dict[str, Array]) -> Any:
    """One operation as a function of the pictures alone."""
    apply = operations_lib.OPERATIONS[name].apply

    def branch(x: Array) -> Array:
        out = apply(draws, x, policy.strengths, policy.align_corners)
        return out.astype(x.dtype)

    return branch


def _check_number(params: Augmentation, x: Array) -> None:
    num = jax.tree.leaves(params.draws)[0].shape[0]
    if num not in (1, x.shape[0]):
        raise errors.InputError(
            f"This augmentation was drawn for {num} examples, but {x.shape[0]} came; "
            f"draw it with num_examples={x.shape[0]}, or use a siamese policy, which "
            "serves any number."
        )
