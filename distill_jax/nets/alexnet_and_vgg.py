# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Plain networks: convolutions in a row, some of them followed by a max pooling.

    layer = conv -> norm -> ReLU (-> max pool 2x2);  logits = dense(flatten(layers))

AlexNet (Krizhevsky, Sutskever and Hinton, 2012) and VGG-11 (Simonyan and Zisserman,
2015) in the forms for pictures of 32 pixels on which distilled sets are tested for
transfer: one dense layer, and for VGG-11 a norm after every convolution.
"""

import functools
from typing import Any, NamedTuple

from flax import linen

from distill_jax import base, errors
from distill_jax.nets import checks, convnets, convolution, layers
from distill_jax.nets import net as net_lib
from distill_jax.types import Array, Key

__all__ = ["PlainNet", "alexnet", "vgg11"]

_NORMS = ("instance", "batch", "none")


class _Layer(NamedTuple):
    """One convolution and what follows it."""

    width: int
    size: int  # rows and columns of the kernel
    is_pooled: bool


class PlainNet(linen.Module):
    """The module behind :func:`alexnet` and :func:`vgg11`."""

    num_classes: int
    plan: tuple[_Layer, ...]
    norm: str = "instance"
    conv: convolution.Form = "auto"

    @linen.compact
    def __call__(self, x: Array, is_training: bool = False) -> Array:
        """Maps [B, H, W, channels] to logits [B, C]."""
        for block, (width, size, is_pooled) in enumerate(self.plan):
            padding = size // 2 if block else _first_padding(self.plan, x.shape[1:])
            conv = layers.Conv(width, padding, self.conv, size, name=f"conv{block}")
            if self.norm == "instance":
                x = layers.conv_instance_norm(conv, x, name=f"norm{block}")
            else:
                x = layers.normalise(
                    conv(x), self.norm, is_training, name=f"norm{block}"
                )
            x = layers.pool(layers.relu(x), "max" if is_pooled else "none")
            self.sow("intermediates", f"block{block}", x)
        x = x.reshape(x.shape[0], -1)
        self.sow("intermediates", "penultimate", x)
        return layers.Dense(self.num_classes, name="dense")(x)


def alexnet(
    num_classes: int, *, width: int = 128, conv: convolution.Form = "auto"
) -> net_lib.Net:
    """Makes the AlexNet for small pictures, without norms.

    Convolutions 5x5, 5x5, 3x3, 3x3, 3x3, with poolings after the first, the second and
    the last. The first pads pictures of one channel and 28 rows to 32.

    Args:
      num_classes: number of outputs.
      width: channels of the first convolution, an even number; the others have 3/2, 2,
        3/2 and 3/2 times as many (128, 192, 256, 192, 192 by default).
      conv: form of the convolution, see :func:`~distill_jax.nets.convolution.conv2d`.

    Returns:
      A :class:`~distill_jax.nets.Net` with the features ``block0`` ... ``block4``
      [B, h, w, channels] after pooling, and ``penultimate`` [B, D].

    Raises:
      InputError: if a number is impossible; from ``init``, if the examples are no
        pictures or have fewer than 8 rows or columns.

    Example:
      >>> import jax
      >>> from distill_jax import nets
      >>> net = nets.alexnet(10, width=4)
      >>> variables = jax.eval_shape(lambda: net.init(jax.random.key(0), (8, 8, 1)))
      >>> variables.params["dense"]["kernel"].shape
      (6, 10)

    Reference:
      Alex Krizhevsky, Ilya Sutskever, Geoffrey Hinton, "ImageNet Classification with
      Deep Convolutional Neural Networks", 2012; in this form in Zhao, Mopuri, Bilen,
      "Dataset Condensation with Gradient Matching", 2021, table 2.
    """
    checks.check_sizes("alexnet", num_classes=num_classes, width=width)
    if width % 2:
        raise errors.InputError(
            f"The width of an AlexNet must be even, since the second convolution has "
            f"3/2 of it; got {width}."
        )
    half = width // 2
    rows = ((2, 5, True), (3, 5, True), (4, 3, False), (3, 3, False), (3, 3, True))
    plan = tuple(_Layer(half * times, size, pooled) for times, size, pooled in rows)
    description = {"name": "alexnet", "num_classes": num_classes, "width": width}
    return _make(plan, {**description, "conv": conv}, norm="none")


def vgg11(
    num_classes: int,
    *,
    width: int = 64,
    norm: str = "instance",
    conv: convolution.Form = "auto",
) -> net_lib.Net:
    """Makes the VGG with eleven layers for small pictures, of which nine remain.

    Convolutions 3x3 of 1, 2, 4, 4, 8, 8, 8, 8 times ``width`` channels, with poolings
    after the first, the second, the fourth, the sixth and the last; one dense layer
    instead of three. The first pads pictures of 28 to 31 rows to 32.

    Args:
      num_classes: number of outputs.
      width: channels of the first convolution.
      norm: after each convolution: ``"instance"``, ``"batch"`` or ``"none"``.
      conv: form of the convolution, see :func:`~distill_jax.nets.convolution.conv2d`.

    Returns:
      A :class:`~distill_jax.nets.Net` with the features ``block0`` ... ``block7``
      [B, h, w, channels] after pooling, and ``penultimate`` [B, D].

    Raises:
      InputError: if an option is unknown or impossible; from ``init``, if the examples
        are no pictures or have fewer than 28 rows or columns.

    Example:
      >>> import jax
      >>> from distill_jax import nets
      >>> net = nets.vgg11(10, width=2)
      >>> variables = jax.eval_shape(lambda: net.init(jax.random.key(0), (28, 28, 1)))
      >>> variables.params["dense"]["kernel"].shape
      (16, 10)

    Reference:
      Karen Simonyan, Andrew Zisserman, "Very Deep Convolutional Networks for
      Large-Scale Image Recognition", 2015, table 1 A; in this form in Zhao, Mopuri,
      Bilen, "Dataset Condensation with Gradient Matching", 2021, table 2.
    """
    checks.check_sizes("vgg11", num_classes=num_classes, width=width)
    checks.check_choice("vgg11", "norm", norm, _NORMS)
    times, pooled = (1, 2, 4, 4, 8, 8, 8, 8), (0, 1, 3, 5, 7)
    plan = tuple(_Layer(width * k, 3, i in pooled) for i, k in enumerate(times))
    description = {
        "name": "vgg11",
        "num_classes": num_classes,
        "width": width,
        "norm": norm,
        "conv": conv,
    }
    return _make(plan, description, norm=norm)


def _make(
    plan: tuple[_Layer, ...], description: dict[str, Any], *, norm: str
) -> net_lib.Net:
    convolution.check_form(description["conv"])
    module = PlainNet(description["num_classes"], plan, norm, description["conv"])
    net = net_lib.from_flax(module, description=description)
    return net._replace(init=functools.partial(_init, net, module))


def _init(
    net: net_lib.Net, module: PlainNet, key: Key, shape: tuple[int, ...]
) -> base.Variables:
    """`net.init` after a check that the pictures fit the network."""
    name = net.description["name"]
    checks.check_pictures(name, shape)
    num_poolings = _num_poolings(module.plan)
    _, size, _ = module.plan[0]
    padded = min(shape[:2]) + 2 * _first_padding(module.plan, shape) - (size - 1)
    if padded >> num_poolings < 1:
        raise errors.InputError(
            f'The network "{name}" halves a picture {num_poolings} times, which '
            f"pictures of shape {tuple(shape)} cannot bear; use `nets.convnet` with a "
            'smaller depth, `nets.resnet18` with norm="batch", or `nets.mlp`.'
        )
    return net.init(key, shape)


def _first_padding(plan: tuple[_Layer, ...], shape: tuple[int, ...]) -> int:
    """What keeps the size, and as much more as makes 28 to 31 rows 32.

    Two more where the ConvNet has them; elsewhere only where the poolings need them.
    """
    extra, smallest = convnets.first_padding("auto", shape) - 1, min(shape[:2])
    if 28 <= smallest < 2 ** _num_poolings(plan):
        extra = max(extra, (33 - smallest) // 2)
    return plan[0].size // 2 + extra


def _num_poolings(plan: tuple[_Layer, ...]) -> int:
    return sum(is_pooled for _, _, is_pooled in plan)
