# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A stored set evaluated again, by its own recipe, with its network or with others."""

import json
import math
import pathlib
from typing import Any

import jax
import ml_collections

from distill_jax import data, errors, evaluation, nets, tasks
from distill_jax.cli import experiment
from distill_jax.compute import devices
from distill_jax.evaluation import protocol as protocols
from distill_jax.storage import distilled, npz_json

__all__ = ["evaluate_stored", "is_several", "network_words", "transfer_stored"]


def evaluate_stored(
    path: pathlib.Path,
    *,
    network: str | None = None,
    data_dir: str | None = None,
    num_runs: int = 5,
    seed: int = 0,
) -> tuple[evaluation.Evaluation, str]:
    """Trains fresh networks on a stored set, by its own recipe, and tests them.

    Args:
      path: of the distilled set.
      network: a name or a JSON description; the one of the recipe by default.
      data_dir: where data sets are.
      num_runs: fresh networks.
      seed: of the evaluation.

    Returns:
      The evaluation on the test set, and the network in words.

    Raises:
      InputError: when the set, the network or the data do not go together.

    Example:
      >>> evaluate_stored(pathlib.Path("nowhere"))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: ...
    """
    stored, dataset = _load_both(path, data_dir)
    description = _network(network, stored, dataset)
    task = tasks.classification(nets.build(description), dataset.spec)
    result = evaluation.evaluate(
        task,
        experiment.to_synthetic(stored),
        dataset,
        protocol=protocols.Protocol(**stored.recipe["protocol"]),
        num_runs=num_runs,
        key=jax.random.key(seed),
        mapping=devices.evaluation_mapping(task),
    )
    return result, network_words(description)


def is_several(network: str | None) -> bool:
    """Whether the words of ``--network`` name a list of networks.

    Args:
      network: what was passed: "all", names with commas, a JSON list; or one name, one
        JSON description, nothing.

    Example:
      >>> is_several("all"), is_several("mlp,vgg11"), is_several('{"name": "mlp"}')
      (True, True, False)
    """
    words = (network or "").strip()
    return words == "all" or words[:1] == "[" or (words[:1] != "{" and "," in words)


def transfer_stored(
    path: pathlib.Path,
    *,
    network: str,
    data_dir: str | None = None,
    num_runs: int = 5,
    seed: int = 0,
    use_random: bool = False,
) -> list[dict[str, Any]]:
    """Trains networks of several architectures on a stored set, by its own recipe.

    The rows are also written to ``transfer.json`` beside the set, for the report.

    Args:
      path: of the distilled set.
      network: names with commas between them, a JSON list of names and descriptions,
        or "all": the network of the recipe and every other that is known by name.
      data_dir: where data sets are.
      num_runs: fresh networks of each architecture.
      seed: of the evaluation.
      use_random: whether the networks are trained on as many random real examples too.

    Returns:
      A row for each network, with the keys of
      :data:`~distill_jax.report.contents.TRANSFER_FIELDS`.

    Raises:
      InputError: when the set and the data do not go together, or a network is unknown.

    Example:
      >>> transfer_stored(pathlib.Path("nowhere"), network="all")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: ...
    """
    stored, dataset = _load_both(path, data_dir)
    descriptions = _networks(network, stored, dataset)
    lines = evaluation.transfer(
        jax.random.key(seed),
        {network_words(now): nets.build(now) for now in descriptions},
        experiment.to_synthetic(stored),
        dataset,
        protocols.Protocol(**stored.recipe["protocol"]),
        num_runs=num_runs,
        num_random_per_class=(
            len(stored.x) // dataset.spec.num_classes if use_random else None
        ),
    )
    rows = [line.to_row() for line in lines]
    folder = path if path.is_dir() else path.parent
    text = json.dumps(rows, indent=2)
    npz_json.write_files({folder / "transfer.json": text.encode()})
    return rows


def network_words(description: dict[str, Any]) -> str:
    """A network in words: its name, sizes and normalisation.

    Args:
      description: of a network, as :func:`distill_jax.nets.build` takes it.

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


def _load_both(
    path: pathlib.Path, data_dir: str | None
) -> tuple[distilled.DistilledSet, data.Dataset]:
    """A stored set and the data set that it was made from."""
    stored = distilled.DistilledSet.load(path)
    is_told = "data" in stored.config and {"network", "protocol"} <= set(stored.recipe)
    if not is_told:
        raise errors.InputError(
            f"The distilled set {path} does not say which data and which recipe it "
            "belongs to (it was merged, or made by hand); evaluate it with "
            "`dj.evaluate` and a protocol of your own."
        )
    config: Any = ml_collections.ConfigDict(stored.config)
    config.data.data_dir = data_dir or config.data.data_dir
    dataset = experiment.load_for(config)
    if dataset.spec.fingerprint != stored.data_fingerprint:
        raise errors.InputError(
            f'The data set "{dataset.spec.name}" at hand is not the one that the '
            "distilled set was made from (their fingerprints differ); point --data_dir "
            "to the same files, and keep normalisation and validation split."
        )
    return stored, dataset


def _networks(
    words: str, stored: distilled.DistilledSet, dataset: data.Dataset
) -> list[dict[str, Any]]:
    """The descriptions of several networks."""
    if words.strip() == "all":
        own = dict(stored.recipe["network"])
        others = [name for name in nets.names() if name != own.get("name")]
        return [own, *(_network(name, stored, dataset) for name in others)]
    parts: list[Any] = words.split(",")
    if words.lstrip().startswith("["):
        parts = _from_json(words)
    parts = [part.strip() if isinstance(part, str) else part for part in parts]
    texts = [part if isinstance(part, str) else json.dumps(part) for part in parts]
    return [_network(text, stored, dataset) for text in texts if text]


def _network(
    network: str | None, stored: distilled.DistilledSet, dataset: data.Dataset
) -> dict[str, Any]:
    """The description of the network to evaluate with."""
    if network is None:
        return dict(stored.recipe["network"])
    if not network.lstrip().startswith("{"):
        network = json.dumps({"name": network})
    description = _from_json(network)
    description = {"num_classes": dataset.spec.num_classes, **description}
    if description.get("name") == "convnet" and len(dataset.spec.shape) == 3:
        # As in the literature: 3 blocks for 32 pixels, 4 for 64; features stay 4 x 4.
        depth = max(1, round(math.log2(min(dataset.spec.shape[:2]))) - 2)
        description.setdefault("depth", depth)
    if description.get("name") == "resnet18" and max(dataset.spec.shape[:2]) <= 8:
        description.setdefault("norm", "batch")  # Of one position nothing else is left.
    return description


def _from_json(network: str) -> Any:
    try:
        return json.loads(network)
    except json.JSONDecodeError as error:
        raise errors.InputError(
            f"`--network` is {network}, which is no JSON ({error}); pass a name, or "
            """something like '{"name": "mlp", "hidden": [64]}'."""
        ) from error
