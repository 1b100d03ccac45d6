# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Saves a set over an older one in processes that are killed, each a step later.

Prints, for each step on the disk before which a process was killed, what can be read
then: ``["whole", value]`` or ``["refused", sentence]``.
"""

import json
import os
import pathlib
import signal
import sys

import numpy as np

from distill_jax import errors
from distill_jax.storage import distilled

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")


def set_of(value):
    x, y = np.full((4, 6), value), np.repeat(np.eye(2), 2, axis=0)
    return distilled.DistilledSet(x=x, y=y, results={"value": value})


def is_killed(number, folder):
    """Saves in a child; whether it had so many steps to be killed before."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    count = 0

    def hook(event, args):
        nonlocal count
        if event not in STEPS or not str(args[0]).startswith(str(folder)):
            return
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        if event == "open" and not (args[2] or 0) & writing:
            return
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    set_of(2.0).save(folder)
    os._exit(0)


def read(folder):
    try:
        stored = distilled.DistilledSet.load(folder)
    except errors.InputError as error:
        return "refused", str(error)
    values = {*stored.x.ravel().tolist(), stored.results["value"]}
    return "whole", sorted(values)


def main(root):
    outcomes = []
    while True:
        folder = root / f"{len(outcomes):02d}"
        folder.mkdir()
        set_of(1.0).save(folder)
        if not is_killed(len(outcomes) + 1, folder):
            break
        outcomes.append([read(folder), read(folder)])
        set_of(3.0).save(folder)
        assert read(folder) == ("whole", [3.0])
        assert not list(folder.glob(".*.renames"))
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
