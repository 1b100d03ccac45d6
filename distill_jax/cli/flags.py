# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Reads the words of a command; what cannot be read becomes a sentence.

A command is one file of this folder with a record ``COMMAND`` and one line in the table
of :mod:`distill_jax.cli.main`.
"""

import argparse
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from distill_jax import errors

__all__ = [
    "PROGRAM",
    "Command",
    "add_config",
    "add_data_dir",
    "add_quiet",
    "add_workdir",
    "number",
    "parse",
    "parser_of",
    "required",
    "required_path",
]

PROGRAM = "distill-jax"


class Command(NamedTuple):
    """One command: what it is called, says of itself, takes and does."""

    name: str
    summary: str  # one line, for `distill-jax help`
    examples: str  # command lines, each with what it does
    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    kinds: Sequence[str] = ("distill",)  # of config that it takes
    resumes: bool = False  # whether the same command goes on where it was stopped


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds `--config`; words that begin with `--config.` then override its fields.

    Args:
      parser: of a command, whose namespace will hold the config itself.

    Example:
      >>> parser = argparse.ArgumentParser()
      >>> add_config(parser)
      >>> parser.parse_args(["--config=digits_frepo"]).config
      'digits_frepo'
    """
    parser.add_argument(
        "--config",
        metavar="FILE[:ARG]",
        help="a Python file with `get_config(arg)`, or the name of one that comes with "
        "the package; :runlocal shrinks it to a run of a minute on a laptop; "
        "--config.FIELD=VALUE overrides one field",
    )
    add_data_dir(parser)


def add_data_dir(parser: argparse.ArgumentParser, *, is_own: bool = False) -> None:
    """Adds `--data_dir`.

    Args:
      parser: of a command.
      is_own: whether `--data` is added too, for a command that loads again the data
        set of a run, which may be a file of one's own that lies elsewhere now.

    Example:
      >>> parser = argparse.ArgumentParser()
      >>> add_data_dir(parser)
      >>> parser.parse_args(["--data_dir=data"]).data_dir
      'data'
    """
    parser.add_argument(
        "--data_dir",
        metavar="DIR",
        help="where data sets are (else the variable DISTILL_JAX_DATA)",
    )
    if is_own:
        parser.add_argument(
            "--data",
            metavar="NAME",
            help="the data set of the run where it lies elsewhere now, as npz:PATH or "
            "folder:PATH",
        )


def add_quiet(parser: argparse.ArgumentParser, *, is_shown: bool = True) -> None:
    """Adds `--quiet`.

    Args:
      parser: of a command.
      is_shown: whether its help tells of it; a command without progress takes it only
        so that scripts may pass it to all.

    Example:
      >>> parser = argparse.ArgumentParser()
      >>> add_quiet(parser)
      >>> parser.parse_args(["--quiet"]).quiet
      True
    """
    text = "no progress" if is_shown else argparse.SUPPRESS
    parser.add_argument("--quiet", action="store_true", help=text)


def add_workdir(parser: argparse.ArgumentParser) -> None:
    """Adds `--workdir`.

    Args:
      parser: of a command.

    Example:
      >>> parser = argparse.ArgumentParser()
      >>> add_workdir(parser)
      >>> parser.parse_args(["--workdir=runs/digits"]).workdir
      'runs/digits'
    """
    parser.add_argument("--workdir", metavar="DIR", help="where the run's files are")


def number(
    lowest: float | None = None, *, kind: type[int] | type[float] = int
) -> Callable[[str], Any]:
    """Returns the type of a flag that takes a number.

    Args:
      lowest: the least that can be.
      kind: ``int`` or ``float``.

    Returns:
      A function from a word to the number, as argparse takes it.

    Example:
      >>> number(1)("5")
      5
      >>> number(1)("many")
      Traceback (most recent call last):
      ...
      argparse.ArgumentTypeError: takes a whole number, not "many"
    """
    noun = "a whole number" if kind is int else "a number"

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f'takes {noun}, not "{text}"') from error
        if lowest is not None and not value >= lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, got {value}")
        return value

    return read


def parser_of(command: Command, **options: Any) -> argparse.ArgumentParser:
    """Makes the parser of one command.

    Args:
      command: the record of the command.
      **options: of ``argparse.ArgumentParser``.

    Returns:
      The parser, whose ``format_help()`` is the help of the command.

    Example:
      >>> toy = Command("toy", "Does nothing.", "", lambda parser: None, print)
      >>> print(parser_of(toy).format_usage())
      usage: distill-jax toy [-h]
      <BLANKLINE>
    """
    parser = argparse.ArgumentParser(
        f"{PROGRAM} {command.name}",
        description=f"{command.summary}\n\n{command.examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        exit_on_error=False,
        **options,
    )
    command.add_flags(parser)
    return parser


def parse(command: Command, words: Sequence[str]) -> argparse.Namespace:
    """Reads the words behind a command.

    Args:
      command: the record of the command.
      words: what stands behind its name.

    Returns:
      The flags by name; ``config`` is the config itself, overridden and locked.

    Raises:
      InputError: for a word without a meaning, or a value that cannot be read.

    Example:
      >>> toy = Command("toy", "Does nothing.", "", add_data_dir, print)
      >>> parse(toy, ["--data_dri=data"])
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: `distill-jax toy` has no option "--data_dri". Did \
you mean "--data_dir"?
    """
    parser = parser_of(command)
    try:
        values, rest = parser.parse_known_args(list(words))
    except argparse.ArgumentError as error:
        raise errors.InputError(_flag_sentence(command, error)) from error
    if "config" in values and values.config is not None:
        from distill_jax.cli import config_files, kinds

        values.config, rest = config_files.load(values.config, rest)
        kinds.check(values.config, command.name, command.kinds)
        if values.data_dir:
            values.config.data.data_dir = values.data_dir
    if rest:
        known = [f"--{name}" for name in vars(values)]
        raise errors.InputError(_word_sentence(command, known, rest[0]))
    return values


def required(values: argparse.Namespace, name: str, example: str) -> Any:
    """Returns the value of a flag that must be passed.

    Args:
      values: from :func:`parse`.
      name: of the flag.
      example: of a value.

    Returns:
      The value.

    Raises:
      InputError: when it was not passed.

    Example:
      >>> required(argparse.Namespace(workdir=None), "workdir", "runs/digits")
      Traceback (most recent call last):
      ...
      distill_jax.errors.InputError: `--workdir` is missing; pass --workdir=runs/digits.
    """
    value = getattr(values, name)
    if not value:
        raise errors.InputError(f"`--{name}` is missing; pass --{name}={example}.")
    return value


def required_path(values: argparse.Namespace, name: str, example: str) -> pathlib.Path:
    """Returns a path that must be passed, as :func:`required` does.

    Args:
      values: from :func:`parse`.
      name: of the flag.
      example: of a value.

    Returns:
      The path.

    Raises:
      InputError: when it was not passed.

    Example:
      >>> required_path(argparse.Namespace(workdir="runs"), "workdir", "runs").name
      'runs'
    """
    return pathlib.Path(required(values, name, example))


def _flag_sentence(command: Command, error: argparse.ArgumentError) -> str:
    """Says what is wrong with the value of a flag."""
    return (
        f"`{error.argument_name}` {error.message}; `{PROGRAM} help {command.name}` "
        "shows what it takes."
    )


def _word_sentence(command: Command, known: list[str], word: str) -> str:
    """Says that a word has no meaning, and which one may have been meant."""
    if not word.startswith("-"):
        return (
            f'The word "{word}" has no meaning here; options begin with two dashes, as '
            "in --workdir=runs/digits."
        )
    name = word.split("=")[0]
    return (
        f'`{PROGRAM} {command.name}` has no option "{name}". '
        f"{errors.nearest(name, known)}"
    )
