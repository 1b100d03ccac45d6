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
from typing import TYPE_CHECKING, Any

import distill_jax as dj

if TYPE_CHECKING:
    from distill_jax.cli.experiment import Experiment

__all__ = ["environment", "to_distilled", "write_json"]


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


def to_distilled(
    built: Experiment, synthetic: dj.Synthetic, results: Mapping[str, Any]
) -> dj.DistilledSet:
    """The deliverable, with all that is needed to use it."""
    import jax
    import numpy as np

    from distill_jax.cli import data_sets

    spec, protocol = built.dataset.spec, built.recipe.protocol
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
            "loss": built.task.retarget(protocol.targets).facts.loss,
            "network": dict(built.task.facts.network),
            "protocol": dataclasses.asdict(protocol),
        },
        data_fingerprint=spec.fingerprint,
        data={
            "name": spec.name,
            "shape": spec.shape,
            "class_names": spec.class_names,
            "normalization": spec.normalization,
            **data_sets.place_of(built.summary.config["data"]),
        },
        config=dict(built.summary.config),
        results=results,
    )


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    """Writes a file of numbers with its own digest, whole or not at all."""
    from distill_jax.runtime import workdir as workdirs
    from distill_jax.storage import atomic, digests

    text = json.dumps(digests.sealed(content), indent=1, allow_nan=False)
    with workdirs.writing(path.parent):
        atomic.replace_file(path, text)
