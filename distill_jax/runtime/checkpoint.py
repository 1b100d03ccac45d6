# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run, written by orbax: whole or not at all, exact to the last bit.

A state is stored as the flat list of its leaves; a line of names, shapes and types
beside it must equal that of the template when it is restored. A save goes to a folder
``unfinished_save`` and is renamed to ``step_N`` once complete, and back before it is
removed, so that what bears such a name was whole when it got it. A manifest with the
SHA-256 of every file and every leaf tells whether it still is.
"""

import contextlib
import pathlib
import re
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from distill_jax import errors
from distill_jax.compute import processes
from distill_jax.runtime import manifest as manifests
from distill_jax.runtime import orbax_files
from distill_jax.storage import atomic, digests
from distill_jax.types import PyTree

__all__ = ["Checkpoints"]


class Checkpoints:
    """The checkpoints of one folder, of which the last few are kept.

    Args:
      folder: where they lie; made at the first save. Other files in it are ignored.
      num_kept: how many of the last checkpoints stay.

    Raises:
      InputError: when `num_kept` is below one.

    Example:
      >>> import tempfile, jax, jax.numpy as jnp
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     checkpoints = Checkpoints(folder)
      ...     state = {"x": jnp.arange(3), "key": jax.random.key(0)}
      ...     checkpoints.save(10, state)
      ...     template = jax.eval_shape(lambda: state)
      ...     print(checkpoints.latest(), checkpoints.restore(template)["x"])
      10 [0 1 2]
    """

    def __init__(self, folder: str | pathlib.Path, *, num_kept: int = 2):
        if num_kept < 1:
            raise errors.InputError(f"`num_kept` must be at least 1, got {num_kept}.")
        self._folder = pathlib.Path(folder).absolute()  # orbax refuses relative paths.
        self._num_kept = num_kept

    def save(
        self, step: int, state: PyTree, facts: Mapping[str, Any] | None = None
    ) -> None:
        """Writes a checkpoint, then drops those that are too old.

        A checkpoint of the same step is replaced. Of several processes all must call
        this; the state is the same on each.

        Args:
          step: the number of steps done.
          state: any pytree of arrays; typed PRNG keys, scalars and empty arrays too.
          facts: what else is to be known about it; plain JSON.

        Raises:
          OSError: when the folder cannot be written or the disk is full; what was
            saved before is untouched.

        Example:
          >>> import tempfile
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     checkpoints = Checkpoints(folder, num_kept=2)
          ...     for step in (1, 2, 3):
          ...         checkpoints.save(step, {"x": np.ones(2)})
          ...     print(checkpoints.steps())
          [2, 3]
        """
        if processes.is_first():
            atomic.make_folder(self._folder)
            orbax_files.remove_leftovers(self._folder)
        processes.barrier("a save begins")
        temporary = self._folder / "unfinished_save"
        leaves = [_to_numpy(leaf) for leaf in jax.tree.leaves(state)]
        stored = {f"{i:05d}": leaf for i, leaf in enumerate(leaves) if leaf.size}
        orbax_files.save(temporary, stored)
        processes.barrier("a save is written")
        if processes.is_first():
            manifest = manifests.make(temporary, _describe(state), leaves, facts or {})
            manifests.write(temporary, manifest)
            removed = self._folder / "unfinished_removal"
            atomic.replace_folder(temporary, self._path(step), removed=removed)
            for old in self.steps()[: -self._num_kept]:
                atomic.remove_folder(self._path(old), removed=removed)
        processes.barrier("a save is done")

    def steps(self) -> list[int]:
        """The steps of all checkpoints, ascending; what has no name of one is ignored.

        Example:
          >>> Checkpoints("/nowhere").steps()
          []
        """
        if not self._folder.is_dir():
            return []
        names = [re.fullmatch(r"step_(\d+)", p.name) for p in self._folder.iterdir()]
        steps = sorted(int(match[1]) for match in names if match)
        return [step for step in steps if _is_filled(self._path(step))]

    def latest(self) -> int | None:
        """The step of the newest checkpoint; ``None`` where there is none.

        Example:
          >>> print(Checkpoints("/nowhere").latest())
          None
        """
        return max(self.steps(), default=None)

    def newest_whole(self) -> int | None:
        """The step of the newest checkpoint that is what was written.

        Newer ones are set aside as ``step_N.damaged``, with a warning, and what a save
        that was cut short has left is removed. Of several processes the first one calls
        this, at the start of a run.

        Returns:
          The step; ``None`` where there is no checkpoint.

        Raises:
          DamagedError: when there are checkpoints, and all of them are damaged; they
            stay where they are.

        Example:
          >>> import tempfile, warnings
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     checkpoints = Checkpoints(folder)
          ...     for step in (10, 20):
          ...         checkpoints.save(step, {"x": np.ones(2)})
          ...     (pathlib.Path(folder) / "step_20" / "manifest.json").unlink()
          ...     with warnings.catch_warnings(action="ignore"):
          ...         print(checkpoints.newest_whole(), checkpoints.steps())
          10 [10]
        """
        with contextlib.suppress(OSError):  # A disk that is read only stays as it is.
            orbax_files.remove_leftovers(self._folder)
        damaged = {}
        for step in reversed(self.steps()):
            try:
                self.check(step)
            except errors.DamagedError as error:
                damaged[step] = error
                continue
            for other, error in damaged.items():
                self._set_aside(other)
                errors.warn(f"{error} It is set aside, and step {step} is taken.")
            return step
        if damaged:
            raise errors.DamagedError(
                f"All checkpoints in {self._folder}, of the steps {sorted(damaged)}, "
                "are damaged; put a copy of one back, or remove them all to begin "
                f"anew. {next(iter(damaged.values()))}"
            )
        return None

    def check(self, step: int) -> None:
        """Raises unless a checkpoint is what was written.

        What an earlier version wrote has no digests: it is read, and the log says that
        it cannot be checked.

        Args:
          step: which one.

        Raises:
          DamagedError: when it is not.
          InputError: when there is no such checkpoint.

        Example:
          >>> Checkpoints("/nowhere").check(3)
          Traceback (most recent call last):
          ...
          distill_jax.errors.InputError: There is no checkpoint of step 3 in ...
        """
        path = self._existing(step)
        manifest = manifests.read(path)
        if manifest is not None:
            manifests.check_files(path, manifest)
            return
        orbax_files.former_metadata(path)
        orbax_files.load(path)
        digests.say_unchecked(path)

    def restore(self, template: PyTree, step: int | None = None) -> PyTree:
        """Reads a checkpoint back, and checks every leaf against its SHA-256.

        Args:
          template: the structure, shapes and types to expect, as from
            ``jax.eval_shape``.
          step: which one; the latest where ``None``.

        Returns:
          The pytree, with numpy arrays as leaves (typed PRNG keys as such), which may
          be put on any device.

        Raises:
          DamagedError: when it is not what was written.
          InputError: when there is no such checkpoint, or it holds other leaves than
            the template.

        Example:
          >>> import tempfile
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     checkpoints = Checkpoints(folder)
          ...     checkpoints.save(1, {"x": np.ones(2)})
          ...     checkpoints.restore({"x": np.ones(3)})
          Traceback (most recent call last):
          ...
          distill_jax.errors.InputError: The checkpoint ...
        """
        path = self._existing(step)
        manifest = manifests.read(path)
        if manifest is None:
            names = orbax_files.former_metadata(path)["leaves"]
        else:
            names = manifest.leaves
            manifests.check_files(path, manifest)  # Before anything parses them.
        _check_leaves(path, names, _describe(template))
        stored = orbax_files.load(path)
        leaves, structure = jax.tree.flatten(template)
        arrays = [
            _of_leaf(path, leaf, stored.get(f"{i:05d}"))
            for i, leaf in enumerate(leaves)
        ]
        if manifest is not None:
            manifests.check_leaves(path, manifest, arrays)
        restored = [_like(*pair) for pair in zip(leaves, arrays, strict=True)]
        return jax.tree.unflatten(structure, restored)

    def facts(self, step: int | None = None) -> dict[str, Any]:
        """The facts that were saved with a checkpoint.

        Args:
          step: which one; the latest where ``None``.

        Returns:
          What was passed to :meth:`save`.

        Raises:
          DamagedError: when they are not what was written.
          InputError: when there is no such checkpoint.

        Example:
          >>> import tempfile
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     checkpoints = Checkpoints(folder)
          ...     checkpoints.save(1, {"x": np.ones(2)}, facts={"seconds": 0.5})
          ...     checkpoints.facts()
          {'seconds': 0.5}
        """
        path = self._existing(step)
        manifest = manifests.read(path)
        return (
            orbax_files.former_metadata(path)["facts"]
            if manifest is None
            else manifest.facts
        )

    def _set_aside(self, step: int) -> None:
        """Gives a damaged checkpoint a name under which nobody looks for it."""
        aside = self._folder / f"step_{step}.damaged"
        with contextlib.suppress(OSError):  # A disk that is read only stays as it is.
            shutil.rmtree(aside, ignore_errors=True)
            self._path(step).rename(aside)

    def _existing(self, step: int | None) -> pathlib.Path:
        step = self.latest() if step is None else step
        if step is None or step not in self.steps():
            raise errors.InputError(
                f"There is no checkpoint of step {step} in {self._folder}; "
                f"those of steps {self.steps()} are there."
            )
        return self._path(step)

    def _path(self, step: int) -> pathlib.Path:
        return self._folder / f"step_{step}"


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )


def _data_of(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _to_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(_data_of(leaf))


def _of_leaf(path: pathlib.Path, template: Any, stored: Any) -> np.ndarray:
    """What was stored of a leaf; the empty ones were not."""
    if stored is not None:
        return np.asarray(stored)
    shape = jax.eval_shape(_data_of, template)
    if shape.size:
        raise errors.DamagedError(
            f"The checkpoint {path} is damaged: it lacks an array; take the checkpoint "
            "before it, or a copy."
        )
    return np.zeros(shape.shape, shape.dtype)


def _like(template: Any, stored: np.ndarray) -> Any:
    """The stored leaf in the type of the template's."""
    if _is_key(template):
        impl = jax.random.key_impl(jax.numpy.empty((), template.dtype))
        return jax.random.wrap_key_data(jax.numpy.asarray(stored), impl=impl)
    return stored


def _describe(tree: PyTree) -> list[str]:
    """One line for each leaf: its path, type and shape."""
    lines = []
    for path, leaf in jax.tree.leaves_with_path(tree):
        leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
        shape = ",".join(map(str, leaf.shape))
        lines.append(f"{jax.tree_util.keystr(path)} {leaf.dtype}[{shape}]")
    return lines


def _check_leaves(path: pathlib.Path, stored: list[str], expected: list[str]) -> None:
    if stored == expected:
        return
    missing = [line for line in expected if line not in stored]
    unknown = [line for line in stored if line not in expected]
    raise errors.InputError(
        f"The checkpoint {path} was written by another method or another version: it "
        f"lacks {missing[:5]} and has {unknown[:5]} instead; use the settings it was "
        "written with, or another folder."
    )


def _is_filled(path: pathlib.Path) -> bool:
    return path.is_dir() and any(path.iterdir())
