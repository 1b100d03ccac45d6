# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keeps compiled programs from one process to the next, with JAX's own cache.

Most of the time of a short run is compilation, and the second run of the same config
compiles the same programs.
"""

import os
import pathlib

import jax

from distill_jax import errors
from distill_jax.storage import private

__all__ = ["compiled_folder", "keep_compiled"]

_SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def compiled_folder() -> pathlib.Path:
    """Where compiled programs are kept: in the user's folder of caches.

    Example:
      >>> compiled_folder().parts[-2:]
      ('distill_jax', 'compiled')
    """
    caches = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(caches) / "distill_jax" / "compiled"


def keep_compiled() -> pathlib.Path | None:
    """Turns the cache on, where the user has not chosen one.

    ``JAX_COMPILATION_CACHE_DIR`` names another folder, and
    ``JAX_ENABLE_COMPILATION_CACHE=false`` turns it off.

    Returns:
      The folder that is used, which its owner alone can enter; None where there is
      none, as where it cannot be written or, with a warning, belongs to somebody else.

    Example:
      >>> folder = keep_compiled()
    """
    if not jax.config.values["jax_enable_compilation_cache"]:
        return None
    chosen = jax.config.values["jax_compilation_cache_dir"]
    if chosen:
        return pathlib.Path(chosen)
    folder = compiled_folder()
    try:  # Machine code is run: nobody else may put some there.
        private.make_folder(folder.parent)
        private.make_folder(folder)
    except private.ForeignError as error:
        errors.warn(
            f"Compiled programs are not kept: {error}. Remove that folder, or let "
            "XDG_CACHE_HOME or JAX_COMPILATION_CACHE_DIR name a folder of your own."
        )
        return None
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if _SHORTEST not in os.environ:  # A start compiles forty programs of a blink each.
        jax.config.update(_SHORTEST.lower(), 0.0)
    return folder
