# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A whole run of a recipe: steps, log, evaluations, checkpoints, resuming.

The steps are taken in chunks by one compiled loop; between chunks the host looks at
what came out. Everything random is folded out of the key and the number of the step, so
neither the size of the chunks nor a stop and a resumption changes a bit of the result.
"""

import contextlib
import functools
import os
import pathlib
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from distill_jax import base, bilevel, deprecations, errors, experts
from distill_jax.compute import compiling, processes
from distill_jax.compute import trace_cache as trace_caches
from distill_jax.runtime import calendar as calendars
from distill_jax.runtime import checks, history, options, scan, signals
from distill_jax.runtime import logging as logs
from distill_jax.runtime import record as records
from distill_jax.runtime import workdir as workdirs
from distill_jax.types import Key

__all__ = ["run"]

CHUNK_CAPACITY = 1024  # The most steps between two looks of the host,
_CHUNK_SECONDS = 1.0  # and the time they should take.


@deprecations.renamed_arguments(shelf="trace_cache")
@deprecations.gathered_arguments("evaluation", options.EvaluationOptions)
@deprecations.gathered_arguments("logging", options.LoggingOptions)
def run(
    recipe: base.Recipe,
    data: Any,
    *,
    num_steps: int,
    key: Key,
    workdir: str | os.PathLike[str] | None = None,
    config: Mapping[str, Any] | None = None,
    checkpoint_every: int | None = None,
    evaluation: options.EvaluationOptions = options.EvaluationOptions(),
    logging: options.LoggingOptions = options.LoggingOptions(),
    trace_cache: trace_caches.TraceCache | None = None,
) -> tuple[base.State, history.History]:
    """Runs a recipe on a data set; goes on where an earlier run in `workdir` stopped.

    A resumed run equals an uninterrupted one bitwise, in its state and in all it logs
    but the times. On SIGINT, SIGTERM or SIGHUP the chunk at hand (about a second) is
    finished and saved first; a second SIGINT stops at once.

    Args:
      recipe: what ``methods.dm(...)`` and the like return.
      data: a data set as the recipe's ``initial_fn`` and ``source_fn`` take it.
      num_steps: of the whole run, those done before included.
      key: everything random comes from it.
      workdir: folder for ``config.json``, ``metrics.jsonl``, ``checkpoints/``, and
        ``experts/`` where a recipe trains some and has no folder for them; ``None``
        writes nothing.
      config: what the run is described by; a folder takes one only. Any difference is
        refused when resuming, that of `num_steps`, `key` and data set included.
      checkpoint_every: steps between checkpoints; there is always one at the end.
      evaluation: how the set is evaluated on the way, see
        :class:`~distill_jax.runtime.EvaluationOptions`; not at all by default.
      logging: which steps are logged, and where they are shown, see
        :class:`~distill_jax.runtime.LoggingOptions`; every tenth by default.
      trace_cache: where the first state and the loop may lie traced by an earlier
        process; see :func:`~distill_jax.runtime.compile_steps`.

    Returns:
      The last state, and the history of the whole run.

    Raises:
      DamagedError: when what the folder holds is not what was written, and no older
        part of it will do.
      InputError: when an argument cannot work, the folder holds another run, another
        process is at work there, or it cannot be written.
      NonFiniteError: when the loss or the state is no longer finite, a gate refuses all
        steps, or the learned learning rate becomes 0; the last good checkpoint stays
        the last.
      LostProcessError: when this is one of several processes and another is gone.
      Interrupted: after a signal, to this process or another of the run.

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from distill_jax import base, bilevel
      >>> from distill_jax.transforms import composition
      >>> objective = base.Objective(
      ...     init=lambda key, synthetic: {},
      ...     loss=lambda synthetic, key, inner, batch: (
      ...         jnp.sum((synthetic.x - batch) ** 2), base.Aux()),
      ...     advance=lambda key, inner, synthetic, batch: inner)
      >>> recipe = base.Recipe(
      ...     method=bilevel.distill(
      ...         objective, decoder=composition.plain_decoder(),
      ...         optimizer=optax.sgd(0.25)),
      ...     sampler=lambda key, step, source: source,
      ...     initial_fn=lambda key, data: base.Examples(x=jnp.zeros(2), y=jnp.eye(2)),
      ...     source_fn=lambda data: data, protocol=None)
      >>> state, history = run(
      ...     recipe, jnp.ones(2), num_steps=3, key=jax.random.key(0),
      ...     logging=options.LoggingOptions(log_every=1))
      >>> print(recipe.method.read(state).x, history.loss)
      [0.875 0.875] [2.    0.5   0.125]
    """
    calendar = calendars.Calendar(
        num_steps, logging.log_every, evaluation.evaluate_every, checkpoint_every
    )
    checks.check_arguments(calendar, key, workdir, evaluation.evaluate_fn)
    folder = None if workdir is None else pathlib.Path(workdir)
    kept = None if folder is None else folder / "experts"
    with workdirs.locked(folder), experts.kept_in(kept):
        record = records.Record(
            folder,
            config,
            identity=records.identity(key, data, num_steps),
            use_tensorboard=logging.tensorboard,
        )
        state = _run(
            recipe, data, key, calendar, record, evaluation, logging, trace_cache
        )
    return state, history.from_rows(
        record.journal.rows,
        compile_seconds=record.compile_seconds,
        run_seconds=record.run_seconds,
    )


def _run(
    recipe, data, key: Key, calendar, record, evaluation, logging, trace_cache
) -> base.State:
    """The run, while nobody else is at work in its folder."""
    key_initial, key_init, key_run = jax.random.split(key, 3)
    initial = recipe.initial_fn(key_initial, data)
    if getattr(recipe.protocol, "targets", "values") != "values":
        bilevel.check_class_major(initial)
    with processes.tells_losses(), contextlib.closing(record.journal):
        state = _start(recipe, record, key_init, initial, trace_cache)
        is_over = int(state.step) >= calendar.num_steps
        # May train experts for hours: a signal stops that at once.
        source = None if is_over else recipe.source_fn(data)
        evaluate = _evaluator(recipe.method, calendar, evaluation.evaluate_fn, record)
        with signals.requests() as request:
            evaluate(state)
            if not is_over:
                state = _take_steps(
                    recipe,
                    calendar,
                    record,
                    request,
                    evaluate,
                    logging.progress,
                    functools.partial(scan.compile_steps, trace_cache=trace_cache),
                    (key_run, state, source),
                )
        checks.check_end(state, record)
    return state


def _start(recipe, record, key: Key, initial: base.Examples, trace_cache) -> base.State:
    """The state of the last checkpoint, or the first there is."""
    method = recipe.method
    state = record.restore(lambda: jax.eval_shape(method.init, key, initial))
    if state is None:
        state, seconds = _timed(lambda: _init(method, key, initial, trace_cache))
        record.compile_seconds += seconds
        checks.check_labels(state.latent, recipe.protocol)
    return state


def _take_steps(
    recipe, calendar, record, request, evaluate, progress, compile_steps, arguments
) -> base.State:
    """The loop over chunks."""
    key, state, source = processes.everywhere(arguments)
    compiled = compile_steps(
        recipe.method,
        recipe.sampler,
        num_steps=CHUNK_CAPACITY,
        arguments=(key, state, source),
    )
    take = compiled.run
    record.compile_seconds += compiled.seconds
    inspect = checks.inspector(state)
    step, count = int(state.step), 1
    request.is_at_steps = True
    bar = logs.ProgressBar(num_steps=calendar.num_steps, step=step, is_shown=progress)
    with bar:
        while step < calendar.num_steps and not _signal_of_any(request):
            count = min(count, CHUNK_CAPACITY, calendar.next_stop(step) - step)
            (state, infos), seconds = _timed(lambda: take(key, state, source, count))
            _log(calendar, record, infos, step, count, seconds)
            inspect(state, record)
            step += count
            bar.update(
                step,
                loss=float(infos.loss[count - 1]),
                steps_per_second=count / seconds,
            )
            evaluate(state)
            if calendar.is_due(step, calendar.checkpoint_every):
                record.save(state)
            count = processes.agree(max(1, int(count * _CHUNK_SECONDS / seconds)))
    if signum := _signal_of_any(request):
        _stop(record, state, signum)
    return state


def _signal_of_any(request: signals.Request) -> int:
    """The signal that this process or another of the run was asked to stop by, or 0.

    One that comes while the processes agree is for the next time: `request` is only
    read here.
    """
    return processes.largest(request.signum or 0)


def _log(calendar, record, infos, step: int, count: int, seconds: float) -> None:
    """Writes the rows of a chunk; raises at the first loss that is not finite."""
    infos = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], infos)
    broken = np.flatnonzero(~np.isfinite(infos.loss))
    num_good = int(broken[0]) if broken.size else count
    loss, metrics = infos.loss[:num_good], dict(infos.metrics)
    if "is_refused" in metrics:
        is_refused = metrics["is_refused"][:num_good]
        metrics["refused_share"] = record.refusals.count(is_refused)
        # The gate writes the largest number for a loss that is not finite.
        is_unknown = (is_refused > 0) & (loss >= np.finfo(loss.dtype).max)
        loss = np.where(is_unknown, np.nan, loss)
    rows = [
        {
            "step": step + i + 1,
            "loss": loss[i].item(),
            "metrics": {name: leaf[i].item() for name, leaf in metrics.items()},
            "seconds": record.run_seconds + seconds * (i + 1) / count,
        }
        for i in range(num_good)
        if calendar.is_due(step + i + 1, calendar.log_every)
    ]
    record.write(rows)
    record.run_seconds += seconds
    if broken.size:
        raise errors.NonFiniteError(
            f"The loss became {infos.loss[num_good]} at step {step + num_good + 1} of "
            f"{calendar.num_steps}; {record.last_good()}. Lower the learning rate, or "
            "look for a division by zero in the data or the loss."
        )
    checks.check_moves(record)


def _evaluator(method, calendar, evaluate_fn, record) -> Callable[[base.State], None]:
    """A function that evaluates a state where that is due and not yet done."""
    read = compiling.jit(method.read)

    def evaluate(state: base.State) -> None:
        step = int(state.step)
        if evaluate_fn is None or not calendar.is_due(step, calendar.evaluate_every):
            return
        if any(
            row["step"] == step and "evaluation" in row for row in record.journal.rows
        ):
            return  # Done before the run was resumed.
        values = evaluate_fn(step, records.owned(read(state)))
        if not isinstance(values, Mapping):
            raise errors.InputError(
                f"`evaluate_fn` returned {values!r}, but it must return a "
                'dictionary of numbers such as {"accuracy": 0.9}.'
            )
        evaluation = {name: float(value) for name, value in values.items()}
        row = {"step": step, "evaluation": evaluation, "seconds": record.run_seconds}
        record.write([row])

    return evaluate


def _stop(record: records.Record, state: base.State, signum: int) -> None:
    """Saves, and says so to whoever asked for the stop."""
    if int(state.step) > 0:
        record.save(state)
    raise signals.Interrupted(
        signum,
        f"Stopped by {signal.Signals(signum).name} after step {int(state.step)}; "
        f"{record.last_good()}. The same command goes on.",
    )


def _init(method, key: Key, initial: base.Examples, trace_cache) -> base.State:
    """The first state, on no device in particular."""
    program = trace_cache and trace_cache.program(
        "first state", method.init, (key, initial)
    )
    if program is None:
        return records.owned(compiling.jit(method.init)(key, initial))
    _, call = program.compile((key, initial))
    # What comes out is bound to its device, and a loop over several would refuse it.
    return records.owned(processes.fetched(call(key, initial)))


def _timed(fn: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = jax.block_until_ready(fn())
    return result, time.perf_counter() - start
