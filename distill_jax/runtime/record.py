# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run keeps: its journal, its checkpoints, and the time it took.

A checkpoint is written after the rows that led to it, and rows after the restored step
are dropped on resuming: so no step is ever missing or told twice. A checkpoint is gone
on from if it and the rows that led to it are what was written.
"""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors
from distill_jax.compute import processes
from distill_jax.runtime import checkpoint, extents, logging, refusals
from distill_jax.runtime import workdir as workdirs
from distill_jax.types import Key, PyTree

__all__ = ["Record", "identity", "owned"]


class Record:
    """The journal and the checkpoints of one run, in a folder or in memory only.

    Args:
      folder: of the run; ``None`` keeps the rows in memory and saves no state.
      config: what the folder is claimed for.
      identity: plain facts that must be the same when the run is resumed.
      use_tensorboard: whether to write event files too.

    Attributes:
      journal: the rows so far.
      saved_step: the step of the last checkpoint; ``None`` before the first.
      run_seconds: spent on steps, over all resumptions.
      compile_seconds: spent on compiling, over all resumptions.
      refusals: the steps that a gate has refused.

    Raises:
      InputError: when the folder holds another run, or cannot be written.

    Example:
      >>> record = Record(None, None, identity={}, use_tensorboard=False)
      >>> record.write([{"step": 1, "loss": 0.5}])
      >>> record.journal.rows
      [{'step': 1, 'loss': 0.5, 'compile_seconds': 0.0}]
    """

    def __init__(
        self,
        folder: pathlib.Path | None,
        config: Mapping[str, Any] | None,
        *,
        identity: Mapping[str, Any],
        use_tensorboard: bool,
    ):
        self.run_seconds = self.compile_seconds = 0.0
        self.saved_step: int | None = None
        self._folder = folder
        self._identity = dict(identity)
        self.refusals = refusals.Refusals(identity.get("num_steps", 0))
        self._checkpoints: checkpoint.Checkpoints | None = None
        extent = None
        if folder is not None:
            processes.by_first(lambda: workdirs.claim(folder, config))
            checkpoints = checkpoint.Checkpoints(folder / "checkpoints")
            self._checkpoints = checkpoints
            self.saved_step = processes.by_first(
                lambda: extents.newest_whole(folder, checkpoints)
            )
            if self.saved_step is not None:
                facts = checkpoints.facts(self.saved_step)
                self._read_facts(facts)
                extent = extents.extent_of(folder, facts)
        with workdirs.writing(folder):
            self.journal = logging.Journal(
                folder if processes.is_first() else None,
                last_step=self.saved_step,
                extent=extent,
                use_tensorboard=use_tensorboard,
            )

    def restore(self, template_fn: Callable[[], PyTree]) -> base.State | None:
        """The last saved state, on the device; ``None`` where there is none."""
        if self._checkpoints is None or self.saved_step is None:
            return None
        return owned(self._checkpoints.restore(template_fn(), self.saved_step))

    def save(self, state: base.State) -> None:
        """Saves a state, unless that was done or there is no folder."""
        step = int(state.step)
        if self._checkpoints is None or step == self.saved_step:
            return
        seconds = {"run": self.run_seconds, "compile": self.compile_seconds}
        facts = {
            "identity": self._identity,
            "seconds": seconds,
            "journal": self.journal.extent,
        }
        if self.refusals.num_counted:
            facts["refusals"] = self.refusals.to_facts()
        with workdirs.writing(self._folder):
            self.journal.flush()
            self._checkpoints.save(step, state, facts)
        self.saved_step = step

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Logs rows, with the compile time so far."""
        rows = [row | {"compile_seconds": self.compile_seconds} for row in rows]
        with workdirs.writing(self._folder):
            self.journal.write(rows)

    def last_good(self) -> str:
        """From where one can go on, for people."""
        if self._folder is None:
            return "nothing was saved, since there is no `workdir`"
        if self.saved_step is None:
            return f"no checkpoint was saved in {self._folder} before"
        return (
            f"the last good checkpoint in {self._folder} is of step {self.saved_step}"
        )

    def _read_facts(self, facts: Mapping[str, Any]) -> None:
        for name, now in self._identity.items():
            former = facts["identity"].get(name)
            if former != now:
                raise errors.InputError(
                    f"The run in {self._folder} was begun with another `{name}`: it "
                    f"was {former}, now it is {now}; use the former one to go on with "
                    "that run, or another folder for a new one."
                )
        self.run_seconds = facts["seconds"]["run"]
        self.compile_seconds = facts["seconds"]["compile"]
        self.refusals.restore(facts.get("refusals", {}))


def identity(key: Key, data: Any, num_steps: int) -> dict[str, Any]:
    """What must be the same when a run is resumed, apart from its config.

    Args:
      key: of the run.
      data: the data set; its ``spec.fingerprint`` counts where it has one.
      num_steps: of the whole run; a schedule may depend on it.

    Returns:
      Plain facts.

    Example:
      >>> identity(jax.random.key(7), None, 100)
      {'num_steps': 100, 'key': ['threefry2x32', 0, 7], 'data': None}
    """
    words = np.asarray(jax.random.key_data(key)).ravel().tolist()
    return {
        "num_steps": int(num_steps),
        "key": [str(jax.random.key_impl(key)), *words],
        "data": getattr(getattr(data, "spec", None), "fingerprint", None),
    }


def owned(tree: PyTree) -> PyTree:
    """A copy on the device, so that donating it takes nothing from anybody.

    Args:
      tree: arrays of numpy or jax.

    Returns:
      The same numbers in fresh buffers.

    Example:
      >>> x = jnp.ones(2)
      >>> owned(x).unsafe_buffer_pointer() == x.unsafe_buffer_pointer()
      False
    """
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree)
