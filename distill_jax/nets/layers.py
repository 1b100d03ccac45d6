# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The layers of the built-in networks: PyTorch's initialisation, norms, pooling.

    weights and biases ~ U(-1/sqrt(fan_in), 1/sqrt(fan_in)),  norm: scale 1, bias 0

Flax's own defaults (LeCun normal, zero bias) are a different distribution over
networks, and matching methods average over that distribution. Means and variances are
taken in float32 at least.
"""

import jax
import jax.numpy as jnp
from flax import linen

from distill_jax.nets import convolution, initialisers
from distill_jax.types import Array

__all__ = [
    "BatchNorm",
    "Conv",
    "Dense",
    "GroupNorm",
    "LayerNorm",
    "conv_instance_norm",
    "normalise",
    "pool",
    "relu",
]

_EPSILON = 1e-5


class Conv(linen.Module):
    """A convolution, 3x3 by default; parameters ``kernel`` (HWIO) and ``bias``."""

    width: int
    padding: int = 1
    form: convolution.Form = "auto"
    size: int = 3
    stride: int = 1
    use_bias: bool = True

    @linen.compact
    def __call__(self, x: Array, affine: tuple[Array, Array] | None = None) -> Array:
        """Maps [B, H, W, I] to [B, h, w, width].

        With ``affine``, a scale and a shift [width], an instance norm follows, before
        which a bias has no effect.
        """
        shape = (self.size, self.size, x.shape[-1], self.width)
        init = initialisers.uniform(fan_in=self.size**2 * x.shape[-1])
        kernel = self.param("kernel", init, shape)
        bias = self.param("bias", init, (self.width,)) if self.use_bias else None
        if affine is not None:
            return convolution.normalised_conv2d(
                x, kernel, *affine, padding=self.padding, epsilon=_EPSILON
            )
        x = convolution.conv2d(
            x, kernel, padding=self.padding, stride=self.stride, form=self.form
        )
        return x if bias is None else x + bias.reshape(1, 1, 1, -1)


class Dense(linen.Module):
    """A dense layer; parameters ``kernel`` (in, out) and ``bias``."""

    width: int

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, D] to [B, width]."""
        init = initialisers.uniform(x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.width))
        bias = self.param("bias", init, (self.width,))
        return x @ kernel + bias.reshape(1, -1)


class GroupNorm(linen.Module):
    """Normalises each example over space and the channels of a group.

    With as many groups as channels (``num_groups=None``) this is instance norm.
    """

    num_groups: int | None = None
    epsilon: float = _EPSILON

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, D] to the same shape."""
        batch, height, width, channels = x.shape
        if self.num_groups in (None, channels):
            x = _standardise(x, (1, 2), self.epsilon)
        else:
            grouped = x.reshape(batch, height, width, self.num_groups, -1)
            x = _standardise(grouped, (1, 2, 4), self.epsilon).reshape(x.shape)
        return _affine(self, x, (channels,))


class LayerNorm(linen.Module):
    """Normalises each example over space and channels, one scale for each value.

    ``scale`` and ``bias`` have the shape [H, W, D], so the size of the input is fixed.
    """

    epsilon: float = _EPSILON

    @linen.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, D] to the same shape."""
        return _affine(self, _standardise(x, (1, 2, 3), self.epsilon), x.shape[1:])


class BatchNorm(linen.Module):
    """Normalises each channel over the batch, with explicit running statistics.

    As in PyTorch: training normalises with the biased variance of the batch, moves
    ``mean`` and ``var`` of the collection ``batch_stats`` by ``momentum`` towards the
    batch (the unbiased variance), and inference uses those.
    """

    momentum: float = 0.1
    epsilon: float = _EPSILON

    @linen.compact
    def __call__(self, x: Array, is_training: bool = False) -> Array:
        """Maps [B, H, W, D] to the same shape."""
        channels = x.shape[-1]
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        var = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if not is_training:
            centred = x - mean.value.reshape(1, 1, 1, -1)
            x = centred * jax.lax.rsqrt(var.value + self.epsilon).reshape(1, 1, 1, -1)
            return _affine(self, x, (channels,))
        if not self.is_initializing():
            count = x.size // channels
            unbiased = jnp.var(_wide(x), (0, 1, 2)) * (count / max(count - 1, 1))
            mean.value = self._move(mean.value, jnp.mean(_wide(x), (0, 1, 2)))
            var.value = self._move(var.value, unbiased)
        x = _standardise(x, (0, 1, 2), self.epsilon)
        return _affine(self, x, (channels,))

    def _move(self, old: Array, new: Array) -> Array:
        moved = (1 - self.momentum) * old + self.momentum * new
        return moved.astype(old.dtype)


class _Affine(linen.Module):
    """The parameters of an instance norm, for the convolution that does its work."""

    width: int

    @linen.compact
    def __call__(self) -> tuple[Array, Array]:
        """The scale and the bias, [width] each."""
        scale = self.param("scale", linen.initializers.ones, (self.width,))
        return scale, self.param("bias", linen.initializers.zeros, (self.width,))


def conv_instance_norm(layer: Conv, x: Array, *, name: str) -> Array:
    """A convolution and an instance norm, in one go where that is faster.

    Args:
      layer: the convolution, made by the module that calls this.
      x: [B, H, W, I].
      name: of the norm within that module.

    Returns:
      [B, h, w, width].

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax.nets import layers
      >>> class Block(linen.Module):
      ...     @linen.compact
      ...     def __call__(self, x):
      ...         conv = layers.Conv(2, name="conv")
      ...         return layers.conv_instance_norm(conv, x, name="norm")
      >>> x = jnp.arange(16.0).reshape(1, 4, 4, 1)
      >>> out, variables = Block().init_with_output(jax.random.key(0), x)
      >>> sorted(variables["params"]), bool(jnp.abs(out.mean((1, 2))).max() < 1e-6)
      (['conv', 'norm'], True)
    """
    if layer.stride == 1 and convolution.can_fold(x, (layer.size,) * 2, layer.form):
        return layer(x, _Affine(layer.width, name=name)())
    return GroupNorm(name=name)(layer(x))


def normalise(x: Array, kind: str, is_training: bool, *, name: str) -> Array:
    """Applies a norm of a kind, as a part of the module that calls this.

    Args:
      x: [B, H, W, D].
      kind: ``"instance"``, ``"batch"`` or ``"none"``.
      is_training: whether batch norm takes the statistics of this batch.
      name: of the norm within the module.

    Returns:
      [B, H, W, D].

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax.nets import layers
      >>> layers.normalise(jnp.ones((1, 2, 2, 3)), "none", False, name="norm").shape
      (1, 2, 2, 3)
    """
    if kind == "none":
        return x
    if kind == "instance":
        return GroupNorm(name=name)(x)
    return BatchNorm(name=name)(x, is_training)


def pool(x: Array, kind: str) -> Array:
    """Pools 2x2 squares; a last odd row or column is left out.

    Args:
      x: [B, H, W, D].
      kind: ``"avg"``, ``"max"`` or ``"none"``.

    Returns:
      [B, H // 2, W // 2, D], or ``x`` itself.

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax.nets import layers
      >>> layers.pool(jnp.arange(6.0).reshape(1, 2, 3, 1), "avg").ravel().tolist()
      [2.0]
    """
    if kind == "none":
        return x
    batch, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    if kind == "max":
        return squares.max((2, 4))
    return _wide(squares).mean((2, 4)).astype(x.dtype)


@jax.custom_jvp
def relu(x: Array) -> Array:
    """max(x, 0), with the derivative 0 at 0, as ``jax.nn.relu``.

    Written as a choice, it is computed together with what comes before it; a maximum is
    taken together with the pooling that follows, for which XLA writes out an array of
    zeros on the CPU.

    Args:
      x: of any shape.

    Returns:
      The same shape and type; NaN stays NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax.nets import layers
      >>> layers.relu(jnp.array([-1.0, 2.0])).tolist()
      [0.0, 2.0]
    """
    return jnp.where(x < 0, jnp.zeros_like(x), x)


@relu.defjvp
def _relu_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    return relu(x), jnp.where(x > 0, tangent, jnp.zeros_like(tangent))


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _standardise(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    """Mean 0 and (biased) variance 1 over some axes."""
    wide = _wide(x)
    centred = wide - wide.mean(axes, keepdims=True)
    variance = jnp.square(centred).mean(axes, keepdims=True)
    return (centred * jax.lax.rsqrt(variance + epsilon)).astype(x.dtype)


def _affine(module: linen.Module, x: Array, shape: tuple[int, ...]) -> Array:
    """A scale and a bias for the last axes of x."""
    scale = module.param("scale", linen.initializers.ones, shape)
    bias = module.param("bias", linen.initializers.zeros, shape)
    leading = (1,) * (x.ndim - len(shape))
    return x * scale.reshape(*leading, *shape) + bias.reshape(*leading, *shape)
