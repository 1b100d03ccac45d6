# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the words of `--network`: a name, a JSON description, or several of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import distill_jax as dj
from distill_jax import errors

if TYPE_CHECKING:
    from distill_jax import data

__all__ = ["is_several", "one", "several"]


def is_several(network: str | None) -> bool:
    """Says whether the words of ``--network`` name a list of networks.

    Args:
      network: what was passed: "all", names with commas, a JSON list; or one name, one
        JSON description, nothing.

    Returns:
      True where there may be several.

    Example:
      >>> is_several("all"), is_several("mlp,vgg11"), is_several('{"name": "mlp"}')
      (True, True, False)
    """
    words = (network or "").strip()
    return words == "all" or words[:1] == "[" or (words[:1] != "{" and "," in words)


def several(
    words: str, own: Mapping[str, Any], spec: data.DataSpec
) -> list[dict[str, Any]]:
    """Returns the descriptions of several networks.

    Args:
      words: of which :func:`is_several` is true.
      own: the description of the network that a set was made with.
      spec: of the data set.

    Returns:
      Descriptions, as :func:`distill_jax.nets.build` takes them.

    Raises:
      InputError: where JSON cannot be read.

    Example:
      >>> spec = dj.data.load("digits").spec
      >>> [one["name"] for one in several("mlp, vgg11", {}, spec)]
      ['mlp', 'vgg11']
    """
    if words.strip() == "all":
        others = [name for name in dj.nets.names() if name != own.get("name")]
        return [dict(own), *(one(name, own, spec) for name in others)]
    parts: list[Any] = words.split(",")
    if words.lstrip().startswith("["):
        parts = _from_json(words)
    parts = [part.strip() if isinstance(part, str) else part for part in parts]
    texts = [part if isinstance(part, str) else json.dumps(part) for part in parts]
    return [one(text, own, spec) for text in texts if text]


def one(
    words: str | None, own: Mapping[str, Any], spec: data.DataSpec
) -> dict[str, Any]:
    """Returns the description of one network.

    What is not said is filled in by what is usual for pictures of that size.

    Args:
      words: a name or a JSON description; ``None`` for the network of the set.
      own: the description of the network that a set was made with.
      spec: of the data set.

    Returns:
      A description, as :func:`distill_jax.nets.build` takes it.

    Raises:
      InputError: where JSON cannot be read.

    Example:
      >>> one("convnet", {}, dj.data.load("digits").spec)
      {'num_classes': 10, 'name': 'convnet', 'depth': 1}
    """
    if words is None:
        return dict(own)
    if not words.lstrip().startswith("{"):
        words = json.dumps({"name": words})
    description = {"num_classes": spec.num_classes, **_from_json(words)}
    if description.get("name") == "convnet" and len(spec.shape) == 3:
        # As in the literature: 3 blocks for 32 pixels, 4 for 64; features stay 4 x 4.
        depth = max(1, round(math.log2(min(spec.shape[:2]))) - 2)
        description.setdefault("depth", depth)
    if description.get("name") == "resnet18" and max(spec.shape[:2]) <= 8:
        description.setdefault("norm", "batch")  # Of one position nothing else is left.
    return description


def _from_json(words: str) -> Any:
    try:
        return json.loads(words)
    except (ValueError, RecursionError) as error:
        raise errors.InputError(
            f"`--network` is {words}, which is no JSON ({error}); pass a name, or "
            """something like '{"name": "mlp", "hidden": [64]}'."""
        ) from error
