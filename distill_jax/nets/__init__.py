# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks as pure functions: built in, or adapted from Flax and from plain JAX."""

from distill_jax.nets.alexnet_and_vgg import alexnet, vgg11
from distill_jax.nets.convnets import convnet
from distill_jax.nets.convolution import conv2d
from distill_jax.nets.net import Net, from_flax, from_functions, from_nnx, load_flat
from distill_jax.nets.perceptron import mlp
from distill_jax.nets.precision import with_precision
from distill_jax.nets.registry import build, names, network_words
from distill_jax.nets.residual import resnet18

__all__ = [
    "Net",
    "alexnet",
    "build",
    "conv2d",
    "convnet",
    "from_flax",
    "from_functions",
    "from_nnx",
    "load_flat",
    "mlp",
    "names",
    "network_words",
    "resnet18",
    "vgg11",
    "with_precision",
]
