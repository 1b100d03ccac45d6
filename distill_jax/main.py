# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``distill-jax distill | evaluate | report``.

What a person can get wrong ends in one sentence on stderr and exit code 2; a run that
was interrupted exits with 128 plus the signal and can be resumed by the same command.
"""

import json
import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from distill_jax import errors

__all__ = ["main"]

_USAGE = """\
distill_jax: shrink a training set to a few examples that teach.

  distill-jax distill --config=configs/digits_frepo.py --workdir=runs/digits
      Distils, evaluates, compares and writes runs/digits/report.html. The same command
      again resumes a run that was interrupted.
  distill-jax evaluate --distilled=runs/digits
      Trains fresh networks on a distilled set and tests them; with --network=convnet,
      or --network='{"name": "mlp", "hidden": [64]}', other networks than it was made
      with.
  distill-jax report --workdir=runs/digits
      Writes the report of a finished run again.

  --config=FILE:runlocal       a run of a minute on a laptop
  --config.num_per_class=1     overrides one field of the config
  --data_dir=DIR               where data sets are (or the variable DISTILL_JAX_DATA)
"""

_FLAGS = flags.FlagValues()
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The config file.", flag_values=_FLAGS
)
flags.DEFINE_string(
    "workdir", None, "Where a run keeps its files.", flag_values=_FLAGS
)
flags.DEFINE_string("data_dir", None, "Where data sets are.", flag_values=_FLAGS)
flags.DEFINE_string("distilled", None, "A distilled set.", flag_values=_FLAGS)
flags.DEFINE_string(
    "network", None, "A network's name, or JSON.", flag_values=_FLAGS
)
flags.DEFINE_integer("num_runs", 5, "Fresh networks to train.", flag_values=_FLAGS)
flags.DEFINE_integer("seed", 0, "Seed of an evaluation.", flag_values=_FLAGS)
flags.DEFINE_bool("quiet", False, "No progress bar.", flag_values=_FLAGS)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one command and exits.

    Args:
      argv: the words behind the program's name; those of the process by default.

    Example:
      >>> main(["help"])  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      SystemExit: 0
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    sys.exit(_run(argv))


def _run(argv: list[str]) -> int:
    """Runs one command; returns the exit code."""
    if not argv or argv[0] in ("help", "--help", "-h"):
        print(_USAGE, end="")
        return 0 if argv else 2
    try:
        command = _commands().get(argv[0])
        if command is None:
            hint = errors.nearest(argv[0], _commands())
            raise errors.InputError(f'There is no command "{argv[0]}". {hint}')
        _parse(argv)
        command()
    except errors.InputError as error:
        print(f"distill-jax: {error}", file=sys.stderr)
        return 2
    except errors.NonFiniteError as error:
        print(f"distill-jax: {error}", file=sys.stderr)
        return 3
    except errors.Interrupted as error:
        print(f"distill-jax: {error}", file=sys.stderr)
        return 128 + error.signal_number
    return 0


def _commands():
    return {"distill": _distill, "evaluate": _evaluate, "report": _report}
