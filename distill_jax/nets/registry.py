# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks by name, so that a stored recipe can say which one it was made with."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from distill_jax import errors
from distill_jax.nets import alexnet_and_vgg, convnets, perceptron, residual
from distill_jax.nets import net as net_lib
from distill_jax.nets import precision as precision_lib

__all__ = ["build", "names", "network_words"]

_BUILDERS: dict[str, Callable[..., net_lib.Net]] = {
    "alexnet": alexnet_and_vgg.alexnet,
    "convnet": convnets.convnet,
    "mlp": perceptron.mlp,
    "resnet18": residual.resnet18,
    "vgg11": alexnet_and_vgg.vgg11,
}


def names() -> tuple[str, ...]:
    """The networks that can be built by name.

    Example:
      >>> from distill_jax import nets
      >>> nets.names()
      ('alexnet', 'convnet', 'mlp', 'resnet18', 'vgg11')
    """
    return tuple(sorted(_BUILDERS))


def build(description: Mapping[str, Any]) -> net_lib.Net:
    """Makes a network of its description.

    Args:
      description: ``{"name": "convnet", "num_classes": 10, ...}`` with the options of
        the function of that name; what ``net.description`` holds, plain enough for
        JSON. Every network has the option ``precision``, see
        :func:`~distill_jax.nets.with_precision`.

    Returns:
      A :class:`~distill_jax.nets.Net`; ``build(net.description)`` is ``net`` again.

    Raises:
      InputError: if the name or an option is unknown, or ``num_classes`` is missing.

    Example:
      >>> from distill_jax import nets
      >>> nets.build(nets.mlp(3, hidden=(8,)).description).description["hidden"]
      [8]
    """
    options = dict(description)
    name = str(options.pop("name", ""))
    precision = options.pop("precision", None)
    if name not in _BUILDERS:
        raise errors.InputError(
            f'There is no network "{name}" that could be built by name. '
            f"{errors.nearest(name, _BUILDERS)}"
        )
    known = inspect.signature(_BUILDERS[name]).parameters
    for option in options:
        if option not in known:
            raise errors.InputError(
                f'The network "{name}" has no option "{option}". '
                f"{errors.nearest(str(option), [*known, 'precision'])}"
            )
    if "num_classes" not in options:
        raise errors.InputError(
            f'The description of the network "{name}" does not say `num_classes`, '
            "which every network needs."
        )
    net = _BUILDERS[name](**options)
    return net if precision is None else precision_lib.with_precision(net, precision)


def network_words(description: Mapping[str, Any]) -> str:
    """Says a network in words: its name, sizes and normalisation.

    Args:
      description: of a network, as :func:`build` takes it.

    Returns:
      Words with commas between them.

    Example:
      >>> network_words({"name": "convnet", "width": 32, "norm": "none"})
      'convnet, width 32, no norm'
    """
    sizes = {
        k: description[k] for k in ("width", "depth", "hidden") if k in description
    }
    words = [f"{k} {v}" for k, v in sizes.items()]
    norm = description.get("norm")
    if norm:
        words.append("no norm" if norm == "none" else f"{norm} norm")
    return ", ".join([description.get("name", "given"), *words])
