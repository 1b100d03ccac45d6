# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every file of a run is changed: the right result, or a sentence; never another one.

The counts of docs/reliability.md are what this prints with ``-s``.
"""

import collections
import contextlib
import io
import json
import logging
import pathlib
import random
import shutil
import warnings

import jax
import mutations
import numpy as np
import pytest
import toy

import distill_jax as dj
from distill_jax import errors, runtime
from distill_jax.cli import main
from distill_jax.runtime import logging as logs

pytestmark = pytest.mark.long(timeout=3600)

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "digits_frepo.py"
TINY = [
    f"--config={CONFIG}:runlocal",
    "--config.num_steps=4",
    "--config.checkpoint_every=2",
    "--config.log_every=1",
    "--config.network.hidden=(8,)",
    "--config.method.batch_size=32",
    "--config.evaluate.arms=False",
    "--config.evaluate.num_curve_points=1",
    "--config.protocol.num_steps=12",
    "--config.protocol.warmup_steps=2",
    "--quiet",
]
PARTS = ("finished", "unfinished", "experts")
NUM = {"finished": 250, "unfinished": 190, "experts": 60}


def attempt(fn):
    """What came of it: "ok", "refused" or "traceback"; the value; what was said."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger("distill_jax").addHandler(handler)
    with (
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(said),
    ):
        warnings.simplefilter("always")
        try:
            kind, value = "ok", fn()
        except errors.InputError as error:
            kind, value = "refused", str(error)
        except SystemExit as stop:
            kind, value = "ok" if stop.code == 0 else "refused", None
            if stop.code not in (0, 2, 3):
                kind, value = "traceback", f"code {stop.code}"
        except Exception as error:
            kind, value = "traceback", f"{type(error).__name__}: {error}"
        finally:
            logging.getLogger("distill_jax").removeHandler(handler)
    told = [str(each.message) for each in caught if each.category is UserWarning]
    text = said.getvalue() + "\n".join(told)
    return ("traceback" if "Traceback" in text else kind), value, text.strip()


def outcome(fn, right):
    """How an attempt ends, if nobody had changed anything it is ("ok", right)."""
    kind, value, told = attempt(fn)
    if kind != "ok":
        return kind, value or told
    if value == right:
        return "right", ""
    return ("told" if told else "silently wrong"), told


def mutate(path, seed):
    """Changes a file as a disk or a hand may."""
    rng = random.Random(seed)
    content = path.read_bytes()
    kind = rng.choice(("bytes", "bytes", "value", "removed", "emptied"))
    if kind == "removed":
        path.unlink()
    elif kind == "emptied":
        path.write_bytes(b"")
    elif kind == "value" and path.suffix == ".json":
        path.write_bytes(mutations.of_json(content, seed))
    elif kind == "value" and path.suffix == ".jsonl":
        path.write_bytes(mutations.of_lines(content, seed))
    else:
        path.write_bytes(mutations.of_bytes(content, seed))


def tried(origin, folder, num, attempts):
    """Changes one file after another in a copy and counts what comes of it."""
    names = sorted(path.relative_to(origin) for path in origin.rglob("*"))
    names = [name for name in names if (origin / name).is_file()]
    counts, bad = collections.Counter(), []
    for number in range(num):
        name = names[number % len(names)]
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(origin, folder)
        mutate(folder / name, number)
        for do, fn, right in attempts:
            kind, what = outcome(fn, right)
            counts[f"{do}: {kind}"] += 1
            if kind in ("traceback", "silently wrong"):
                bad.append(f"{number} {name}, {do}: {kind} {what}"[:300])
    return counts, bad


def command(*words):
    main.main([str(word) for word in words])


def without_times(document):
    if isinstance(document, dict):
        left = {"seconds", "compile_seconds", "run_seconds", "environment"}
        return {k: without_times(v) for k, v in document.items() if k not in left}
    if isinstance(document, list):
        return [without_times(each) for each in document]
    return document


def result_of(workdir):
    """All that a finished run says, but for the times it took."""
    stored = dj.DistilledSet.load(workdir)
    results = json.loads((workdir / "results.json").read_text())
    return json.dumps(
        [
            stored.x.tolist(),
            stored.y.tolist(),
            json.loads((workdir / "config.json").read_text()),
            *map(without_times, (stored.recipe, stored.data, stored.config)),
            without_times(stored.results),
            {k: without_times(v) for k, v in results.items() if k != "facts_sha256"},
            without_times(logs.read_rows(workdir / "metrics.jsonl")),
        ]
    )


def finished(root, num):
    """Of a run of the command line: its report, and the same command again."""
    folder, origin = root / "run", root / "origin"
    words = ["distill", *TINY, f"--workdir={folder}"]
    again = ["report", f"--workdir={folder}"]
    networks = '--network=["mlp", {"name": "mlp", "hidden": [4]}]'
    for each in (
        words,
        ["evaluate", f"--distilled={folder}", "--num_runs=1", networks],
        again,
    ):
        assert attempt(lambda each=each: command(*each))[0] == "ok"
    shutil.copytree(folder, origin)
    right = result_of(folder)

    def the_report():
        try:
            command(*again)
        except SystemExit as stop:
            if stop.code:
                raise
        return (folder / "report.html").read_text()

    def the_command():
        try:
            command(*words)
        except SystemExit as stop:
            if stop.code:
                raise
        return result_of(folder)

    page = (folder / "report.html").read_text()
    attempts = [("report", the_report, page), ("command", the_command, right)]
    return tried(origin, folder, num, attempts)


def unfinished(root, num):
    """Of a run that died between two checkpoints: the same run again."""
    folder, origin = root / "run", root / "origin"
    recipe, dies = toy.recipe(), [False]

    def evaluate(step, synthetic):
        if dies[0] and step == 18:
            raise RuntimeError("the power went off")
        return toy.evaluate(step, synthetic)

    def run():
        state, history = runtime.run(
            recipe,
            toy.DATA,
            num_steps=20,
            key=jax.random.key(0),
            checkpoint_every=5,
            evaluation=runtime.EvaluationOptions(evaluate, 6),
            logging=runtime.LoggingOptions(log_every=1),
            workdir=folder,
            config={"name": "toy", "rate": 0.1},
        )
        rows = toy.without_times(logs.read_rows(folder / "metrics.jsonl"))
        return [leaf.tobytes() for leaf in toy.leaves(state)], history.step.size, rows

    right = run()
    shutil.rmtree(folder)
    dies[0] = True
    with pytest.raises(RuntimeError, match="power"):
        run()
    dies[0] = False
    shutil.copytree(folder, origin)
    return tried(origin, folder, num, [("run", run, right)])


def experts(root, num):
    """Of a folder of experts: the buffer again."""
    folder, origin = root / "experts", root / "origin"
    digits = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(4,)), digits.spec)
    plan = dj.experts.ExpertPlan(num_experts=3, num_epochs=2)

    def make():
        buffer = dj.experts.make_buffer(plan, task, digits, folder=folder)
        arrays = [np.array(one).tobytes() for one in buffer.snapshots]
        return arrays, buffer.accuracy.tolist(), buffer.entropy.tolist()

    right = make()
    shutil.copytree(folder, origin)
    return tried(origin, folder, num, [("buffer", make, right)])


@pytest.mark.parametrize("part", PARTS)
def test_no_change_of_a_file_gives_another_result_or_a_traceback(part, tmp_path):
    counts, bad = globals()[part](tmp_path, NUM[part])
    print(part, NUM[part], dict(sorted(counts.items())))
    assert not bad, "\n".join(bad)
