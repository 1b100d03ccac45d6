# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keeps what a start traces, from one process to the next.

Tracing the step of a method and handing it to the compiler takes seconds, and the next
run of the same config does it again. A trace cache keeps the program as the compiler
gets it (``jax.export``), under a name that is a digest of all that it is made from: the
config, the data's fingerprint, the shapes of the arguments, the versions and settings
of jax, and the files of this library. Machine code is kept beside it by JAX's own
cache.

Nothing here is a pickle. A file holds the structure of the result as a line of JSON and
the program as jax serialises it, sealed in a private folder
(:mod:`~distill_jax.storage.private`); what is damaged or foreign is traced anew.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax
import jax
import jaxlib
import numpy as np
import optax
from jax import export
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distill_jax import errors
from distill_jax.compute import compiling, tree_structures
from distill_jax.storage import private

__all__ = ["TraceCache", "code_digest", "trace_cache_for"]

_SWITCH = "DISTILL_JAX_KEEP_TRACED"


class Program(NamedTuple):
    """A traced function of the leaves of its arguments."""

    exported: export.Exported
    result: Any  # the structure of its result
    donated: tuple[int, ...]  # the leaves whose buffers the result may take

    def compile(self, arguments: tuple) -> tuple[jax.stages.Compiled, Callable]:
        """The machine code, and a function of such arguments that runs it."""
        options: dict[str, Any] = {"donate_argnums": self.donated}
        if self.exported.nr_devices > 1:
            mesh = Mesh(jax.devices()[: self.exported.nr_devices], ("all",))
            options["in_shardings"] = NamedSharding(mesh, PartitionSpec())
        leaves = jax.tree.leaves(arguments)
        compiled = compiling.ahead_of_time(self.exported.call, *leaves, **options)

        def call(*arguments):
            out = compiled(*jax.tree.leaves(arguments))
            return jax.tree.unflatten(self.result, out)

        return compiled, call


class TraceCache(NamedTuple):
    """A folder, and what all that is put there from here depends on."""

    folder: pathlib.Path
    identity: str

    def value(self, name: str, make: Callable[[], Any]) -> Any:
        """What was made under this name before, or is now.

        Args:
          name: of the value.
          make: gives it, as JSON can hold it.

        Example:
          >>> import tempfile
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     cache = TraceCache(pathlib.Path(folder), "of a config")
          ...     cache.value("share", lambda: 0.5), cache.value("share", lambda: 0.7)
          (0.5, 0.5)
        """
        path = self._path(name)
        found = private.read(path)
        with contextlib.suppress(ValueError):
            if found is not None:
                return json.loads(found)
        made = make()
        _write(path, json.dumps(made).encode())
        return made

    def program(
        self,
        name: str,
        fn: Callable,
        arguments: tuple,
        *,
        donate_argnums: tuple[int, ...] = (),
    ) -> Program | None:
        """A function as it was traced before for such arguments, or is now.

        Args:
          name: of the function.
          fn: of the arguments; its result is a tree of dicts, lists and named tuples.
          arguments: trees of arrays.
          donate_argnums: the arguments whose buffers the result may take.

        Returns:
          A :class:`Program`; None where the function cannot be kept.

        Example:
          >>> import tempfile, jax.numpy as jnp
          >>> with tempfile.TemporaryDirectory() as folder:
          ...     cache = TraceCache(pathlib.Path(folder), "of a config")
          ...     program = cache.program(
          ...         "double", lambda x: {"twice": 2 * x}, (jnp.ones(3),))
          >>> compiled, call = program.compile((jnp.ones(3),))
          >>> call(jnp.ones(3))["twice"].tolist()
          [2.0, 2.0, 2.0]
        """
        leaves, tree = jax.tree.flatten(arguments)
        described = [f"{jax.typeof(leaf)}" for leaf in leaves]
        path = self._path(name, str(tree), *described, str(donate_argnums))
        donated = _numbers_of_leaves(arguments, donate_argnums)
        kept = _program(private.read(path), leaves, donated)
        if kept is not None:
            return kept
        results = []

        def traced(*leaves):
            out, result = jax.tree.flatten(fn(*jax.tree.unflatten(tree, leaves)))
            results.append(result)
            return out

        try:
            exported = export.export(jax.jit(traced, donate_argnums=donated))(*leaves)
            described = json.dumps(tree_structures.to_json(results[0]))
            stored = bytes(exported.serialize())
        except (NotImplementedError, ValueError, TypeError, AttributeError):
            # A custom call that jax does not promise to keep, one of the host, or a
            # class made in a function. What is wrong with the function itself is told
            # again by whoever traces it now.
            return None
        _write(path, described.encode() + b"\n" + stored)
        return Program(exported, results[0], donated)

    def _path(self, *parts: str) -> pathlib.Path:
        return self.folder / _digest(self.identity, *parts)


def trace_cache_for(description: Mapping[str, Any]) -> TraceCache | None:
    """The trace cache of a run, where compiled programs are kept too.

    Args:
      description: all that decides what is traced, beside the arguments.

    Returns:
      A :class:`TraceCache`; None where no compiled programs are kept, with several
      processes, where ``DISTILL_JAX_KEEP_TRACED=false``, and, with a warning, where the
      folder belongs to somebody else.

    Example:
      >>> trace_cache = trace_cache_for({"method": "dm"})
    """
    compiled = jax.config.values["jax_compilation_cache_dir"]
    is_on = jax.config.values["jax_enable_compilation_cache"] and compiled
    is_wanted = os.environ.get(_SWITCH, "true").lower() not in ("false", "0")
    if not is_on or not is_wanted or jax.process_count() > 1:
        return None
    folder = pathlib.Path(compiled) / "traced"
    try:
        private.make_folder(folder)
    except private.ForeignError as error:
        errors.warn(
            f"What is traced is not kept: {error}. Remove that folder, or let "
            "JAX_COMPILATION_CACHE_DIR name a folder of your own."
        )
        return None
    except OSError:
        return None
    identity = json.dumps(description, sort_keys=True, default=repr)
    return TraceCache(folder, _digest(identity, *_surroundings(), code_digest()))


@functools.cache
def code_digest() -> str:
    """Makes a digest of the files of this library: the version of its code.

    Returns:
      64 hexadecimal digits.

    Example:
      >>> len(code_digest())
      64
    """
    root = pathlib.Path(__file__).parents[1]
    return _digest(*(path.read_text() for path in sorted(root.rglob("*.py"))))


def _surroundings() -> list[str]:
    """What a trace depends on beside the library and its arguments."""
    versions = [module.__version__ for module in (jax, jaxlib, flax, optax, np)]
    kept = "jax_compilation_cache", "jax_persistent_cache", "jax_enable_compilation"
    options = {
        name: repr(value)
        for name, value in jax.config.values.items()
        if not name.startswith(kept)
    }
    kinds = [device.device_kind for device in jax.devices()]
    return [sys.version, *versions, *kinds, json.dumps(options, sort_keys=True)]


def _numbers_of_leaves(arguments: tuple, argnums: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers of the leaves, of all arguments, that these arguments have."""
    sizes = [len(jax.tree.leaves(argument)) for argument in arguments]
    starts = [sum(sizes[:argnum]) for argnum in argnums]
    return tuple(
        start + i
        for start, argnum in zip(starts, argnums, strict=True)
        for i in range(sizes[argnum])
    )


def _program(
    content: bytes | None, leaves: list[Any], donated: tuple[int, ...]
) -> Program | None:
    """The program of what was kept; None where it is none for these leaves."""
    if content is None:
        return None
    described, _, stored = content.partition(b"\n")
    try:
        result = tree_structures.from_json(json.loads(described))
        exported = export.deserialize(bytearray(stored))
        taken = [(aval.shape, aval.dtype) for aval in exported.in_avals]
        given = [(jax.typeof(leaf).shape, jax.typeof(leaf).dtype) for leaf in leaves]
        is_same = taken == given and len(exported.out_avals) == result.num_leaves
    except Exception:  # Of what another version wrote, say; it is traced anew.
        return None
    return Program(exported, result, donated) if is_same else None


def _digest(*parts: str) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(f"{len(part)} {part}".encode())
    return found.hexdigest()


def _write(path: pathlib.Path, content: bytes) -> None:
    """Whole or not at all; a folder that cannot be written is as good as none."""
    with contextlib.suppress(OSError):
        private.write(path, content)
