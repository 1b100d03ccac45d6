# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Readers of what the library has written meet 200 seeded changes of each file.

Where digests are as they were, nothing is read as something else. Where they are made
again for what was changed, as a hand can, it is read or refused in a sentence.
"""

import json
import os

import fuzzing
import jax.numpy as jnp
import mutations
import numpy as np
import pytest

import distill_jax as dj
from distill_jax.cli import evaluate, finished_run, kept_results, outputs
from distill_jax.compute import trace_cache
from distill_jax.experts import files
from distill_jax.runtime import checkpoint, workdir
from distill_jax.runtime import logging as logs
from distill_jax.storage import digests, json_files, private
from distill_jax.studies import records

CONFIG = {"kind": "distill", "seed": 3, "data": {"name": "digits"}, "rate": 0.5}
RUN = {
    "data": {
        **{"name": "digits", "data_dir": None, "normalization": "auto"},
        **{"validation_fraction": 0.1, "max_per_class": None},
    }
}


def resealed(path, content):
    """The content with the digests that fit it, where it can have some."""
    if path.suffix == ".npz":
        beside = path.with_suffix(".json")
        document = json.loads(beside.read_text())
        document["sha256"] = digests.of_bytes(content)
        beside.write_text(json.dumps(digests.sealed(document)))
    elif path.suffix == ".npy":
        beside = path.with_name("experts.json")
        document = json.loads(beside.read_text())
        document["experts"][path.stem]["sha256"] = digests.of_bytes(content)
        beside.write_text(json.dumps(digests.sealed(document)))
    elif path.suffix in (".json", ".jsonl"):
        ends = b"\n" if path.suffix == ".jsonl" else b""
        lines = content.split(ends) if ends else [content]
        content = ends.join(_resealed_document(line) for line in lines)
    return content


def _resealed_document(content):
    try:
        document = json.loads(content)
        return json.dumps(digests.sealed(document)).encode()
    except (ValueError, TypeError, IndexError, RecursionError):
        return content


def changing(path, *, is_resealed=False):
    """A function that changes a file by a seed, and gives one that puts all back."""
    files = [each for each in path.parent.iterdir() if each.is_file()]
    before = {each: each.read_bytes() for each in files}
    change = {".json": mutations.of_json, ".jsonl": mutations.of_lines}

    def changed(seed):
        content = change.get(path.suffix, mutations.of_bytes)(before[path], seed)
        path.write_bytes(resealed(path, content) if is_resealed else content)

        def undo():
            for each in [*path.parent.iterdir()]:
                if each.is_file() and each not in before:
                    each.unlink()
            for each, content in before.items():
                each.write_bytes(content)

        return undo

    return changed


def as_words(*values):
    """Values with all their digits; arrays by the digest of their bytes."""

    def plain(value):
        array = np.asarray(value)
        return str(array.dtype), array.shape, digests.of_array(array)

    return json.dumps(values, default=plain)


def experts(folder):
    """A buffer; experts that it lacks are trained again."""
    digits = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(2,)), digits.spec)
    plan = dj.experts.ExpertPlan(num_experts=2, num_epochs=2)
    dj.experts.make_buffer(plan, task, digits, folder=folder)
    facts = files.facts_of(plan, task, digits)

    def read():
        rows = files.read_rows(folder, facts, plan)
        if set(rows) != {files.expert_name(expert) for expert in range(2)}:
            raise dj.InputError("It is trained again.")
        arrays = [files.read_snapshots(folder, each, plan, 160) for each in range(2)]
        return as_words(arrays, rows, files.read_contexts(task, [*rows.values()]))

    return read


def stored(folder):
    """A set with all that says how it is evaluated."""
    digits = dj.data.load("digits", validation_fraction=0.1)
    dj.DistilledSet(
        x=np.linspace(0, 1, 640, dtype=np.float32).reshape(10, 8, 8, 1),
        y=np.eye(10),
        weight=np.ones(10),
        learning_rate=0.01,
        normalizer=digits.spec.normalizer._asdict(),
        recipe={
            "network": {"name": "mlp", "hidden": [4], "num_classes": 10},
            "protocol": {"num_steps": 5, "batch_size": 10, "learning_rate": 0.1},
        },
        data_fingerprint=digits.spec.fingerprint,
        data={"name": "digits"},
        config=RUN,
    ).save(folder)

    def read():
        found, _, protocol = evaluate._load_both(folder, None, None)
        with evaluate._reading(folder):
            dj.nets.build(found.recipe["network"])
        return as_words(
            *(found._arrays(), found.recipe, found.config, found.data),
            *(found.targets, found.data_fingerprint, str(protocol)),
        )

    return read


def cells(folder):
    with records.opened(folder) as log:
        for number in range(4):
            digest = f"d{number}"
            fields = {"n": number}, number, 2.5, 1.0, "c"
            rows = [{"accuracy": 0.5 + number / 10, "words": "a"}]
            log.add(records.Record(digest, f"cell {number}", *fields, rows=rows))
    whole = records.read(folder)

    def read():
        with records.opened(folder) as log:
            if log.records != whole and log.records.items() <= whole.items():
                raise dj.InputError("Cells that are gone run again.")
            return as_words(log.records)

    return read


def a_checkpoint(folder):
    kept = checkpoint.Checkpoints(folder)
    state = {"x": np.arange(12.0), "key": np.arange(2, dtype=np.uint32)}
    kept.save(1, state, facts={"step": 1})

    def read():
        kept.check(1)
        return as_words(kept.restore(state, 1), kept.facts(1))

    return read


def a_config(folder):
    workdir.claim(folder, CONFIG)
    return lambda: finished_run.stored_config(folder).to_json()


def a_claim(folder):
    workdir.claim(folder, CONFIG)

    def read():
        workdir.claim(folder, CONFIG)
        return (folder / "config.json").read_text()

    return read


def results(folder):
    outputs.write_json(folder / "results.json", {"arms": [{"name": "a", "mean": 0.5}]})
    return lambda: as_words(kept_results.read(folder))


def judging(folder):
    row = {"name": "a", "seconds": 2.5, "is_distilled": True}
    record = {"row": row, "runs": [0.5], "compile_seconds": 1.0}
    content = {"set_sha256": "d", "arms": {"a": {**record, "settings": {"num": 2}}}}
    outputs.write_json(folder / "judging.json", content)

    def read():
        found = kept_results.read_judging(folder)
        if not found:  # It is damaged, and the arms are trained again.
            raise dj.InputError("A warning says so.")
        return as_words(found)

    return read


def transfer(folder):
    rows = json.dumps([{"name": "mlp", "accuracy_mean": 0.5}])
    files = json_files.with_digest(folder / "transfer.json", rows)
    for path, content in files.items():
        path.write_bytes(content)
    return lambda: as_words(json_files.read(folder / "transfer.json", advice="again"))


def journal(folder):
    written = logs.Journal(folder, last_step=None)
    written.write([{"step": n, "loss": 1 / n, "metrics": {}} for n in range(1, 9)])
    extent = written.extent

    def read():
        logs.check_extent(folder / "metrics.jsonl", extent)
        return as_words(logs.read_rows(folder / "metrics.jsonl"))

    return read


def history(folder):
    journal(folder)
    return lambda: as_words(logs.read_rows(folder / "metrics.jsonl"))


def traced(folder):
    """A program that was kept; a damaged one is traced anew."""
    cache = trace_cache.TraceCache(folder / "traced", "of a config")
    leaves = [jnp.ones(3)]
    cache.program("double", lambda x: {"twice": 2 * x}, tuple(leaves))
    path = path_of(folder, "traced/*")

    def read():
        program = trace_cache._program(private.read(path), leaves, ())
        if program is None:
            raise dj.InputError("It is traced anew.")
        return program.exported.mlir_module()

    return read


def a_former(make, *digests_of_it):
    """A reader of what an earlier version has left, without digests."""

    def made(folder):
        read = make(folder)
        for name in digests_of_it:
            (folder / name).unlink()
        return read

    return made


READERS = {
    "experts.json": (experts, "experts.json"),
    "an expert": (experts, "expert_0001.npy"),
    "distilled.json": (stored, "distilled.json"),
    "distilled.npz": (stored, "distilled.npz"),
    "cells.jsonl": (cells, "cells.jsonl"),
    "manifest of a checkpoint": (a_checkpoint, "step_1/manifest.json"),
    "arrays of a checkpoint": (a_checkpoint, "step_1/*/*/d/*"),
    "config.json": (a_config, "config.json"),
    "config.json, by its run": (a_claim, "config.json"),
    "results.json": (results, "results.json"),
    "judging.json": (judging, "judging.json"),
    "transfer.json": (transfer, "transfer.json"),
    "metrics.jsonl": (journal, "metrics.jsonl"),
    "a traced program": (traced, "traced/*"),
}
RESEALED = {
    **{name: READERS[name] for name in (*READERS,)[:6]},
    **{name: READERS[name] for name in ("results.json", "judging.json")},
    "config.json": (a_former(a_config, "config.json.sha256"), "config.json"),
    "config.json, by its run": (
        a_former(a_claim, "config.json.sha256"),
        "config.json",
    ),
    "transfer.json": (a_former(transfer, "transfer.json.sha256"), "transfer.json"),
    "metrics.jsonl": (history, "metrics.jsonl"),
}


def path_of(folder, name):
    return next(path for path in sorted(folder.glob(name)) if path.is_file())


@pytest.fixture(autouse=True)
def nothing_waits_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.mark.parametrize("name", READERS)
def test_changed_files_are_refused_or_read_as_they_were(name, tmp_path):
    make, file = READERS[name]
    read = make(tmp_path)
    change = changing(path_of(tmp_path, file))
    is_mended = name.endswith("by its run")
    fuzzing.check(name, read, change, has_digest=True, is_mended=is_mended)


@pytest.mark.parametrize("name", RESEALED)
def test_changed_files_with_new_digests_are_read_or_refused(name, tmp_path):
    make, file = RESEALED[name]
    read = make(tmp_path)
    change = changing(path_of(tmp_path, file), is_resealed=True)
    fuzzing.check(f"{name}, digests made again", read, change)
