# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""ResNet-18 in its form for small pictures.

    block(x) = relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))

A 3x3 convolution, eight blocks in four stages, a mean over space, a dense layer. It
starts without the 7x7 convolution and the pooling that ImageNet asks for.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2016.
"""

import functools

import jax.numpy as jnp
from flax import linen

from distill_jax import base, errors
from distill_jax.nets import checks, convolution, layers
from distill_jax.nets import net as net_lib
from distill_jax.types import Array, Key

__all__ = ["ResNet", "ResidualBlock", "resnet18"]

_NORMS = ("instance", "batch")
_DOWNSAMPLINGS = ("stride", "avg_pool")
# Of the eight blocks: how many times wider than the stem, and whether they halve.
_BLOCKS = (
    (1, False),
    (1, False),
    (2, True),
    (2, False),
    (4, True),
    (4, False),
    (8, True),
    (8, False),
)


class ResidualBlock(linen.Module):
    """Two convolutions beside a shortcut, which a 1x1 convolution fits where needed."""

    width: int
    is_halving: bool
    norm: str
    downsampling: str
    conv: convolution.Form

    @linen.compact
    def __call__(self, x: Array, is_training: bool = False) -> Array:
        """Maps [B, H, W, I] to [B, H, W, width], or half of H and W."""
        has_stride = self.is_halving and self.downsampling == "stride"
        stride = 2 if has_stride else 1
        pooling = "avg" if self.is_halving and not has_stride else "none"

        def conv_norm(x, name, *, size=3, stride=1, pooling="none"):
            conv = layers.Conv(
                self.width,
                size // 2,
                self.conv,
                size,
                stride,
                use_bias=False,
                name=f"conv{name}",
            )
            x = layers.pool(conv(x), pooling)
            return layers.normalise(x, self.norm, is_training, name=f"norm{name}")

        hidden = layers.relu(conv_norm(x, "0", stride=stride))
        hidden = conv_norm(layers.pool(hidden, pooling), "1")
        if self.is_halving or x.shape[-1] != self.width:
            x = conv_norm(x, "_shortcut", size=1, stride=stride, pooling=pooling)
        return layers.relu(hidden + x)


class ResNet(linen.Module):
    """The module behind :func:`resnet18`, which checks and documents the options."""

    num_classes: int
    width: int = 64
    norm: str = "instance"
    downsampling: str = "stride"
    conv: convolution.Form = "auto"

    @linen.compact
    def __call__(self, x: Array, is_training: bool = False) -> Array:
        """Maps [B, H, W, channels] to logits [B, C]."""
        x = layers.Conv(self.width, form=self.conv, use_bias=False, name="conv")(x)
        x = layers.normalise(x, self.norm, is_training, name="norm")
        x = layers.relu(x)
        for index, (times, is_halving) in enumerate(_BLOCKS):
            block = ResidualBlock(
                times * self.width,
                is_halving,
                self.norm,
                self.downsampling,
                self.conv,
                name=f"residual{index}",
            )
            x = block(x, is_training)
            self.sow("intermediates", f"block{index}", x)
        if self.downsampling == "stride":
            x = jnp.mean(x, (1, 2))
        x = x.reshape(x.shape[0], -1)
        self.sow("intermediates", "penultimate", x)
        return layers.Dense(self.num_classes, name="dense")(x)


def resnet18(
    num_classes: int,
    *,
    width: int = 64,
    norm: str = "instance",
    downsampling: str = "stride",
    conv: convolution.Form = "auto",
) -> net_lib.Net:
    """Makes a ResNet-18 for small pictures.

    Args:
      num_classes: number of outputs.
      width: channels of the first stage; the others have 2, 4 and 8 times as many.
      norm: ``"instance"``, as where distilled sets are compared, or ``"batch"``.
      downsampling: ``"stride"``, as published, or ``"avg_pool"``: convolutions of
        stride 1 and means over 2x2 squares instead of stride 2 (in a block after the
        first activation, in a shortcut before the norm), and no mean over space at
        the end.
      conv: form of the convolution, see :func:`~distill_jax.nets.convolution.conv2d`.

    Returns:
      A :class:`~distill_jax.nets.Net` with the features ``block0`` ... ``block7``
      [B, h, w, channels] and ``penultimate`` [B, D].

    Raises:
      InputError: if an option is unknown or impossible; from ``init``, if the examples
        are no pictures, or so small that nothing would be left of them: instance norm
        makes zero of a single position.

    Example:
      >>> import jax
      >>> from distill_jax import nets
      >>> net = nets.resnet18(10, width=4)
      >>> variables = jax.eval_shape(lambda: net.init(jax.random.key(0), (32, 32, 3)))
      >>> variables.params["dense"]["kernel"].shape
      (32, 10)

    Reference:
      Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, "Deep Residual Learning for
      Image Recognition", 2016, section 4.2; with average pooling in Zhao, Bilen,
      "Dataset Condensation with Differentiable Siamese Augmentation", 2021.
    """
    checks.check_sizes("resnet18", num_classes=num_classes, width=width)
    checks.check_choice("resnet18", "norm", norm, _NORMS)
    checks.check_choice("resnet18", "downsampling", downsampling, _DOWNSAMPLINGS)
    convolution.check_form(conv)
    description = {
        "name": "resnet18",
        "num_classes": num_classes,
        "width": width,
        "norm": norm,
        "downsampling": downsampling,
        "conv": conv,
    }
    module = ResNet(num_classes, width, norm, downsampling, conv)
    net = net_lib.from_flax(module, description=description)
    return net._replace(init=functools.partial(_init, net, module))


def _init(
    net: net_lib.Net, module: ResNet, key: Key, shape: tuple[int, ...]
) -> base.Variables:
    """`net.init` after a check that something is left of the pictures at the end."""
    checks.check_pictures("resnet18", shape)
    is_rounded_up = module.downsampling == "stride"
    height, width = ((n + 7 * is_rounded_up) // 8 for n in shape[:2])
    if height * width < (2 if module.norm == "instance" else 1):
        is_zero = height * width == 1
        raise errors.InputError(
            f'The network "resnet18" makes {height} x {width} positions of pictures of '
            f"shape {tuple(shape)}"
            + (", and instance norm makes zero of a single one" if is_zero else "")
            + '; use downsampling="stride" with norm="batch", or `nets.convnet` with '
            "a smaller depth."
        )
    return net.init(key, shape)
