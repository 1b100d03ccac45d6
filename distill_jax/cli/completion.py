# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""``distill-jax completion``: what lets a shell complete commands, flags and fields."""

import argparse
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from distill_jax import errors
from distill_jax.cli import flags

__all__ = ["COMMAND", "script"]

_SHELLS = ("bash", "zsh", "tcsh")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", nargs="?", choices=_SHELLS, default="bash")


def _run(values: argparse.Namespace) -> None:
    """Prints the script."""
    print(script(values.shell))


COMMAND = flags.Command(
    name="completion",
    summary="Prints a script that lets a shell complete commands, flags and fields.",
    examples="""\
  eval "$(distill-jax completion bash)"
      for this shell; in ~/.bashrc for all""",
    add_flags=_add_flags,
    run=_run,
)


def script(shell: str) -> str:
    """Makes the script that a shell reads.

    Args:
      shell: "bash", "zsh" or "tcsh".

    Returns:
      The script.

    Raises:
      InputError: where the package `shtab` is missing.

    Example:
      >>> "--config.num_per_class" in script("bash")
      True
    """
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise errors.InputError(
            "Completion needs the package `shtab`; install it, or the extra "
            "`completion` of distill_jax."
        ) from error
    from distill_jax.cli import kinds, main

    whole = argparse.ArgumentParser(flags.PROGRAM)
    commands = whole.add_subparsers()
    for name in main.COMMANDS:
        command = main.command(name)
        parser = commands.add_parser(name, help=command.summary)
        command.add_flags(parser)
        for action in list(parser._actions):
            if action.metavar in ("DIR", "FILE", "FILE[:ARG]"):
                is_folder = action.metavar == "DIR"
                action.__dict__["complete"] = (
                    shtab.DIRECTORY if is_folder else shtab.FILE
                )
            if action.dest == "config":
                defaults = [kinds.completed({"kind": kind}) for kind in command.kinds]
                for field in dict.fromkeys(itertools.chain(*map(_fields, defaults))):
                    parser.add_argument(f"--config.{field}", metavar="VALUE")
    return shtab.complete(whole, shell)


def _fields(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The names of all fields, with dots."""
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
