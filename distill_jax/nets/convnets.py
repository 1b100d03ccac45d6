# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The ConvNet on which nearly all of dataset distillation is measured.

    block = conv 3x3 -> norm -> activation -> pool 2x2;  logits = dense(flatten(blocks))

Gidaris and Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", 2018; its
use here follows Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching",
2021.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
from flax import linen

from distill_jax import base, errors
from distill_jax.nets import convolution, layers
from distill_jax.nets import net as net_lib
from distill_jax.types import Array, Key

__all__ = ["ConvNet", "convnet"]

_NORMS = ("none", "instance", "group", "layer", "batch", "batch_pre")
_ACTIVATIONS = ("relu", "leaky_relu", "sigmoid", "swish", "softplus")
_POOLINGS = ("none", "avg", "max")


class ConvNet(linen.Module):
    """The module behind :func:`convnet`, which checks and documents the options."""

    num_classes: int
    widths: tuple[int, ...] = (128, 128, 128)
    norm: str = "instance"
    activation: str = "relu"
    pooling: str = "avg"
    first_padding: str | int = "auto"
    conv: convolution.Form = "auto"
    softplus_beta: float = 1.0
    momentum: float = 0.1

    @linen.compact
    def __call__(self, x: Array, is_training: bool = False) -> Array:
        """Maps [B, H, W, channels] to logits [B, C]."""
        padding = first_padding(self.first_padding, x.shape[1:])
        for block, width in enumerate(self.widths):
            if self.norm == "batch_pre" and block > 0:
                x = self._normalise(x, block, is_training)
            conv = layers.Conv(width, padding, self.conv, name=f"conv{block}")
            if self.norm == "instance":
                x = layers.conv_instance_norm(conv, x, name=f"norm{block}")
            elif self.norm == "batch_pre":
                x = conv(x)
            else:
                x = self._normalise(conv(x), block, is_training)
            x = self._activate(x)
            x = layers.pool(x, self.pooling)
            self.sow("intermediates", f"block{block}", x)
            padding = 1
        x = x.reshape(x.shape[0], -1)
        self.sow("intermediates", "penultimate", x)
        return layers.Dense(self.num_classes, name="dense")(x)

    def _normalise(self, x: Array, block: int, is_training: bool) -> Array:
        name = f"norm{block}"
        if self.norm == "none":
            return x
        if self.norm == "layer":
            return layers.LayerNorm(name=name)(x)
        if self.norm == "group":
            return layers.GroupNorm(4, name=name)(x)
        return layers.BatchNorm(self.momentum, name=name)(x, is_training)

    def _activate(self, x: Array) -> Array:
        if self.activation == "leaky_relu":
            return jax.nn.leaky_relu(x, 0.01)
        if self.activation == "softplus":
            return jax.nn.softplus(self.softplus_beta * x) / self.softplus_beta
        if self.activation == "relu":
            return layers.relu(x)
        return getattr(jax.nn, self.activation)(x)


def convnet(
    num_classes: int,
    *,
    width: int | Sequence[int] = 128,
    depth: int = 3,
    norm: str = "instance",
    activation: str = "relu",
    pooling: str = "avg",
    first_padding: str | int = "auto",
    conv: convolution.Form = "auto",
    softplus_beta: float = 1.0,
    momentum: float = 0.1,
) -> net_lib.Net:
    """Makes the ConvNet of the literature, with all its variants.

    Args:
      num_classes: number of outputs.
      width: channels of every block, or one number for each block; FRePo's network is
        ``width=(128, 256, 512), norm="batch_pre"``.
      depth: number of blocks; 3 for pictures of 28 or 32, 4 for 64, 5 for 128.
      norm: ``"none"``, ``"instance"``, ``"group"`` (4 groups), ``"layer"``,
        ``"batch"`` after each convolution, or ``"batch_pre"``: batch norm before each
        convolution but the first.
      activation: ``"relu"``, ``"leaky_relu"`` (slope 0.01), ``"sigmoid"``, ``"swish"``
        or ``"softplus"`` (with ``softplus_beta``: log(1 + exp(beta x)) / beta).
      pooling: ``"none"``, ``"avg"`` or ``"max"``, over 2x2 squares.
      first_padding: of the first convolution; ``"auto"`` is 3 for pictures of one
        channel with at least 28 rows (28 becomes 32), else 1.
      conv: form of the convolution, see :func:`~distill_jax.nets.convolution.conv2d`.
      softplus_beta: sharpness of ``"softplus"``.
      momentum: share of a batch in the running statistics of batch norm.

    Returns:
      A :class:`~distill_jax.nets.Net` with the features ``block0``, ``block1``, ...
      [B, h, w, width] after pooling, and ``penultimate`` [B, h w width], flattened row
      by row with the channels last.

    Raises:
      InputError: if an option is unknown or impossible; from ``init``, if the examples
        are no pictures or too small for so many poolings.

    Example:
      >>> import jax
      >>> from distill_jax import nets
      >>> net = nets.convnet(10, width=8)
      >>> variables = net.init(jax.random.key(0), (8, 8, 1))
      >>> variables.params["conv0"]["kernel"].shape
      (3, 3, 1, 8)

    Reference:
      Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, "Dataset Condensation with Gradient
      Matching", 2021, section 4.1.
    """
    widths = tuple(width) if isinstance(width, Sequence) else (width,) * depth
    _check_option("norm", norm, _NORMS)
    _check_option("activation", activation, _ACTIVATIONS)
    _check_option("pooling", pooling, _POOLINGS)
    convolution.check_form(conv)
    _check_sizes(num_classes, widths, depth, norm)
    _check_numbers(first_padding, softplus_beta, momentum)
    options: dict[str, Any] = {
        "num_classes": num_classes,
        "norm": norm,
        "activation": activation,
        "pooling": pooling,
        "first_padding": first_padding,
        "conv": conv,
        "softplus_beta": softplus_beta,
        "momentum": momentum,
    }
    module = ConvNet(widths=widths, **options)
    stored_width = width if isinstance(width, int) else list(widths)
    description = {"name": "convnet", "width": stored_width, "depth": depth, **options}
    net = net_lib.from_flax(module, description=description)
    return net._replace(init=functools.partial(_init, net, module))


def first_padding(padding: str | int, shape: tuple[int, ...]) -> int:
    """The padding of the first convolution for pictures of a shape.

    Args:
      padding: a number, or ``"auto"``.
      shape: [H, W, channels] of one picture.

    Returns:
      The number; for ``"auto"`` 3 if there is one channel and at least 28 rows, else 1.

    Example:
      >>> first_padding("auto", (28, 28, 1)), first_padding("auto", (32, 32, 3))
      (3, 1)
    """
    if isinstance(padding, int):
        return padding
    return 3 if shape[-1] == 1 and shape[0] >= 28 else 1


def _init(
    net: net_lib.Net, module: ConvNet, key: Key, shape: tuple[int, ...]
) -> base.Variables:
    """`net.init` after a check that the pictures fit the network."""
    if len(shape) != 3:
        raise errors.InputError(
            f"A ConvNet takes pictures of shape (height, width, channels), but one "
            f"example has the shape {tuple(shape)}; use `nets.mlp` for such data."
        )
    growth = 2 * (first_padding(module.first_padding, shape) - 1)
    smallest, num_poolings = min(shape[:2]) + growth, len(module.widths)
    if module.pooling != "none" and smallest >> num_poolings < 1:
        raise errors.InputError(
            f"A ConvNet of depth {num_poolings} halves the picture {num_poolings} "
            f"times, which pictures of shape {tuple(shape)} cannot bear; use a depth "
            f'of at most {max(smallest.bit_length() - 1, 0)}, or pooling="none".'
        )
    return net.init(key, shape)


def _check_option(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise errors.InputError(
            f'A ConvNet has no {option} "{value}". {errors.nearest(str(value), known)}'
        )


def _check_sizes(
    num_classes: int, widths: tuple[int, ...], depth: int, norm: str
) -> None:
    for name, value in (("num_classes", num_classes), ("depth", depth)):
        if not isinstance(value, int) or value < 1:
            raise errors.InputError(
                f"The {name} of a ConvNet must be a whole number of at least 1, got "
                f"{value}."
            )
    if len(widths) != depth:
        raise errors.InputError(
            f"A ConvNet of depth {depth} needs {depth} widths, but {len(widths)} were "
            f"given ({list(widths)}); pass depth={len(widths)}, or one number."
        )
    step = 4 if norm == "group" else 1
    if any(not isinstance(w, int) or w < 1 or w % step for w in widths):
        reason = "a multiple of 4 for the norm of 4 groups" if step == 4 else "positive"
        raise errors.InputError(
            f"The width of a ConvNet must be a whole number and {reason}, got "
            f"{list(widths)}."
        )


def _check_numbers(padding: str | int, softplus_beta: float, momentum: float) -> None:
    if padding != "auto" and (not isinstance(padding, int) or padding < 0):
        raise errors.InputError(
            f'The `first_padding` of a ConvNet is "auto" or a whole number of at least '
            f"0, got {padding!r}."
        )
    if not softplus_beta > 0:
        raise errors.InputError(
            f"The `softplus_beta` of a ConvNet must be above 0, got {softplus_beta}."
        )
    if not 0 <= momentum <= 1:
        raise errors.InputError(
            f"The `momentum` of a ConvNet's batch norm must be between 0 and 1, got "
            f"{momentum}; it is the share of the new batch."
        )
