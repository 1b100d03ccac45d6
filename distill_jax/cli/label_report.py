# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes the page of a run that labelled images, from what lies in its folder."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

import distill_jax as dj
from distill_jax import data, errors
from distill_jax.cli import data_sets, kept_results, run_facts, settings

__all__ = ["load_data", "write"]

_NUM_SHOWN = 8


def load_data(
    workdir: pathlib.Path,
    config: Any,
    *,
    data_dir: str | None = None,
    data_name: str | None = None,
) -> data.Dataset:
    """Loads the data set of a run again.

    Args:
      workdir: the folder of the run.
      config: what it was made with.
      data_dir: where data sets are; where they were by default.
      data_name: the data set itself, where its path is another now.

    Returns:
      The data set.

    Raises:
      InputError: when the folder holds no labelled images, or the data set is missing.

    Example:
      >>> load_data(pathlib.Path("nowhere"), settings.label())
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: There is no set of labelled images in nowhere \
yet; the same `distill-jax label` goes on.
    """
    if not (workdir / "distilled.json").exists():
        raise errors.InputError(
            f"There is no set of labelled images in {workdir} yet; the same "
            "`distill-jax label` goes on."
        )
    settings.check(config)
    return data_sets.load_again(
        dj.DistilledSet.load(workdir),
        config["data"],
        beside=workdir,
        data_dir=data_dir,
        name=data_name,
    )


def write(
    workdir: pathlib.Path,
    title: str,
    fields: Mapping[str, Any],
    dataset: data.Dataset,
) -> None:
    """Writes the page, prints the table, and says where everything is.

    Args:
      workdir: the folder of the run.
      title: the heading of the page.
      fields: of the config, which are shown.
      dataset: that it was made from.

    Raises:
      InputError: when something of the run is missing or damaged, or the page cannot
        be written.
    """
    import rich.console

    with kept_results.in_sentences(workdir, command="label"):
        stored = dj.DistilledSet.load(workdir)
        data_sets.check_fingerprint(stored, dataset)
        results = kept_results.so_far(workdir, stored)
        told = results["labelling"]
        contents = _contents(workdir, title, stored, results, fields)
        page = dj.report.to_label_page(contents, _findings(stored, told))
        path = dj.report.write_page(page, workdir / "report.html")
    bare = [{k: v for k, v in arm.items() if k != "note"} for arm in contents.arms]
    rich.console.Console().print(dj.report.tables.rich_table(bare, contents.metrics))
    for arm in contents.arms:
        print(f"{arm['name']}: {arm['note']}.")
    print(f"Chosen on {told['chosen_on']}: {_chosen(told)}.")
    print(f"Time: {', '.join(f'{n} {v}' for n, v in contents.costs.items())}.")
    print(f"Labelled set: {workdir / 'distilled.npz'}")
    print(f"Report:       {path}")


def _contents(
    workdir: pathlib.Path,
    title: str,
    stored: dj.DistilledSet,
    results: Mapping[str, Any],
    fields: Mapping[str, Any],
) -> dj.report.Contents:
    """What the page shares with those of other runs."""
    told, environment = results["labelling"], results["environment"]
    network = stored.recipe["network"]
    facts = {
        **run_facts.state_of(results, "label"),
        "Data set": f"{stored.data['name']} ({stored.data['normalization']})",
        "Images": f"{stored.num_examples}: {told['words']}",
        "Labels": _chosen(told),
        **_teacher_facts(told),
        "Network": dj.nets.network_words(network),
        "Hardware": f"{environment['device']}, {environment['cores']} cores",
        "Versions": f"jax {environment['jax']}, Python {environment['python']}",
        "Date": environment["date"],
        "SHA-256 of the images": told["images_sha256"],
    }
    return dj.report.Contents(
        title=title,
        facts=facts,
        config=fields,
        class_names=stored.data["class_names"],
        metrics=run_facts.metrics_of(results),
        arms=results["arms"],
        transfer=run_facts.stored_transfer(workdir),
        costs=run_facts.costs_of(results["seconds"]),
        usage=run_facts.usage_of(workdir),
    )


def _findings(
    stored: dj.DistilledSet, told: Mapping[str, Any]
) -> dj.report.LabelFindings:
    """What is known of the labels."""
    num_classes = stored.y.shape[1]
    classes = None if told["classes"] is None else np.asarray(told["classes"])
    place = np.linspace(0, stored.num_examples - 1, _NUM_SHOWN).round().astype(int)
    place = np.unique(place)
    appraisal, density = told["appraisal"] or {}, None
    if classes is not None:
        density = np.asarray(
            dj.labels.metrics.confusion_density(
                jnp.asarray(stored.y), jnp.asarray(classes), num_classes
            )
        )
    is_picture = stored.x.ndim == 4 and stored.x.shape[-1] in (1, 3)
    return dj.report.LabelFindings(
        labels=stored.y[place],
        images=stored.to_images()[place] if is_picture else None,
        classes=None if classes is None else classes[place],
        epochs=told["epochs"] if told["epoch"] is not None else (),
        temperatures=told["temperatures"],
        accuracies=np.asarray(told["accuracies"]),
        entropies=np.asarray(told["entropies"]),
        epoch=told["epoch"],
        temperature=told["temperature"],
        split=told["chosen_on"],
        expert_accuracy=_table(appraisal.get("accuracy")),
        expert_entropy=_table(appraisal.get("entropy")),
        density=density,
    )


def _table(rows: Any) -> np.ndarray | None:
    return None if rows is None else np.asarray(rows, np.float64)


def _chosen(told: Mapping[str, Any]) -> str:
    """The chosen labels in words."""
    epoch = "" if told["epoch"] is None else f"after epoch {told['epoch']} "
    return (
        f"{told['who']}, {epoch}at temperature {told['temperature']:g} (entropy "
        f"{told['entropy']:.2f} nats)"
    )


def _teacher_facts(told: Mapping[str, Any]) -> dict[str, str]:
    """How good the experts are, or where the logits come from."""
    if told["experts"] is None:
        return {"Teacher": told["teacher"]["file"]}
    plan = told["experts"]
    accuracy = np.mean(told["expert_accuracy"])
    return {
        "Experts": f"{plan['num_experts']} x {plan['num_epochs']} epochs, SGD "
        f"{plan['learning_rate']:g}, batches of {plan['batch_size']}; accuracy on "
        f"validation {100 * accuracy:.1f} % after epoch {told['epoch']}"
    }
