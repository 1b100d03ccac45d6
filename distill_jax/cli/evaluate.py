# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``distill-jax evaluate``: trains fresh networks on a stored set and tests them.

A set is evaluated by its own recipe, with the network it was made with or with others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import pathlib
from typing import TYPE_CHECKING, Any

import distill_jax as dj
from distill_jax import errors
from distill_jax.cli import flags, networks, startup

if TYPE_CHECKING:
    from distill_jax import evaluation
    from distill_jax.data import Dataset
    from distill_jax.storage import distilled

__all__ = ["COMMAND", "evaluate_stored", "transfer_stored"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--distilled", metavar="DIR", help="the folder of a run, or of a stored set"
    )
    parser.add_argument(
        "--network",
        metavar="NETWORK",
        help="another network than the set was made with: a name, or a JSON "
        "description; several, with commas between them or `all`, make a table",
    )
    parser.add_argument(
        "--random",
        action="store_true",
        help="of a table: train also on as many random real examples",
    )
    parser.add_argument(
        "--num_runs",
        type=flags.number(1),
        default=5,
        metavar="N",
        help="fresh networks (%(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=flags.number(),
        default=0,
        metavar="N",
        help="of the first network (%(default)s)",
    )
    flags.add_data_dir(parser, is_own=True)
    flags.add_quiet(parser, is_shown=False)


def _run(values: argparse.Namespace) -> None:
    """Trains fresh networks on a distilled set and prints their test accuracy."""
    path = flags.required_path(values, "distilled", "runs/digits")
    startup.prepare()
    options = {
        "network": values.network,
        "data_dir": values.data_dir,
        "data": values.data,
        "num_runs": values.num_runs,
        "seed": values.seed,
    }
    if networks.is_several(values.network):
        rows = transfer_stored(path, use_random=values.random, **options)
        _print_transfer(rows)
    else:
        print(_sentence(*evaluate_stored(path, **options)))


COMMAND = flags.Command(
    name="evaluate",
    summary="Trains fresh networks on a distilled set and tests them.",
    examples="""\
  distill-jax evaluate --distilled=runs/digits
      networks of the kind that the set was made with
  distill-jax evaluate --distilled=runs/digits --network=convnet
  distill-jax evaluate --distilled=runs/digits \\
      --network='{"name": "mlp", "hidden": [64]}' --num_runs=10
      of another kind
  distill-jax evaluate --distilled=runs/digits --network=mlp,alexnet,resnet18 --random
      a table of networks, trained on as many random real examples too""",
    add_flags=_add_flags,
    run=_run,
)


def evaluate_stored(
    path: pathlib.Path,
    *,
    network: str | None = None,
    data_dir: str | None = None,
    data: str | None = None,
    num_runs: int = 5,
    seed: int = 0,
) -> tuple[evaluation.Evaluation, str]:
    """Trains fresh networks on a stored set, by its own recipe, and tests them.

    Where the set of a run is not judged yet, this completes its results.

    Args:
      path: of the distilled set.
      network: a name or a JSON description; the one of the recipe by default.
      data_dir: where data sets are; where they were by default.
      data: the data set itself, such as ``"npz:PATH"``, where its path is another now.
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
    import jax

    from distill_jax.cli import judging

    stored, dataset, protocol = _load_both(path, data_dir, data)
    with _reading(path):
        description = networks.one(network, stored.recipe["network"], dataset.spec)
        task = dj.tasks.classification(dj.nets.build(description), dataset.spec)
    arm = dj.evaluation.synthetic_arm(
        jax.random.key(seed),
        task,
        dj.evaluation.to_synthetic(stored),
        dataset,
        protocol,
        num_runs=num_runs,
        side_by_side=dj.compute.devices.side_by_side(task),
    )
    if network is None:
        judging.complete(path, stored, arm, seed=seed)
    return arm.evaluation, dj.nets.network_words(description)


def transfer_stored(
    path: pathlib.Path,
    *,
    network: str,
    data_dir: str | None = None,
    data: str | None = None,
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
      data_dir: where data sets are; where they were by default.
      data: the data set itself, such as ``"npz:PATH"``, where its path is another now.
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
    import jax

    stored, dataset, protocol = _load_both(path, data_dir, data)
    with _reading(path):
        own = stored.recipe["network"]
        descriptions = networks.several(network, own, dataset.spec)
        nets = {
            dj.nets.network_words(each): dj.nets.build(each) for each in descriptions
        }
    lines = dj.evaluation.transfer(
        jax.random.key(seed),
        nets,
        dj.evaluation.to_synthetic(stored),
        dataset,
        protocol,
        num_runs=num_runs,
        num_random_per_class=(
            stored.num_examples // dataset.spec.num_classes if use_random else None
        ),
    )
    rows = [line.to_row() for line in lines]
    folder = path if path.is_dir() else path.parent
    text = json.dumps(rows, indent=2)
    files = dj.storage.json_files.with_digest(folder / "transfer.json", text)
    dj.storage.npz_json.write_files(files)
    return rows


def _load_both(
    path: pathlib.Path, data_dir: str | None, name: str | None
) -> tuple[distilled.DistilledSet, Dataset, evaluation.Protocol]:
    """A stored set, the data set that it was made from, and how to train on it."""
    from distill_jax.cli import data_sets

    stored = dj.DistilledSet.load(path)
    with _reading(path):
        fields = {"network", "protocol"}
        is_told = "data" in stored.config and fields <= set(stored.recipe)
    if not is_told:
        raise errors.InputError(
            f"The distilled set {path} does not say which data and which recipe it "
            "belongs to (it was merged, or made by hand); evaluate it with "
            "`dj.evaluate` and a protocol of your own."
        )
    section = stored.config["data"]
    with _reading(path):
        protocol = dj.evaluation.protocol_of(stored)
        dataset = data_sets.load_again(
            stored, section, beside=path, data_dir=data_dir, name=name
        )
    return stored, dataset, protocol


def _reading(path: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """Says in a sentence that the facts of a set are not those of a run."""
    from distill_jax.storage import bounds

    return bounds.reading(
        f"The facts of the distilled set {path} do not say how it is evaluated "
        "({error}); use one that `distill-jax distill` has stored."
    )


def _sentence(result: evaluation.Evaluation, network: str) -> str:
    """The test score of networks of one kind in a sentence."""
    num_runs, metric = len(result.curve), result.metric
    show = lambda value: f"{100 * value:.2f}" if metric.is_fraction else f"{value:.4g}"
    spread = ""
    if math.isfinite(result.sd):
        spread = f", sd {show(result.sd)}"
    if math.isfinite(result.ci95):
        ends = result.mean - result.ci95, result.mean + result.ci95
        if metric.is_fraction:
            ends = dj.evaluation.interval_of_fraction(result.mean, result.ci95)
        low, high = map(show, ends)
        spread += f", 95 % interval {low} to {high}"
    if result.num_diverged:
        spread += f"; {result.num_diverged} of them diverged"
    name = dj.report.metrics.words(metric)
    return (
        f"{show(result.mean)}{' %' * metric.is_fraction} test {name} of {num_runs} "
        f"fresh network{'s' * (num_runs > 1)} ({network}){spread}; "
        f"{result.run_seconds:.1f} s, and {result.compile_seconds:.1f} s to compile."
    )


def _print_transfer(rows: list[dict[str, Any]]) -> None:
    """Prints the table of several networks."""
    import rich.console

    bare = [{k: v for k, v in row.items() if k != "note"} for row in rows]
    rich.console.Console().print(dj.report.tables.transfer_table(bare))
    for row in rows:
        if row["note"]:
            print(f"{row['name']}: {row['note']}")
