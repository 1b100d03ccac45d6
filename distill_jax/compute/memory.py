# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How much memory there is, and how much was taken."""

import os
import pathlib
import resource

import jax

__all__ = ["device_memory", "peak_memory"]

# Where Linux tells what a container may take, of either version of its interface.
_LIMITS = (
    pathlib.Path("/sys/fs/cgroup/memory.max"),
    pathlib.Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def device_memory(num_devices: int = 1) -> int:
    """The bytes that a device may hold.

    Args:
      num_devices: of this process that take part: those of a processor share what the
        machine, or the container, has.

    Example:
      >>> device_memory() > 2**28
      True
      >>> device_memory(2) == device_memory() // 2 or jax.default_backend() != "cpu"
      True
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"]
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(total, _container_limit(_LIMITS) or total) // num_devices


def peak_memory() -> int:
    """The most bytes that were held at a time: on an accelerator, else in this process.

    Example:
      >>> peak_memory() > 2**20
      True
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return stats.get("peak_bytes_in_use", 1024 * kib)


def _container_limit(paths: tuple[pathlib.Path, ...]) -> int | None:
    """What a container may take, or None where nothing is told."""
    for path in paths:
        try:
            return int(path.read_text())
        except (OSError, ValueError):  # No such file, or the word "max".
            continue
    return None
