# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keeps what a start traces, from one process to the next.

Tracing the step of a method and handing it to the compiler takes seconds, and the next
run of the same config does it again. A trace cache keeps the program as the compiler
gets it (``jax.export``), under a name that is a digest of all that it is made from: the
config, the data's fingerprint, the shapes of the arguments, the versions and settings
of jax, and the files of this library. Machine code is kept beside it by JAX's own
cache.
"""

import contextlib
import functools
import hashlib
import json
import os
import pathlib
import pickle
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

from distill_jax.compute import compiling
from distill_jax.storage import atomic

__all__ = ["TraceCache", "code_digest", "trace_cache_for"]

_SWITCH = "DISTILL_JAX_KEEP_TRACED"
_DIGEST_SIZE = 64


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
        found = _read(path)
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
          fn: of the arguments; its result is a tree of classes that can be pickled.
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
        found = _unpickled(_read(path))
        if found is not None:
            result, stored = found
            return Program(export.deserialize(bytearray(stored)), result, donated)
        results = []

        def traced(*leaves):
            out, result = jax.tree.flatten(fn(*jax.tree.unflatten(tree, leaves)))
            results.append(result)
            return out

        try:
            exported = export.export(jax.jit(traced, donate_argnums=donated))(*leaves)
            kept = pickle.dumps((results[0], bytes(exported.serialize())))
        except (NotImplementedError, ValueError, pickle.PicklingError, AttributeError):
            # A custom call that jax does not promise to keep, one of the host, or a
            # class made in a function. What is wrong with the function itself is told
            # again by whoever traces it now.
            return None
        _write(path, kept)
        return Program(exported, results[0], donated)

    def _path(self, *parts: str) -> pathlib.Path:
        return self.folder / _digest(self.identity, *parts)


def trace_cache_for(description: Mapping[str, Any]) -> TraceCache | None:
    """The trace cache of a run, where compiled programs are kept too.

    Args:
      description: all that decides what is traced, beside the arguments.

    Returns:
      A :class:`TraceCache`; None where no compiled programs are kept, with several
      processes, and where ``DISTILL_JAX_KEEP_TRACED=false``.

    Example:
      >>> trace_cache = trace_cache_for({"method": "dm"})
    """
    compiled = jax.config.values["jax_compilation_cache_dir"]
    is_on = jax.config.values["jax_enable_compilation_cache"] and compiled
    is_wanted = os.environ.get(_SWITCH, "true").lower() not in ("false", "0")
    if not is_on or not is_wanted or jax.process_count() > 1:
        return None
    identity = json.dumps(description, sort_keys=True, default=repr)
    return TraceCache(
        pathlib.Path(compiled) / "traced",
        _digest(identity, *_surroundings(), code_digest()),
    )


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


def _unpickled(content: bytes | None) -> Any:
    """What was pickled; None for nothing, and where a class is no longer there."""
    try:
        return content and pickle.loads(content)
    except (pickle.UnpicklingError, AttributeError, ImportError):
        return None


def _digest(*parts: str) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(f"{len(part)} {part}".encode())
    return found.hexdigest()


def _read(path: pathlib.Path) -> bytes | None:
    """What was written, unless it is not there or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, content = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    is_whole = hashlib.sha256(content).hexdigest().encode() == digest
    return content if is_whole else None


def _write(path: pathlib.Path, content: bytes) -> None:
    """Whole or not at all; a folder that cannot be written is as good as none."""
    digest = hashlib.sha256(content).hexdigest().encode()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace_file(path, digest + content)
