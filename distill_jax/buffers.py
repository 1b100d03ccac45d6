# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Expert buffers: the parameters of many experts after every epoch, on disk.

A folder holds one ``expert_NNNN.npy`` for each expert, ``[K, P]``: K epochs, P
parameters in the order of the tree; and ``experts.json``, which says how they were
trained, on what, how good they are at every epoch, and the SHA-256 of each file. Epoch
e means e completed epochs. Files are checked, then mapped into memory; each is
written whole or not at all, so that a buffer that was interrupted goes on with the next
expert.
"""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from rich import console as rich_console
from rich import progress as rich_progress

from distill_jax import base, data, errors, storage
from distill_jax.inner import augment, experts
from distill_jax.inner import pool as pools
from distill_jax.inner import sharpness as sharpness_lib
from distill_jax.types import Array, Key, PyTree

__all__ = [
    "Buffer",
    "ExpertPlan",
    "OnDisk",
    "Trajectories",
    "make_buffer",
    "unflatten",
]

_FORMAT_VERSION = 1
# Buffers up to this size are put on the device.
_MAX_DEVICE_BYTES = 2**31
_GROUP_SIZE = 8  # Experts trained at once on an accelerator.


@dataclasses.dataclass(frozen=True)
class ExpertPlan:
    """How experts are trained, and which of their epochs are kept.

    Attributes:
      num_experts: E.
      num_epochs: of each, by plain SGD.
      learning_rate: of SGD.
      momentum: of SGD; trajectories are made without.
      weight_decay: added to the gradient of every parameter.
      batch_size: of mini-batches.
      augmentation: a strategy string, drawn anew for every example, or ``"none"``.
      sharpness: avoided where given (GSAM): a
        :class:`~distill_jax.inner.sharpness.Sharpness` or a mapping of its fields.
      first_epoch: the first epoch to keep.
      last_epoch: the last epoch to keep; by default the last there is.
      keeps_end: whether the last epoch of all is kept too.
      dtype: ``"float32"`` or ``"float16"``, of what is kept.
      seed: of everything random.

    Raises:
      InputError: from construction, for a value out of its range.

    Example:
      >>> ExpertPlan(num_epochs=5, last_epoch=2, keeps_end=True).kept()
      [0, 1, 2, 5]
    """

    num_experts: int = 10
    num_epochs: int = 20
    learning_rate: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int = 256
    augmentation: str = "none"
    sharpness: sharpness_lib.Sharpness | Mapping[str, Any] | None = None
    first_epoch: int = 0
    last_epoch: int | None = None
    keeps_end: bool = False
    dtype: Literal["float32", "float16"] = "float32"
    seed: int = 0

    def __post_init__(self):
        if isinstance(self.sharpness, Mapping):
            sharpness = sharpness_lib.Sharpness(**self.sharpness)
            object.__setattr__(self, "sharpness", sharpness)
        for name in ("num_experts", "num_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise errors.InputError(
                    f"`{name}` of the experts must be at least 1, got "
                    f"{getattr(self, name)}."
                )
        if not self.learning_rate > 0:
            raise errors.InputError(
                "`learning_rate` of the experts must be above 0, got "
                f"{self.learning_rate}."
            )
        if self.dtype not in ("float32", "float16"):
            raise errors.InputError(
                f'`dtype` of the experts is "{self.dtype}"; use "float32" or "float16".'
            )
        last = self.num_epochs if self.last_epoch is None else self.last_epoch
        if not 0 <= self.first_epoch <= last <= self.num_epochs:
            raise errors.InputError(
                f"The epochs {self.first_epoch} to {last} of the experts are to be "
                f"kept, but there are 0 to {self.num_epochs}."
            )

    def kept(self) -> list[int]:
        """The epochs that are kept, in ascending order."""
        last = self.num_epochs if self.last_epoch is None else self.last_epoch
        epochs = list(range(self.first_epoch, last + 1))
        if self.keeps_end and last < self.num_epochs:
            epochs.append(self.num_epochs)
        return epochs


@jax.tree_util.register_static
class OnDisk:
    """Snapshots that stay in their files, read for every step by a callback.

    Args:
      snapshots: one [K, P] for each expert.

    Example:
      >>> OnDisk([np.zeros((3, 2))]).read(np.array([0]), np.array([[0, 2]])).shape
      (1, 2, 2)
    """

    def __init__(self, snapshots: Sequence[np.ndarray]):
        self.snapshots = snapshots
        self.num_params, self.dtype = snapshots[0].shape[1], snapshots[0].dtype

    def read(self, index: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The rows [A, R] of the experts [A], as [A, R, P]."""
        pairs = zip(np.asarray(index), np.asarray(rows), strict=True)
        return np.stack([self.snapshots[int(expert)][row] for expert, row in pairs])


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Trajectories:
    """What the sampler of segments draws from; an argument of jitted functions."""

    snapshots: Any  # [E, K, P] on the device, or `OnDisk`
    num_experts: int = dataclasses.field(metadata={"static": True})
    first_epoch: int = dataclasses.field(metadata={"static": True})
    last_epoch: int = dataclasses.field(metadata={"static": True})


@dataclasses.dataclass(frozen=True, eq=False)
class Buffer:
    """Experts that were trained, and what is known of them.

    Attributes:
      plan: how they were trained.
      snapshots: one [K, P] for each expert, in memory or mapped from its file.
      accuracy: [E, num_epochs + 1] on the validation split, after every epoch.
      entropy: [E, num_epochs + 1] nats, of the labels they give there.
      template: the shapes of the parameters.
    """

    plan: ExpertPlan
    snapshots: list[np.ndarray]
    accuracy: np.ndarray
    entropy: np.ndarray
    template: PyTree

    def __str__(self) -> str:
        end = 100 * self.accuracy[:, -1]
        return (
            f"{self.plan.num_experts} experts of {self.plan.num_epochs} epochs: "
            f"validation accuracy {end.mean():.1f} ± {end.std():.1f} %, "
            f"{sum(one.nbytes for one in self.snapshots) / 2**20:.1f} MiB"
        )

    def to_source(self, *, max_bytes: int = _MAX_DEVICE_BYTES) -> Trajectories:
        """What samplers draw from: on the device where it fits, else from the files.

        Args:
          max_bytes: the most that is put on the device.
        """
        epochs = self.plan.kept()
        contiguous = [e for i, e in enumerate(epochs) if e == epochs[0] + i]
        size = sum(one.nbytes for one in self.snapshots)
        snapshots: Any = OnDisk(self.snapshots)
        if size <= max_bytes:
            snapshots = jnp.asarray(np.stack(self.snapshots))
        return Trajectories(
            snapshots, len(self.snapshots), contiguous[0], contiguous[-1]
        )

    def at(self, expert: int, epoch: int) -> base.Variables:
        """The variables of an expert after an epoch that was kept.

        Raises:
          InputError: when that epoch was not kept.
        """
        epochs = self.plan.kept()
        if epoch not in epochs:
            raise errors.InputError(
                f"Epoch {epoch} of the experts was not kept; there are {epochs}."
            )
        vector = jnp.asarray(self.snapshots[expert][epochs.index(epoch)])
        return base.Variables(unflatten(vector, self.template), {})


def unflatten(vector: Array, template: PyTree) -> PyTree:
    """Parameters from one row of a buffer, in the type of the template.

    Args:
      vector: [P].
      template: a tree of arrays or shapes.

    Returns:
      The tree.

    Raises:
      InputError: when the sizes differ.

    Example:
      >>> template = {"a": jax.ShapeDtypeStruct((2, 1), "float32")}
      >>> unflatten(jnp.arange(2.0), template)["a"].shape
      (2, 1)
    """
    leaves, treedef = jax.tree.flatten(template)
    sizes = [leaf.size for leaf in leaves]
    if vector.shape != (sum(sizes),):
        raise errors.InputError(
            f"A row of the buffer has {vector.size} parameters, the network "
            f"{sum(sizes)}; the experts are of another network."
        )
    parts = jnp.split(vector, np.cumsum(sizes)[:-1])
    return treedef.unflatten(
        part.reshape(leaf.shape).astype(leaf.dtype)
        for part, leaf in zip(parts, leaves, strict=True)
    )


def make_buffer(
    plan: ExpertPlan,
    task: base.Task,
    dataset: data.Dataset,
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: bool | None = None,
) -> Buffer:
    """Trains the experts of a plan, or takes those that a folder holds already.

    Args:
      plan: what to train and what to keep.
      task: a classification task, of a network without batch norm.
      dataset: its training split is learned, its validation split judged on.
      folder: where the buffer is or is to be; None keeps it in memory. A plan may ask
        for more experts than there are: the missing ones are trained.
      progress: whether to show progress; ``None`` where there is a terminal.

    Returns:
      The :class:`Buffer`.

    Raises:
      InputError: when the folder holds other experts (of another plan, network or data
        set), a file is damaged, the disk is full, or the network has batch norm.

    Example:
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> plan = ExpertPlan(num_experts=2, num_epochs=3)
      >>> buffer = make_buffer(plan, task, digits)
      >>> len(buffer.snapshots), buffer.snapshots[0].shape[0], buffer.accuracy.shape
      (2, 4, (2, 4))

    Reference:
      George Cazenavette et al., "Dataset Distillation by Matching Training
      Trajectories", 2022, section 3.1.
    """
    template = _template(task)
    facts = _facts(plan, task, dataset)
    path = None if folder is None else pathlib.Path(folder)
    rows = {} if path is None else _read_rows(path, facts, plan)
    missing = [e for e in range(plan.num_experts) if _name(e) not in rows]
    is_shown = sys.stderr.isatty() if progress is None else progress
    in_memory: dict[int, np.ndarray] = {}
    train = jax.jit(_trainer(plan, task))
    splits = data.to_source(dataset), data.to_source(dataset, "validation")
    with _bar(plan.num_experts, len(missing), is_shown) as advance:
        for group in _groups(missing):
            keys = jnp.stack([_key(plan, expert) for expert in group])
            flat, told = jax.device_get(train(keys, *splits))
            for place, expert in enumerate(dict.fromkeys(group)):
                in_memory[expert] = flat[place]
                rows[_name(expert)] = {
                    "accuracy": [round(float(a), 6) for a in told.accuracy[place]],
                    "entropy": [round(float(h), 6) for h in told.entropy[place]],
                }
                if path is not None:
                    _write(path, expert, in_memory.pop(expert), facts, rows)
                advance()
    names = [_name(expert) for expert in range(plan.num_experts)]
    return Buffer(
        plan=plan,
        snapshots=[
            in_memory[expert]
            if path is None
            else np.load(path / f"{name}.npy", mmap_mode="r")
            for expert, name in enumerate(names)
        ],
        accuracy=np.array([rows[name]["accuracy"] for name in names]),
        entropy=np.array([rows[name]["entropy"] for name in names]),
        template=template,
    )


def _template(task: base.Task) -> PyTree:
    """The shapes of a network's parameters."""
    key = jax.random.key(0)
    init = lambda: task.init(key, task.sample_context(key))
    variables = jax.eval_shape(init)
    if jax.tree.leaves(variables.stats):
        raise errors.InputError(
            "The network has batch norm, whose running statistics are no parameters, "
            "so that its trajectory cannot be matched; use instance norm."
        )
    return variables.params


def _facts(plan: ExpertPlan, task: base.Task, dataset: data.Dataset) -> dict[str, Any]:
    """What must agree between a folder and what is asked for."""
    facts = dataclasses.asdict(plan)
    del facts["num_experts"]
    if plan.sharpness is not None:
        facts["sharpness"] = dict(plan.sharpness._asdict())  # pyright: ignore
    network = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in task.description["network"].items()
        if name != "conv"  # The form of a convolution changes no number.
    }
    return {
        "format_version": _FORMAT_VERSION,
        "plan": facts,
        "network": network,
        "data": dataset.spec.name,
        "data_fingerprint": dataset.spec.fingerprint,
    }


def _trainer(plan: ExpertPlan, task: base.Task):
    """(keys [G], training split, validation split) -> rows [G, K, P], appraisals."""
    policy = augment.parse(plan.augmentation, align_corners=True)
    epochs = np.array(plan.kept())

    def one(args):
        key, source, judge = args
        expert = experts.train_expert(
            key,
            task,
            source,
            num_epochs=plan.num_epochs,
            learning_rate=plan.learning_rate,
            momentum=plan.momentum,
            weight_decay=plan.weight_decay,
            batch_size=plan.batch_size,
            policy=policy,
            sharpness=plan.sharpness,  # pyright: ignore[reportArgumentType]
        )
        told = experts.appraise(
            task, expert, judge.x, judge.y, normalizer=judge.normalizer
        )
        leaves = jax.tree.leaves(experts.at_epoch(expert, epochs).params)
        flat = [leaf.reshape(len(epochs), -1) for leaf in leaves]
        return jnp.concatenate(flat, axis=1).astype(plan.dtype), told

    def train(keys, source, judge):
        return pools.map_networks(lambda key: one((key, source, judge)), keys)

    return train


def _key(plan: ExpertPlan, expert: int) -> Key:
    return jax.random.fold_in(jax.random.key(plan.seed), expert)


def _name(expert: int) -> str:
    return f"expert_{expert:04d}"


def _groups(missing: list[int]) -> list[list[int]]:
    """Experts that are trained at once; the last group is filled up with repetitions.

    One at a time on the CPU, which each keeps busy.
    """
    size = 1 if jax.default_backend() == "cpu" else min(_GROUP_SIZE, len(missing) or 1)
    groups = [missing[at : at + size] for at in range(0, len(missing), size)]
    return [group + [group[-1]] * (size - len(group)) for group in groups]


def _bar(total: int, num_missing: int, is_shown: bool):
    """A progress bar over experts, as a context that gives a function to advance it."""
    console = rich_console.Console(stderr=True)
    bar = rich_progress.Progress(console=console, disable=not is_shown)

    class _Advancing:
        def __enter__(self):
            bar.__enter__()
            done = total - num_missing
            number = bar.add_task("Training experts", total=total, completed=done)
            return lambda: bar.advance(number)

        def __exit__(self, *args):
            bar.__exit__(*args)

    return _Advancing()


def _write(
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
    rows[_name(expert)]["sha256"] = hashlib.sha256(content).hexdigest()
    document = json.dumps({**facts, "experts": rows}, indent=1)
    storage.write_files(
        {
            path / f"{_name(expert)}.npy": content,
            path / "experts.json": document.encode(),
        }
    )


def _read_rows(
    path: pathlib.Path, facts: Mapping[str, Any], plan: ExpertPlan
) -> dict[str, dict[str, Any]]:
    """What a folder knows of its experts, after checking that they are the ones."""
    document = path / "experts.json"
    if not document.exists():
        return {}
    try:
        found = json.loads(document.read_text())
        rows = dict(found["experts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise errors.InputError(
            f"`{document}` could not be read ({error!r}); remove the file and the "
            "experts beside it, or use another folder."
        ) from error
    wanted = json.loads(json.dumps(facts))
    for name, value in wanted.items():
        if found.get(name) != value:
            raise errors.InputError(
                f"The experts in `{path}` are others: {_difference(name, found, value)}"
                "; use another folder, or the former values."
            )
    for name in list(rows):
        file = path / f"{name}.npy"
        if int(name.removeprefix("expert_")) >= plan.num_experts:
            continue
        if not file.exists():
            del rows[name]
        elif hashlib.sha256(file.read_bytes()).hexdigest() != rows[name].get("sha256"):
            raise errors.InputError(
                f"`{file}` is damaged (its SHA-256 is not the one of `experts.json`); "
                "remove that file alone, and it is trained again."
            )
    return rows


def _difference(name: str, found: Mapping[str, Any], value: Any) -> str:
    """Which fact differs, in words."""
    former = found.get(name)
    if isinstance(former, dict) and isinstance(value, dict):
        for key in sorted({*former, *value}):
            if former.get(key) != value.get(key):
                return (
                    f"`{key}` of the {name} was {former.get(key)!r}, now "
                    f"{value.get(key)!r}"
                )
    return f"`{name}` was {former!r}, now {value!r}"
