# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads what a finished run left in its folder, and gathers what its report tells."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import distill_jax as dj
from distill_jax import errors
from distill_jax.cli import kept_results, run_facts

if TYPE_CHECKING:
    import numpy as np

    from distill_jax import data, report
    from distill_jax.cli.experiment import Summary

__all__ = ["contents", "gather", "stored_config"]

_SHOWN_PER_CLASS = 10
_CONFIG_ADVICE = "the same `distill-jax distill` with its config makes it whole"


def stored_config(workdir: pathlib.Path) -> Any:
    """Reads the config that a folder was made with, with the fields that came later.

    Args:
      workdir: the folder of a run.

    Returns:
      The config.

    Raises:
      InputError: when there is none, or it cannot be read.

    Example:
      >>> import json, tempfile
      >>> from distill_jax.cli import settings
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "config.json")
      ...     _ = path.write_text(json.dumps(settings.default().to_dict()))
      ...     stored_config(pathlib.Path(folder)).num_per_class
      10
    """
    import ml_collections

    from distill_jax.cli import kinds
    from distill_jax.storage import bounds

    stored = run_facts.read_beside(workdir / "config.json", _CONFIG_ADVICE)
    if not isinstance(stored, dict):
        raise errors.DamagedError(
            f"`{workdir / 'config.json'}` holds no config; {_CONFIG_ADVICE}."
        )
    message = f"`{workdir / 'config.json'}` is no config ({{error}}); {_CONFIG_ADVICE}."
    with bounds.reading(message):
        return ml_collections.ConfigDict(kinds.completed(stored))


def contents(
    workdir: pathlib.Path,
    config: Any,
    *,
    data_dir: str | None = None,
    data_name: str | None = None,
) -> report.Contents:
    """Gathers what the report of a finished run tells, and loads its data set.

    Args:
      workdir: the folder of the run.
      config: what it was made with; the data set is loaded for the real pictures.
      data_dir: where data sets are; where they were by default.
      data_name: the data set itself, where its path is another now.

    Returns:
      A :class:`~distill_jax.report.Contents`.

    Raises:
      InputError: when a file of the run or the data set is missing.

    Example:
      >>> from distill_jax.cli import settings
      >>> contents(pathlib.Path("nowhere"), settings.default())
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no file nowhere/results.json; the folder \
does not hold a finished run of `distill-jax distill`.
    """
    from distill_jax.cli import data_sets, experiment, settings

    kept_results.check_there(workdir)  # Before a large data set is loaded.
    settings.check(config)
    with kept_results.in_sentences(workdir):
        dataset = data_sets.load_again(
            dj.DistilledSet.load(workdir),
            config["data"],
            beside=workdir,
            data_dir=data_dir,
            name=data_name,
        )
    return gather(workdir, experiment.summary_of(config), dataset)


def gather(
    workdir: pathlib.Path, summary: Summary, dataset: data.Dataset
) -> report.Contents:
    """Gathers what the report of a finished run tells.

    Args:
      workdir: the folder of the run.
      summary: what is said before the numbers.
      dataset: that it was made from, for the real pictures.

    Returns:
      A :class:`~distill_jax.report.Contents`.

    Raises:
      InputError: when a file of the run is missing, or the data set is another one than
        that of the run.

    Example:
      >>> from distill_jax.cli import experiment, settings
      >>> summary = experiment.summary_of(settings.default())
      >>> gather(pathlib.Path("nowhere"), summary, None)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no file nowhere/results.json; ...
    """
    with kept_results.in_sentences(workdir):
        return _gathered(workdir, summary, dataset)


def _gathered(
    workdir: pathlib.Path, summary: Summary, dataset: data.Dataset
) -> report.Contents:
    """All that a report tells."""
    from distill_jax.cli import data_sets
    from distill_jax.runtime import extents

    kept_results.check_there(workdir)
    stored = dj.DistilledSet.load(workdir)
    results = kept_results.so_far(workdir, stored)
    data_sets.check_fingerprint(stored, dataset)
    rows = extents.checked_rows(workdir)
    metrics = run_facts.metrics_of(results)
    return dj.report.Contents(
        title=summary.title,
        facts=_facts(summary, dataset, stored, results) | _refused(rows),
        config=dict(summary.config),
        class_names=dataset.spec.class_names,
        distilled_images=_distilled_images(stored),
        real_images=_real_images(dataset, stored.num_examples),
        labels=stored.y if _are_learned(stored.y) else None,
        targets=stored.targets,
        label_mass=stored.label_mass,
        history=[
            (row["step"], row["seconds"], row["loss"])
            for row in rows
            if "evaluation" not in row
        ],
        evaluations=[
            (
                row["step"],
                row["seconds"],
                row["evaluation"][f"{metrics[0].name}_mean"],
                row["evaluation"][f"{metrics[0].name}_sd"],
            )
            for row in rows
            if "evaluation" in row
        ],
        metrics=metrics,
        arms=results["arms"],
        transfer=run_facts.stored_transfer(workdir),
        costs=run_facts.costs_of(results["seconds"]),
        usage=run_facts.usage_of(workdir),
    )


def _facts(
    summary: Summary,
    dataset: data.Dataset,
    stored: dj.DistilledSet,
    results: dict[str, Any],
) -> dict[str, Any]:
    """What was done and with what, in the order of reading."""
    environment = results["environment"]
    return {
        **run_facts.state_of(results, "distill"),
        "Data set": dj.data.describe(dataset),
        "Method": summary.method,
        "Distilled": f"{stored.num_examples} examples, learned as "
        f"{summary.num_per_class} picture{'s' * (summary.num_per_class > 1)} per class",
        "Steps": summary.num_steps,
        **_label_facts(stored),
        "Network": dj.nets.network_words(stored.recipe["network"]),
        "Hardware": f"{environment['device']}, {environment['cores']} cores",
        "Versions": f"jax {environment['jax']}, Python {environment['python']}",
        "Date": environment["date"],
        **results.get("scores", {}),
    }


def _refused(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The share of steps that a gate refused, where it refused any."""
    shares = [row.get("metrics", {}).get("refused_share") for row in rows]
    shares = [share for share in shares if share]
    return {"Refused steps": f"{100 * shares[-1]:.1f} %"} if shares else {}


def _label_facts(stored: dj.DistilledSet) -> dict[str, str]:
    """That the rows of the labels weigh their examples, where they do."""
    from distill_jax.storage import description

    if not description.is_free(stored):
        return {}
    return {"Labels": f"{stored.targets}{description.mass_in_words(stored.y)}"}


def _distilled_images(stored: dj.DistilledSet) -> np.ndarray | None:
    if getattr(stored.x, "ndim", 0) != 4 or stored.x.shape[-1] not in (1, 3):
        return None
    images = stored.to_images()
    return images.reshape(stored.y.shape[1], -1, *images.shape[1:])


def _real_images(dataset: data.Dataset, num_examples: int) -> np.ndarray | None:
    """The first training pictures of each class."""
    import numpy as np

    if len(dataset.spec.shape) != 3 or dataset.spec.shape[-1] not in (1, 3):
        return None
    num = min(num_examples // dataset.spec.num_classes, _SHOWN_PER_CLASS)
    table, count = dj.data.class_table(dataset.train.y, dataset.spec.num_classes)
    rows = np.asarray(table)[:, : min(num, int(np.min(count)))]
    normalizer = dataset.spec.normalizer
    return dj.data.to_pixels(
        normalizer, dj.data.normalize(normalizer, dataset.train.x[rows.reshape(-1)])
    ).reshape(*rows.shape, *dataset.spec.shape)


def _are_learned(y: np.ndarray | Any) -> bool:
    """Whether labels are more than the names of classes."""
    import numpy as np

    return isinstance(y, np.ndarray) and not np.isin(y, (0.0, 1.0)).all()
