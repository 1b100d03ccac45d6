# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Programs, devices and memory: how the mathematics is computed."""

from distill_jax.compute import (
    blocks,
    compile_cache,
    compiling,
    cost,
    devices,
    memory,
    mesh_types,
    parallel,
    processes,
    programs,
    randomness,
    recipes,
    rows,
    solve,
    trace_cache,
)

__all__ = [
    "blocks",
    "compile_cache",
    "compiling",
    "cost",
    "devices",
    "memory",
    "mesh_types",
    "parallel",
    "processes",
    "programs",
    "randomness",
    "recipes",
    "rows",
    "solve",
    "trace_cache",
]
