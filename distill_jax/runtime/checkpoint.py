# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a run, written by orbax: whole or not at all, exact to the last bit.

A state is stored as the flat list of its leaves; a line of names, shapes and types
beside it must equal that of the template when it is restored. A save goes to a folder
``unfinished_save`` and is renamed to ``step_N`` once complete, and back before it is
removed, so that what bears such a name is whole.
"""

import contextlib
import logging
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from distill_jax import errors
from distill_jax.compute import processes
from distill_jax.storage import atomic
from distill_jax.types import PyTree

__all__ = ["Checkpoints"]

_MARK = "_CHECKPOINT_METADATA"  # A file that orbax puts into every checkpoint.


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
            self._folder.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(self._folder)
        processes.barrier("a save begins")
        temporary = self._folder / "unfinished_save"
        leaves = [_to_numpy(leaf) for leaf in jax.tree.leaves(state)]
        stored = {f"{i:05d}": leaf for i, leaf in enumerate(leaves) if leaf.size}
        with _as_os_error(self._folder):
            metadata = {"leaves": _describe(state), "facts": dict(facts or {})}
            _orbax().save(str(temporary), stored, custom_metadata=metadata)
        processes.barrier("a save is written")
        if processes.is_first():
            removed = self._folder / "unfinished_removal"
            atomic.replace_folder(temporary, self._path(step), removed=removed)
            for old in self.steps()[: -self._num_kept]:
                atomic.remove_folder(self._path(old), removed=removed)
        processes.barrier("a save is done")

    def steps(self) -> list[int]:
        """The steps of all whole checkpoints, ascending.

        Example:
          >>> Checkpoints("/nowhere").steps()
          []
        """
        if not self._folder.is_dir():
            return []
        names = [re.fullmatch(r"step_(\d+)", p.name) for p in self._folder.iterdir()]
        steps = sorted(int(match[1]) for match in names if match)
        return [step for step in steps if (self._path(step) / _MARK).is_file()]

    def latest(self) -> int | None:
        """The step of the newest whole checkpoint; ``None`` where there is none.

        Example:
          >>> print(Checkpoints("/nowhere").latest())
          None
        """
        return max(self.steps(), default=None)

    def restore(self, template: PyTree, step: int | None = None) -> PyTree:
        """Reads a checkpoint back.

        Args:
          template: the structure, shapes and types to expect, as from
            ``jax.eval_shape``.
          step: which one; the latest where ``None``.

        Returns:
          The pytree, with numpy arrays as leaves (typed PRNG keys as such), which may
          be put on any device.

        Raises:
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
        _check_leaves(path, _metadata(path).get("leaves", []), _describe(template))
        stored = _orbax().load(str(path))
        leaves, structure = jax.tree.flatten(template)
        restored = [
            _like(leaf, stored.get(f"{i:05d}")) for i, leaf in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, restored)

    def facts(self, step: int | None = None) -> dict[str, Any]:
        """The facts that were saved with a checkpoint.

        Args:
          step: which one; the latest where ``None``.

        Returns:
          What was passed to :meth:`save`.

        Raises:
          InputError: when there is no such checkpoint.

        Example:
          >>> import tempfile
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     checkpoints = Checkpoints(folder)
          ...     checkpoints.save(1, {"x": np.ones(2)}, facts={"seconds": 0.5})
          ...     checkpoints.facts()
          {'seconds': 0.5}
        """
        return _metadata(self._existing(step)).get("facts", {})

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


def _orbax() -> Any:
    """Loaded late: a run that has not been saved yet does not wait for it."""
    from orbax.checkpoint import v1 as ocp

    return ocp


def _metadata(path: pathlib.Path) -> dict[str, Any]:
    metadata = _orbax().metadata(str(path)).custom_metadata
    return dict(metadata) if isinstance(metadata, Mapping) else {}


def _is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )


def _to_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _like(template: Any, stored: np.ndarray | None) -> Any:
    """The stored leaf in the type of the template's; empty ones were not stored."""
    if stored is None:
        return np.zeros(np.shape(template), template.dtype)
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


def _remove_leftovers(folder: pathlib.Path) -> None:
    """Removes what a save or a removal that was cut short has left."""
    for path in folder.glob("unfinished_*"):
        shutil.rmtree(path)


@contextlib.contextmanager
def _as_os_error(folder: pathlib.Path) -> Iterator[None]:
    """Orbax reports a full disk as a ValueError, and logs it once per thread."""
    logger = logging.getLogger("absl")
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    except OSError:
        _remove_leftovers(folder)
        raise
    except Exception as error:
        match = re.search(r"os_error_code='(\d+)'", str(error))
        if not match:
            raise
        _remove_leftovers(folder)
        raise OSError(int(match[1]), str(error).splitlines()[0]) from error
    finally:
        logger.disabled = was_disabled
