# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The folder of a buffer: one file for each expert, and ``experts.json``.

``expert_NNNN.npy`` is ``[K, P]``: K epochs, P parameters in the order of the tree, and
behind them the running statistics of batch norm where the network has it.
``experts.json`` says how the experts were trained, on what, how good they are at every
epoch, the context that each learned where the task has contexts, and the SHA-256 of
each file and of all it says itself.
"""

import contextlib
import dataclasses
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from distill_jax import base, data, errors
from distill_jax.experts import plan as plans
from distill_jax.storage import atomic, bounds, digests, npz_files, npz_json
from distill_jax.types import PyTree

__all__ = [
    "context_row",
    "expert_name",
    "facts_of",
    "read_contexts",
    "read_rows",
    "read_snapshots",
    "write_expert",
]

_FORMAT_VERSION = 1
_AGAIN = "remove the file and the experts beside it, or use another folder"
_ALONE = "remove that file alone, and it is trained again"
# Fields that came later are named only where they differ from what was always so: the
# folders from before are of the same experts.
_LATER_FIELDS = ("augmentation_align_corners", "drops_rate")


def expert_name(expert: int) -> str:
    """The name of its file, without the ending.

    Example:
      >>> expert_name(7)
      'expert_0007'
    """
    return f"expert_{expert:04d}"


def facts_of(
    plan: plans.ExpertPlan, task: base.Task, dataset: data.Dataset
) -> dict[str, Any]:
    """What must agree between a folder and what is asked for."""
    facts = dataclasses.asdict(plan)
    del facts["num_experts"]
    for field in dataclasses.fields(plan):
        if field.name in _LATER_FIELDS and facts[field.name] == field.default:
            del facts[field.name]
    if plan.sharpness is not None:
        facts["sharpness"] = dict(plan.sharpness._asdict())  # pyright: ignore
    network = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in task.facts.network.items()
        if name != "conv"  # The form of a convolution changes no number.
    }
    return {
        "format_version": _FORMAT_VERSION,
        "plan": facts,
        "network": network,
        "data": dataset.spec.name,
        "data_fingerprint": dataset.spec.fingerprint,
    }


def context_row(contexts: PyTree, place: int) -> dict[str, list[Any]]:
    """What the row of an expert says of its context; nothing where there is none.

    Args:
      contexts: ``[G, ...]`` of several experts.
      place: of the expert among them.

    Example:
      >>> context_row({"mask": np.eye(2)}, 1), context_row(None, 1)
      ({'context': [[0.0, 1.0]]}, {})
    """
    leaves = [np.asarray(leaf)[place].tolist() for leaf in jax.tree.leaves(contexts)]
    return {"context": leaves} if leaves else {}


def read_contexts(task: base.Task, rows: Sequence[Mapping[str, Any]]) -> PyTree:
    """The contexts of experts by what their rows say; ``[E, ...]``.

    Raises:
      InputError: when the rows have no contexts of the task.
    """
    shapes = jax.eval_shape(task.sample_context, jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    expected = [leaf.shape for leaf in leaves]
    others = (
        "The experts of this folder learned in other contexts than the task has, or in "
        "none; use another folder."
    )
    with bounds.reading(others):
        stored = [[np.array(part) for part in row.get("context", [])] for row in rows]
        if any([part.shape for part in row] != expected for row in stored):
            raise errors.InputError(others)
        return structure.unflatten(
            np.stack([row[number] for row in stored]).astype(leaf.dtype)
            for number, leaf in enumerate(leaves)
        )


def write_expert(
    path: pathlib.Path,
    expert: int,
    snapshots: np.ndarray,
    facts: Mapping[str, Any],
    rows: dict[str, dict[str, Any]],
) -> None:
    """Writes the file of one expert, and what is known of all so far."""
    stream = io.BytesIO()
    np.save(stream, snapshots)
    content = stream.getvalue()
    rows[expert_name(expert)]["sha256"] = digests.of_bytes(content)
    document = json.dumps(digests.sealed({**facts, "experts": rows}), indent=1)
    npz_json.write_files(
        {
            path / f"{expert_name(expert)}.npy": content,
            path / "experts.json": document.encode(),
        }
    )


def read_rows(
    path: pathlib.Path, facts: Mapping[str, Any], plan: plans.ExpertPlan
) -> dict[str, dict[str, Any]]:
    """What a folder knows of its experts, after checking that they are the ones."""
    document = path / "experts.json"
    with contextlib.suppress(OSError):  # A disk that is read only has what it has.
        atomic.finish(document)
    if not document.exists():
        return {}
    message = f"`{document}` could not be read ({{error}}); {_AGAIN}."
    with bounds.reading(message, errors.DamagedError):
        stored = json.loads(document.read_bytes())
        rows = {name: dict(row) for name, row in stored["experts"].items()}
        numbers = {name: int(name.removeprefix("expert_")) for name in rows}
        stored = digests.unsealed(stored, document, advice=_AGAIN)
    wanted = json.loads(json.dumps(facts))
    for name, value in wanted.items():
        if stored.get(name) != value:
            difference = _difference(name, stored.get(name), value)
            raise errors.InputError(
                f"The experts in `{path}` are others: {difference}; use another "
                "folder, or the former values."
            )
    for name in list(rows):
        file = path / f"{name}.npy"
        if numbers[name] >= plan.num_experts:
            continue
        if not file.is_file():
            del rows[name]
            continue
        with bounds.reading(message, errors.DamagedError):
            _check_row(rows[name], plan)
        with bounds.reading(f"`{file}` could not be read ({{error}}); {_ALONE}."):
            found = digests.of_file(file)
        if found != rows[name].get("sha256"):
            raise errors.DamagedError(
                f"`{file}` is damaged (its SHA-256 is not the one of `experts.json`); "
                f"{_ALONE}."
            )
    return rows


def read_snapshots(
    path: pathlib.Path, expert: int, plan: plans.ExpertPlan, num_params: int
) -> np.ndarray:
    """Maps the file of an expert into memory, if it holds what its plan says.

    Args:
      path: of the folder.
      expert: its number.
      plan: of the experts.
      num_params: of the network, with its running statistics.

    Returns:
      [K, P], read where it is used.

    Raises:
      DamagedError: when the file holds something else.
    """
    file = path / f"{expert_name(expert)}.npy"
    shape, dtype = (len(plan.kept()), num_params), np.dtype(plan.dtype)
    message = f"`{file}` could not be read as an expert ({{error}}); {_ALONE}."
    with bounds.reading(message, errors.DamagedError):
        with file.open("rb") as stream:
            header, is_columns = npz_files.read_header(stream)
            offset = stream.tell()
        expected = bounds.Header(shape, dtype)
        if header != expected or is_columns:
            raise ValueError(f"it holds {header.shape} {header.dtype}, not {expected}")
        if file.stat().st_size != offset + expected.num_bytes:
            raise ValueError("its length is not that of its numbers")
        return np.memmap(file, dtype, "r", offset, shape)


def _check_row(row: Mapping[str, Any], plan: plans.ExpertPlan) -> None:
    """Raises unless a row says how good its expert was after every epoch."""
    for name in ("accuracy", "entropy"):
        series = np.array(row[name], float)
        if series.shape != (plan.num_epochs + 1,):
            raise ValueError(f"`{name}` of an expert has the shape {series.shape}")


def _difference(name: str, former: Any, value: Any) -> str:
    """Which fact differs, in words."""
    if isinstance(former, dict) and isinstance(value, dict):
        for key in sorted({*former, *value}):
            if former.get(key) != value.get(key):
                return (
                    f"`{key}` of the {name} was {former.get(key)!r}, now "
                    f"{value.get(key)!r}"
                )
    return f"`{name}` was {former!r}, now {value!r}"
