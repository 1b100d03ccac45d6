# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kills work at random moments, or before each operation on the disk, and repeats it.

``python crashes.py KIND NUM FOLDER`` prints how often a process was killed, at how many
operations at most, and how often the repeated work came to another result. The parent
only imports: a child that is forked from it begins at once, and may be killed.
"""

import hashlib
import json
import os
import pathlib
import random
import signal
import sys
import time

import jax
import toy

import distill_jax as dj
from distill_jax import errors, runtime
from distill_jax.experts import files
from distill_jax.runtime import logging
from distill_jax.storage import distilled

EVENTS = {
    *("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"),
    *("os.link", "shutil.rmtree", "shutil.move"),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def digest(*parts):
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part if isinstance(part, bytes) else json.dumps(part).encode())
    return whole.hexdigest()


def run(folder, num_steps=80, every=4, num_inner=100_000):
    """A run with noise, Adam, keys and counters inside; its state and its rows."""
    state, _ = runtime.run(
        toy.recipe(num_inner),
        toy.DATA,
        num_steps=num_steps,
        key=jax.random.key(toy.KEY_SEED),
        checkpoint_every=every,
        evaluation=runtime.EvaluationOptions(toy.evaluate, 18),
        logging=runtime.LoggingOptions(log_every=1),
        workdir=folder,
        config={"name": "crashes"},
    )
    rows = toy.without_times(logging.read_rows(folder / "metrics.jsonl"))
    return digest(*(leaf.tobytes() for leaf in toy.leaves(state)), rows)


def short_run(folder):
    return run(folder, num_steps=4, every=2, num_inner=100)


def buffer(folder):
    digits = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(4,)), digits.spec)
    plan = dj.experts.ExpertPlan(num_experts=2, num_epochs=1)
    made = dj.experts.make_buffer(plan, task, digits, folder=folder)
    read = files.read_rows(folder, files.facts_of(plan, task, digits), plan)
    return digest(*(one.tobytes() for one in made.snapshots), read)


def save(folder):
    """A set over another; what is read is whole, and in the end the second one."""
    before = distilled.DistilledSet([[1.0]], [[1.0]], results={"value": 1})
    after = distilled.DistilledSet([[2.0]], [[1.0]], results={"value": 2})
    folder.mkdir(exist_ok=True)
    if not (folder / "distilled.json").exists():
        before.save(folder)
    stored = distilled.DistilledSet.load(folder)
    assert stored.x.item() == stored.results["value"]
    after.save(folder)
    return digest(distilled.DistilledSet.load(folder).results)


def in_child(work, folder, *, at=None, after=None):
    """The result of the work in a child; None if it was killed meanwhile.

    Args:
      work: takes the folder.
      folder: of the work.
      at: the number of the operation on the disk before which it is killed.
      after: seconds after which it is killed.
    """
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        count = 0

        def hook(event, args):
            nonlocal count
            if event not in EVENTS or not str(args[0]).startswith(str(folder)):
                return
            if event == "open" and not (args[2] or 0) & WRITING:
                return
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            text = work(folder)
        except errors.InputError as error:
            text = f"refused: {error}"
        except BaseException as error:
            text = f"traceback: {type(error).__name__}: {error}"
        os.write(write, f"{count} {text}".encode())
        os._exit(0)
    os.close(write)
    if after is not None:
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said.split(" ", 1)[1] if said else None


def kills(num, root):
    """Kills a run so often, at random moments, again and again until it ends."""
    dice = random.Random(0)
    right = in_child(run, root / "whole")
    start = time.monotonic()
    in_child(run, root / "again")
    seconds = time.monotonic() - start
    num_killed, num_ended, others, number = 0, 0, [], 0
    while num_killed < num or number:
        folder = root / f"run_{num_ended}"
        after = dice.uniform(0, seconds) if num_killed < num else None
        result = in_child(run, folder, after=after)
        number += 1
        if result is None:
            num_killed += 1
            continue
        num_ended, number = num_ended + 1, 0
        if result != right:
            others.append(result[:300])
    return {"killed": num_killed, "ended": num_ended, "others": others}


def points(work, num, root):
    """Kills work before its operations on the disk, all of them or `num` spread out."""
    right = in_child(work, root / "whole")
    last = 1
    while in_child(work, root / f"probe_{last}", at=last) is None:
        last *= 2
    low, high = last // 2, last  # It is killed before `low`, no longer before `high`.
    while high - low > 1:
        middle = (low + high) // 2
        is_killed = in_child(work, root / f"probe_{middle}_", at=middle) is None
        low, high = (middle, high) if is_killed else (low, middle)
    chosen = sorted({1 + i * (low - 1) // max(1, num - 1) for i in range(num)})
    others = []
    for at in chosen:
        folder = root / f"at_{at}"
        killed = in_child(work, folder, at=at)
        result = in_child(work, folder)
        if killed is not None or result != right:
            others.append(f"{at}: {killed} {result}"[:300])
    return {"operations": low, "killed": len(chosen), "others": others}


def main():
    kind, num, root = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    works = {"run": short_run, "buffer": buffer, "save": save}
    told = kills(num, root) if kind == "kills" else points(works[kind], num, root)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
