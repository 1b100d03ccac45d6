# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Measures how much of a piece of work was tracing and compiling."""

import contextlib
from collections.abc import Iterator

import jax

__all__ = ["CompileTime", "measured"]

_EVENTS = "jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile"


class CompileTime:
    """Seconds of tracing and compiling so far."""

    def __init__(self):
        self.seconds = 0.0

    def add(self, event: str, duration_secs: float, **facts: object) -> None:
        """Takes note of an event that jax tells of."""
        del facts  # Which function it was does not matter.
        if event.rpartition("/")[2].startswith(_EVENTS):
            self.seconds += duration_secs


@contextlib.contextmanager
def measured() -> Iterator[CompileTime]:
    """Measures tracing and compiling in a block.

    Yields:
      The :class:`CompileTime`.

    Example:
      >>> with measured() as compiling:
      ...     _ = jax.jit(lambda x: x + 1)(1.0)
      >>> compiling.seconds > 0
      True
    """
    clock = CompileTime()
    jax.monitoring.register_event_duration_secs_listener(clock.add)
    try:
        yield clock
    finally:
        jax.monitoring.unregister_event_duration_listener(clock.add)
