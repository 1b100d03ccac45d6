# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``distill-jax distill | plan | evaluate | report``.

What a person can get wrong ends in one sentence on stderr and exit code 2, a loss that
is no longer finite in exit code 3, the loss of another process of the run in 4. A run
that was interrupted exits with 128 plus the signal; the same command resumes it.
"""

import contextlib
import os
import pathlib
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from distill_jax import errors

__all__ = ["main"]

_USAGE = """\
distill_jax: shrink a training set to a few examples that teach.

  distill-jax distill --config=configs/digits_frepo.py --workdir=runs/digits
      Distils, evaluates, compares, and writes runs/digits/report.html. The same command
      again resumes a run that was interrupted.
  distill-jax plan --config=configs/digits_frepo.py
      Tells what that will take: compilation, memory, steps per second, time; and what
      to change where it does not fit. With --memory_gib=8, on a device with so much.
  distill-jax evaluate --distilled=runs/digits
      Trains fresh networks on a distilled set and tests them; with --network=convnet,
      or --network='{"name": "mlp", "hidden": [64]}', another network than the set was
      made with; with --network=mlp,alexnet,resnet18 or --network=all, a table of
      networks, with --random also trained on as many random real examples.
  distill-jax report --workdir=runs/digits
      Writes the report of a finished run again; with --picture=FILE.png, also a picture
      of the distilled examples and the curve.

  --config=FILE:runlocal      a run of a minute on a laptop
  --config.num_per_class=1    overrides one field of the config
  --data_dir=DIR              where data sets are (else the variable DISTILL_JAX_DATA)
  --num_runs=5 --seed=0       of `evaluate`: fresh networks, and the seed of the first
  --quiet                     no progress
  --distributed               one of several processes of a TPU pod slice or of Slurm;
                              elsewhere with --coordinator=HOST:PORT --num_processes=2
                              --process_id=0, the same command in each; --patience=100
                              seconds, after which a silent process counts as lost

Traced and compiled programs are kept for the next time in ~/.cache/distill_jax;
JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=false none;
DISTILL_JAX_KEEP_TRACED=false traces every step anew.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits.

    Args:
      argv: the words behind the program's name; those of the process by default.

    Raises:
      SystemExit: always, with the exit code.

    Example:
      >>> try:
      ...     main(["help"])
      ... except SystemExit as stop:
      ...     print("exit code", stop.code)  # doctest: +ELLIPSIS
      distill_jax: shrink a training set to a few examples that teach.
      ...
      exit code 0
    """
    sys.exit(_run(list(sys.argv[1:] if argv is None else argv)))


def _run(argv: list[str]) -> int:
    """Runs one command; returns the exit code."""
    if not argv or argv[0] == "help" or {"--help", "-h"} & set(argv):
        print(_USAGE, end="")
        return 0 if argv else 2
    commands = {
        "distill": _distill,
        "plan": _plan,
        "evaluate": _evaluate,
        "report": _report,
    }
    try:
        if argv[0] not in commands:
            hint = errors.nearest(argv[0], commands)
            raise errors.InputError(f'There is no command "{argv[0]}". {hint}')
        commands[argv[0]](_parse(argv))
    except errors.InputError as error:
        return _complain(error, 2)
    except errors.NonFiniteError as error:
        return _complain(error, 3)
    except errors.LostProcessError as error:
        _complain(error, 4)
        sys.stderr.flush()
        os._exit(4)  # The usual way out waits for the others.
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # As `head` did.
    except KeyboardInterrupt as stop:
        return _complain(stop, 128 + getattr(stop, "signum", signal.SIGINT))
    return 0


def _complain(error: BaseException, code: int) -> int:
    print(f"distill-jax: {error or 'Interrupted.'}", file=sys.stderr)
    return code


def _distill(values: flags.FlagValues) -> None:
    """Distils, evaluates and reports."""
    config = _config(values)
    workdir = _required(values, "workdir", "runs/digits")
    _prepare()
    from distill_jax.cli import experiment

    is_first = _join(values)
    is_quiet = values.quiet or not is_first
    experiment.distil(config, workdir, progress=False if is_quiet else None)
    if is_first:
        from distill_jax.cli import report as report_lib  # With all that draws.

        _tell(report_lib.contents(workdir, config), workdir)


def _join(values: flags.FlagValues) -> bool:
    """Joins the other processes where there are some; whether this is the first."""
    given = values.coordinator, values.num_processes, values.process_id
    if not values.distributed and given == (None, None, None):
        return True
    if not values.distributed and None in given:
        raise errors.InputError(
            "Several processes need --coordinator=HOST:PORT, --num_processes and "
            "--process_id together; on a TPU pod slice or under Slurm --distributed "
            "finds all three."
        )
    from distill_jax.compute import processes

    return processes.join(*given, patience=values.patience)


def _plan(values: flags.FlagValues) -> None:
    """Tells what a run will take."""
    config = _config(values)
    _prepare()
    from distill_jax.cli import plan

    gib = values.memory_gib
    found = plan.preview_of(
        config, memory_bytes=None if gib is None else int(gib * 2**30)
    )
    others = [] if found.forecast.fits else plan.alternatives(config)
    print(f"{config.title}, {config.num_per_class} per class:")
    print("\n".join(plan.to_lines(found, others)))


def _report(values: flags.FlagValues) -> None:
    """Writes the report of a finished run again."""
    workdir = _required(values, "workdir", "runs/digits")
    _prepare()
    from distill_jax.cli import report as report_lib

    config = report_lib.stored_config(workdir)
    if values.data_dir:
        config.data.data_dir = values.data_dir
    contents = report_lib.contents(workdir, config)
    _tell(contents, workdir)
    if values.picture:
        report_lib.save_picture(contents, pathlib.Path(values.picture))


def _evaluate(values: flags.FlagValues) -> None:
    """Trains fresh networks on a distilled set and prints their test accuracy."""
    path = _required(values, "distilled", "runs/digits")
    _prepare()
    from distill_jax.cli import evaluate

    if evaluate.is_several(values.network):
        return _tell_transfer(path, values)
    result, network = evaluate.evaluate_stored(
        path,
        network=values.network,
        data_dir=values.data_dir,
        num_runs=values.num_runs,
        seed=values.seed,
    )
    num_runs = len(result.accuracies)
    spread = ""
    if num_runs > 1:
        low, high = result.mean - result.ci95, result.mean + result.ci95
        spread = (
            f", sd {100 * result.sd:.2f}, 95 % interval {100 * low:.2f} to "
            f"{100 * high:.2f}"
        )
    print(
        f"{100 * result.mean:.2f} % test accuracy of {num_runs} fresh "
        f"network{'s' * (num_runs > 1)} ({network}){spread}; {result.run_seconds:.1f} "
        f"s, and {result.compile_seconds:.1f} s to compile."
    )


def _tell_transfer(path: pathlib.Path, values: flags.FlagValues) -> None:
    """Trains networks of several architectures and prints the table."""
    import rich.console

    from distill_jax import report
    from distill_jax.cli import evaluate

    rows = evaluate.transfer_stored(
        path,
        network=values.network,
        data_dir=values.data_dir,
        num_runs=values.num_runs,
        seed=values.seed,
        use_random=values.random,
    )
    bare = [{k: v for k, v in row.items() if k != "note"} for row in rows]
    rich.console.Console().print(report.tables.transfer_table(bare))
    for row in rows:
        if row["note"]:
            print(f"{row['name']}: {row['note']}")


def _tell(contents: Any, workdir: pathlib.Path) -> None:
    """Writes the report and prints the table and where everything is."""
    import rich.console

    from distill_jax import report

    path = report.write_report(contents, workdir / "report.html")
    bare = [{k: v for k, v in arm.items() if k != "note"} for arm in contents.arms]
    rich.console.Console().print(report.tables.rich_table(bare))
    for arm in contents.arms:
        print(f"{arm['name']}: {arm['note']}.")
    costs = ", ".join(f"{name} {value}" for name, value in contents.costs.items())
    print(f"Time: {costs}.")
    print(f"Distilled set: {workdir / 'distilled.npz'}")
    print(f"Report:        {path}")


def _prepare() -> None:
    """Sets jax up. What needs it is loaded late, so that mistakes are told at once."""
    from distill_jax import runtime
    from distill_jax.compute import devices

    runtime.keep_compiled()
    devices.split_cpu()


def _define_flags() -> flags.FlagValues:
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "The config.", flag_values=values)
    names = "workdir", "data_dir", "distilled", "network", "picture", "coordinator"
    for name in names:
        flags.DEFINE_string(name, None, "See the usage.", flag_values=values)
    flags.DEFINE_integer("num_runs", 5, "See the usage.", 1, flag_values=values)
    flags.DEFINE_integer("seed", 0, "See the usage.", flag_values=values)
    flags.DEFINE_float("memory_gib", None, "See the usage.", 0, flag_values=values)
    flags.DEFINE_integer("num_processes", None, "See the usage.", 1, flag_values=values)
    flags.DEFINE_integer("process_id", None, "See the usage.", 0, flag_values=values)
    flags.DEFINE_integer("patience", 100, "See the usage.", 1, flag_values=values)
    flags.DEFINE_bool("distributed", False, "See the usage.", flag_values=values)
    flags.DEFINE_bool("random", False, "See the usage.", flag_values=values)
    flags.DEFINE_bool("quiet", False, "See the usage.", flag_values=values)
    return values


def _parse(argv: list[str]) -> flags.FlagValues:
    """Reads the flags; what cannot be read becomes a sentence."""
    values = _define_flags()
    try:
        # ml_collections looks for overrides of fields in the words of the process.
        with _words(argv):
            rest = values(argv)
            if values.config is not None:
                values.config.keys()  # A file that is missing is told of here.
    except Exception as error:
        raise _flag_error(argv, error) from error
    if rest[1:]:
        raise errors.InputError(
            f'The word "{rest[1]}" has no meaning here; options begin with two dashes, '
            "as in --workdir=runs/digits."
        )
    return values


@contextlib.contextmanager
def _words(argv: list[str]) -> Iterator[None]:
    """Lets `sys.argv` be the words of the command for a while."""
    former, sys.argv = sys.argv, argv
    try:
        yield
    finally:
        sys.argv = former


def _flag_error(argv: list[str], error: Exception) -> errors.InputError:
    """Says in one sentence why the flags could not be read."""
    text = str(error).replace("\\n", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else type(error).__name__
    if any(isinstance(cause, errors.InputError) for cause in _causes(error)):
        return errors.InputError(last.split("InputError: ")[-1])
    if isinstance(error, AttributeError):
        word, hint = (line.strip("'\"\\") for line in (lines[0], last))
        hint = hint if "Did you mean" in hint else "Its file shows the fields it has."
        return errors.InputError(f'The config has no field "{word}". {hint}')
    if isinstance(error, OSError):
        files = [w.split("=", 1)[1] for w in argv if w.startswith("--config=")]
        return errors.InputError(
            f"The config file {files[-1] if files else ''} could not be read; pass a "
            "file such as configs/digits_frepo.py."
        )
    said = last if "Traceback" in text else " ".join(lines).replace(" ?", "?")
    return errors.InputError(f"{said}. The usage is shown by `distill-jax help`.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _config(values: flags.FlagValues) -> Any:
    if values.config is None:
        raise errors.InputError(
            "`--config` is missing; pass a file such as "
            "--config=configs/digits_frepo.py."
        )
    if values.data_dir:
        values.config.data.data_dir = values.data_dir
    return values.config


def _required(values: flags.FlagValues, name: str, example: str) -> pathlib.Path:
    path = values[name].value
    if not path:
        raise errors.InputError(f"`--{name}` is missing; pass --{name}={example}.")
    return pathlib.Path(path)


if __name__ == "__main__":
    main()
