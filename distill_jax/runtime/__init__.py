# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Running methods: the compiled loop, the host-fed loop, checkpoints, logs, `run`."""

from distill_jax.compute.compile_cache import keep_compiled
from distill_jax.compute.memory import device_memory, peak_memory
from distill_jax.compute.trace_cache import TraceCache, trace_cache_for
from distill_jax.runtime.forecasts import Forecast, forecast
from distill_jax.runtime.history import History
from distill_jax.runtime.host_loop import loop
from distill_jax.runtime.options import EvaluationOptions, LoggingOptions
from distill_jax.runtime.runner import run
from distill_jax.runtime.scan import compile_steps, scan_steps
from distill_jax.runtime.signals import Interrupted

__all__ = [
    "EvaluationOptions",
    "Forecast",
    "History",
    "Interrupted",
    "LoggingOptions",
    "TraceCache",
    "compile_steps",
    "device_memory",
    "forecast",
    "keep_compiled",
    "loop",
    "peak_memory",
    "run",
    "scan_steps",
    "trace_cache_for",
]
