# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a finished run left in its folder: read again, reported, evaluated again."""

import json
import math
import pathlib
from typing import Any

import jax
import ml_collections
import numpy as np

from distill_jax import (
    data,
    devices,
    distilled,
    errors,
    evaluation,
    experiment,
    nets,
    report,
    storage,
    tasks,
)
from distill_jax.evaluation import protocol as protocols
from distill_jax.runtime import logging

__all__ = [
    "contents",
    "evaluate_stored",
    "is_several",
    "save_picture",
    "stored_config",
    "transfer_stored",
]

_SHOWN_PER_CLASS = 10


def stored_config(workdir: pathlib.Path) -> Any:
    """Reads the config that a folder was made with.

    Args:
      workdir: the folder of a run.

    Returns:
      The config.

    Raises:
      InputError: when there is none, or it cannot be read.

    Example:
      >>> import tempfile
      >>> from distill_jax import settings
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "config.json")
      ...     _ = path.write_text(json.dumps(settings.default().to_dict()))
      ...     stored_config(pathlib.Path(folder)).num_per_class
      10
    """
    return ml_collections.ConfigDict(_read_json(workdir / "config.json"))


def contents(workdir: pathlib.Path, config: Any) -> report.Contents:
    """Gathers what the report of a finished run tells.

    Args:
      workdir: the folder of the run.
      config: what it was made with; the data set is loaded for the real pictures.

    Returns:
      A :class:`~distill_jax.report.Contents`.

    Raises:
      InputError: when a file of the run or the data set is missing.

    Example:
      >>> from distill_jax import settings
      >>> contents(pathlib.Path("nowhere"), settings.default())
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no file nowhere/results.json; the folder \
does not hold a finished run of `distill-jax distill`.
    """
    results = _read_json(workdir / "results.json")
    stored = distilled.DistilledSet.load(workdir)
    dataset = experiment.load_for(config)
    rows = logging.read_rows(workdir / "metrics.jsonl")
    evaluated = [row for row in rows if "evaluation" in row]
    name = config.method.name
    return report.Contents(
        title=config.title or f"{name} on {dataset.spec.name}",
        facts=_facts(config, dataset, stored, results),
        config=config.to_dict(),
        class_names=dataset.spec.class_names,
        distilled_images=_distilled_images(stored),
        real_images=_real_images(dataset, len(stored.x)),
        labels=stored.y if _are_learned(stored.y) else None,
        targets=stored.targets,
        history=[
            (row["step"], row["seconds"], row["loss"])
            for row in rows
            if "evaluation" not in row
        ],
        evaluations=[
            (
                row["step"],
                row["seconds"],
                row["evaluation"]["accuracy_mean"],
                row["evaluation"]["accuracy_sd"],
            )
            for row in evaluated
        ],
        arms=results["arms"],
        transfer=_stored_transfer(workdir),
        costs=_costs(results["seconds"]),
        usage=_usage(workdir),
    )


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
    return result, _network_words(description)


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
        {_network_words(now): nets.build(now) for now in descriptions},
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
    storage.write_files({folder / "transfer.json": text.encode()})
    return rows


def save_picture(shown: report.Contents, path: pathlib.Path) -> None:
    """Saves the distilled examples and the curve as one picture.

    Args:
      shown: what the report tells.
      path: of the picture; its ending says the format.

    Raises:
      InputError: when there is nothing to draw, or the file cannot be written.

    Example:
      >>> save_picture(report.Contents("Nothing"), pathlib.Path("nothing.png"))
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: The run has neither pictures nor a history, so \
there is nothing to draw.
    """
    if shown.distilled_images is None and not shown.evaluations and not shown.history:
        raise errors.InputError(
            "The run has neither pictures nor a history, so there is nothing to draw."
        )
    try:
        report.figures.overview(shown).savefig(path, dpi=160)
    except (OSError, ValueError) as error:
        raise errors.InputError(
            f"The picture {path} could not be written ({error}); pass a file that can, "
            "such as runs/digits.png."
        ) from error


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


def _network_words(description: dict[str, Any]) -> str:
    """A network in words: its name and sizes."""
    sizes = {
        k: description[k] for k in ("width", "depth", "hidden") if k in description
    }
    words = [f"{k} {v}" for k, v in sizes.items()]
    norm = description.get("norm")
    if norm:
        words.append("no norm" if norm == "none" else f"{norm} norm")
    return ", ".join([description.get("name", "given"), *words])


def _facts(config, dataset, stored, results) -> dict[str, Any]:
    """What was done and with what, in the order of reading."""
    environment = results["environment"]
    return {
        "Data set": data.describe(dataset),
        "Method": config.method.name,
        "Distilled": f"{len(stored.x)} examples, learned as {config.num_per_class} "
        f"picture{'s' * (config.num_per_class > 1)} per class",
        "Steps": config.num_steps,
        "Network": _network_words(stored.recipe["network"]),
        "Hardware": f"{environment['device']}, {environment['cores']} cores",
        "Versions": f"jax {environment['jax']}, Python {environment['python']}",
        "Date": environment["date"],
        **results.get("scores", {}),
    }


def _distilled_images(stored: distilled.DistilledSet) -> np.ndarray | None:
    if stored.x.ndim != 4 or stored.x.shape[-1] not in (1, 3):
        return None
    images = stored.to_images()
    return images.reshape(stored.y.shape[1], -1, *images.shape[1:])


def _real_images(dataset: data.Dataset, num_examples: int) -> np.ndarray | None:
    """The first training pictures of each class."""
    num = min(num_examples // dataset.spec.num_classes, _SHOWN_PER_CLASS)
    if len(dataset.spec.shape) != 3 or dataset.spec.shape[-1] not in (1, 3):
        return None
    table, count = data.class_table(dataset.train.y, dataset.spec.num_classes)
    rows = np.asarray(table)[:, : min(num, int(np.min(count)))]
    normalizer = dataset.spec.normalizer
    return data.to_pixels(
        normalizer, data.normalize(normalizer, dataset.train.x[rows.reshape(-1)])
    ).reshape(*rows.shape, *dataset.spec.shape)


def _are_learned(y: np.ndarray) -> bool:
    """Whether labels are more than the names of classes."""
    return not np.isin(y, (0.0, 1.0)).all()


def _stored_transfer(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The rows that `evaluate` with several networks has left, if it was called."""
    path = workdir / "transfer.json"
    return _read_json(path) if path.exists() else []


def _costs(seconds: dict[str, float]) -> dict[str, str]:
    return {name: report.tables.format_seconds(s) for name, s in seconds.items()}


def _usage(workdir: pathlib.Path) -> str:
    return f"""\
# Test it again, or with another network:
distill-jax evaluate --distilled={workdir}
distill-jax evaluate --distilled={workdir} --network=mlp

# What it teaches to other networks:
distill-jax evaluate --distilled={workdir} --network=all

# Train on it, with numpy alone (distilled.json says how):
import numpy as np
with np.load("{workdir / "distilled.npz"}") as file:
    x, y = file["x"], file["y"]
"""


def _read_json(path: pathlib.Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise errors.InputError(
            f"There is no file {path}; the folder does not hold a finished run of "
            "`distill-jax distill`."
        ) from error
    except (OSError, ValueError) as error:
        raise errors.InputError(
            f"The file {path} could not be read ({error}); run `distill-jax distill` "
            "in a new folder."
        ) from error
