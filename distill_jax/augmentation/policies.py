# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Policies: what augmentations are drawn from, as plain data.

:func:`parse` reads a policy from a string as configurations hold it; the policy
``None`` is the identity everywhere. :mod:`~distill_jax.augmentation.drawing` draws.

Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese Augmentation",
2021.
"""

import dataclasses
from typing import Literal, get_args

from distill_jax import errors
from distill_jax.augmentation import operations as operations_lib

__all__ = [
    "Policy",
    "crop_policy",
    "dc_policy",
    "dsa_policy",
    "flip_policy",
    "noise_policy",
    "parse",
    "resized_crop_policy",
    "share",
]

Mode = Literal["single", "per_example", "all", "composed"]

_DSA = operations_lib.Strengths()


@dataclasses.dataclass(frozen=True)
class Policy:
    """What augmentations are drawn from: plain facts, made by the functions below.

    ``mode`` is ``"single"`` (one operation, drawn uniformly, for the whole call),
    ``"per_example"`` (one operation for each example), ``"all"`` (every operation, in
    order) or ``"composed"`` (``flip`` and ``color``, then one of the others, drawn for
    the whole call, at last ``cutout``; each where the policy has it). A ``siamese``
    policy draws one set of parameters for all examples.
    """

    operations: tuple[str, ...]
    mode: Mode = "single"
    siamese: bool = False
    align_corners: bool = False
    strengths: operations_lib.Strengths = _DSA


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
      mode: ``"single"``, ``"per_example"``, ``"all"`` or ``"composed"``, see
        :class:`Policy`.

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
        if name not in operations_lib.NAMES:
            raise errors.InputError(
                f'There is no augmentation "{name}" (in "{strategy}"). '
                f"{errors.nearest(name, operations_lib.NAMES)}"
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
      strategy: ``"none"``, what :func:`dsa_policy` takes, ``"idc:"`` before it, for
        the mode ``"composed"``, or ``"dc:"`` before what :func:`dc_policy` takes, for
        which the other arguments mean nothing.
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
      >>> parse("idc:color_crop").mode
      'composed'
    """
    if strategy is None or strategy == "none":
        return None
    if strategy.startswith("dc:"):
        return dc_policy(strategy.removeprefix("dc:"))
    if strategy.startswith("idc:"):
        strategy, mode = strategy.removeprefix("idc:"), "composed"
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
