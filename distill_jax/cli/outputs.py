# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run leaves in its folder: the distilled set, and files of numbers."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import platform
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import distill_jax as dj

if TYPE_CHECKING:
    from distill_jax.cli.experiment import Experiment

__all__ = ["Source", "environment", "to_distilled", "to_set", "write_json"]


def environment() -> dict[str, Any]:
    """What the numbers depend on apart from the config."""
    import jax

    device = jax.devices()[0]
    return {
        "device": f"{len(jax.devices())} x {device.device_kind}",
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "peak_bytes": dj.runtime.peak_memory(),
    }


class Source(NamedTuple):
    """What a set was made from and for."""

    dataset: dj.data.Dataset
    task: dj.Task
    protocol: dj.evaluation.Protocol
    config: Mapping[str, Any]


def to_distilled(
    built: Experiment, synthetic: dj.Synthetic, results: Mapping[str, Any]
) -> dj.DistilledSet:
    """The deliverable, with all that is needed to use it."""
    source = Source(
        built.dataset, built.task, built.recipe.protocol, built.summary.config
    )
    return to_set(source, synthetic, results)


def to_set(
    source: Source,
    synthetic: dj.Synthetic,
    results: Mapping[str, Any],
    recipe: Mapping[str, Any] | None = None,
) -> dj.DistilledSet:
    """A set of whatever kind of run, with all that is needed to use it.

    Args:
      source: what it was made from and for.
      synthetic: its arrays.
      results: measured accuracies and the like.
      recipe: what the recipe says besides.

    Returns:
      The set.
    """
    import jax
    import numpy as np

    from distill_jax.cli import data_sets

    spec, protocol = source.dataset.spec, source.protocol
    rate = synthetic.learning_rate
    rows = ("x", "y", "weight", "target")
    target_scale = {n: getattr(spec, n) for n in ("target_mean", "target_std")}
    return dj.DistilledSet(
        **{n: jax.tree.map(np.asarray, getattr(synthetic, n)) for n in rows},
        learning_rate=None if rate is None else float(rate),
        targets=protocol.targets,
        label_mass=protocol.label_mass,
        normalizer={**spec.normalizer._asdict(), **target_scale},
        recipe={
            "loss": source.task.retarget(protocol.targets).facts.loss,
            "network": dict(source.task.facts.network),
            "protocol": dataclasses.asdict(protocol),
            **(recipe or {}),
        },
        data_fingerprint=spec.fingerprint,
        data={
            "name": spec.name,
            "shape": spec.shape,
            "class_names": spec.class_names,
            "normalization": spec.normalization,
            **data_sets.place_of(source.config["data"]),
        },
        config=dict(source.config),
        results=results,
    )


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    """Writes a file of numbers with its own digest, whole or not at all."""
    from distill_jax.runtime import workdir as workdirs
    from distill_jax.storage import atomic, digests

    text = json.dumps(digests.sealed(content), indent=1, allow_nan=False)
    with workdirs.writing(path.parent):
        atomic.replace_file(path, text)
