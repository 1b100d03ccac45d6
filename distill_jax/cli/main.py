# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: ``distill-jax COMMAND``, each command a file of this folder.

What a person can get wrong ends in one sentence on stderr and exit code 2. A loss that
is no longer finite, a run that no longer moves and networks that all diverge end in 3,
the loss of another process of the run in 4, failed cells of a study in 5. What was
interrupted exits with 128 plus the signal; the same command resumes it.
"""

import atexit
import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from distill_jax import errors
from distill_jax.cli import flags, interruptions

__all__ = ["COMMANDS", "command", "main"]

# Files of this folder with a record `COMMAND`, in the order of `distill-jax help`.
COMMANDS = [
    "distill",
    "plan",
    "evaluate",
    "report",
    "label",
    "study",
    "completion",
]

_HEAD = """\
distill_jax: shrink a training set to a few examples that teach.

"""
_TAIL = """
`distill-jax help COMMAND` shows the options of a command, and examples:

  distill-jax distill --config=digits_frepo --workdir=runs/digits

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
    if argv is not None:
        sys.exit(_run(list(argv)))
    ended: list[int] = []
    atexit.register(_leave, ended)  # Before all others, so it is called after them.
    ended.append(_run(sys.argv[1:]))
    interruptions.speak_on_the_way_out(flags.PROGRAM)
    if ended[0] > 128:
        # A thread of XLA may still be at work, and Python's way out ends under it.
        _leave(ended)
    sys.exit(ended[0])


def _leave(ended: Sequence[int]) -> None:
    """Ends the process with the code of its command, if that has ended.

    What Python does after all that was registered for its end takes a while, and a
    signal meanwhile says nothing.
    """
    for code in ended:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)


def command(name: str) -> flags.Command:
    """Returns the record of a command.

    Args:
      name: as it is called.

    Returns:
      Its :class:`~distill_jax.cli.flags.Command`.

    Raises:
      InputError: when there is no such command.

    Example:
      >>> command("plan").summary
      'Tells what a run or a study will take: time, memory, disk.'
    """
    if name not in COMMANDS:
        hint = errors.nearest(name, COMMANDS)
        raise errors.InputError(f'There is no command "{name}". {hint}')
    return importlib.import_module(f"distill_jax.cli.{name}").COMMAND


def _run(words: list[str]) -> int:
    """Runs one command; returns the exit code."""
    try:
        if not words or words[0] == "help" or {"--help", "-h"} & set(words):
            return _help(words)
        record = command(words[0])
        stops = interruptions.ending_in_a_sentence(flags.PROGRAM, record.resumes)
        with stops:
            record.run(flags.parse(record, words[1:]))
    except errors.NonFiniteError as error:
        return _complain(error, 3)
    except errors.InputError as error:
        return _complain(error, 2)
    except errors.FailedCellsError as error:
        return _complain(error, 5)
    except errors.LostProcessError as error:
        _complain(error, 4)
        sys.stderr.flush()
        os._exit(4)  # The usual way out waits for the others.
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # As `head` did.
    except KeyboardInterrupt as stop:
        return _complain(stop, 128 + getattr(stop, "signum", signal.SIGINT))
    return 0


def _help(words: list[str]) -> int:
    """Prints the help of a command, or the table of all."""
    names = [word for word in words if word != "help" and not word.startswith("-")]
    if names:
        print(flags.parser_of(command(names[0])).format_help(), end="")
        return 0
    width = max(map(len, COMMANDS)) + 2
    rows = [f"  {name:{width}}{command(name).summary}\n" for name in COMMANDS]
    print(_HEAD + "".join(rows) + _TAIL, end="")
    return 0 if words else 2


def _complain(error: BaseException, code: int) -> int:
    print(f"{flags.PROGRAM}: {str(error) or 'Interrupted.'}", file=sys.stderr)
    return code
