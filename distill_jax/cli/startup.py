# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What happens before a command computes: caches, devices, other processes."""

import argparse

from distill_jax import errors
from distill_jax.cli import flags

__all__ = ["add_flags", "join", "prepare"]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what a command needs that several processes run together.

    Args:
      parser: of the command.

    Example:
      >>> parser = argparse.ArgumentParser()
      >>> add_flags(parser)
      >>> parser.parse_args(["--distributed"]).patience
      100
    """
    group = parser.add_argument_group(
        "several processes",
        "The same command runs in each. --distributed is enough on a TPU pod slice\n"
        "and under Slurm; elsewhere pass --coordinator, --num_processes and\n"
        "--process_id.",
    )
    group.add_argument(
        "--distributed", action="store_true", help="one of several processes"
    )
    group.add_argument(
        "--coordinator", metavar="HOST:PORT", help="where the first process listens"
    )
    group.add_argument(
        "--num_processes", type=flags.number(1), metavar="N", help="how many there are"
    )
    group.add_argument(
        "--process_id", type=flags.number(0), metavar="N", help="of this one, from 0"
    )
    group.add_argument(
        "--patience",
        type=flags.number(1),
        default=100,
        metavar="SECONDS",
        help="after which a silent process counts as lost (%(default)s)",
    )


def prepare() -> None:
    """Sets jax up. What needs it is loaded late, so that mistakes are told at once.

    Example:
      >>> prepare()
    """
    from distill_jax import compute

    compute.compile_cache.keep_compiled()
    compute.devices.split_cpu()


def join(values: argparse.Namespace) -> bool:
    """Joins the other processes where there are some.

    Args:
      values: of a command that has the flags of :func:`add_flags`.

    Returns:
      Whether this is the first process.

    Raises:
      InputError: when flags are missing.

    Example:
      >>> parser = argparse.ArgumentParser()
      >>> add_flags(parser)
      >>> join(parser.parse_args([]))
      True
    """
    address = values.coordinator, values.num_processes, values.process_id
    if not values.distributed and address == (None, None, None):
        return True
    if not values.distributed and None in address:
        raise errors.InputError(
            "Several processes need --coordinator=HOST:PORT, --num_processes and "
            "--process_id together; on a TPU pod slice or under Slurm --distributed "
            "finds all three."
        )
    from distill_jax.cli import interruptions
    from distill_jax.compute import processes

    interruptions.wait_for_others()
    return processes.join(*address, patience=values.patience)
