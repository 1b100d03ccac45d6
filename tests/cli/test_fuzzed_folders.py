# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run has left meets 200 seeded changes of each of its files.

The files are those of a version without digests, so that whatever is changed is parsed.
A changed folder is reported on, or refused in a sentence; nothing else is raised.
"""

import contextlib
import io
import json
import pathlib
import shutil
import warnings

import former
import mutations
import pytest

from distill_jax import errors
from distill_jax.cli import distill, finished_run, kept_results, settings
from distill_jax.cli import report as report_command
from distill_jax.storage import digests

pytestmark = pytest.mark.long(timeout=1800)
NUM_CHANGES = 200


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = settings.finish(settings.default(), "runlocal")
    config.network = {"name": "mlp", "hidden": (8,)}
    config.num_steps, config.evaluate.arms = 2, False
    config.evaluate.num_curve_points = 1
    folder = tmp_path_factory.mktemp("run")
    distill.run_config(config, folder, progress=False)
    former.without_digests(folder)
    row = {"name": "mlp", "num_parameters": 9, "accuracy_mean": 0.5, "accuracy_sd": 0.1}
    transfer = [row, {**row, "name": "convnet"}]
    (folder / "transfer.json").write_text(json.dumps(transfer))
    return folder


def shown(folder):
    """Reads all of a folder and makes its page; whether it was refused."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            config = finished_run.stored_config(folder)
            gathered = finished_run.contents(folder, config)
            with kept_results.in_sentences(folder):
                report_command.write(gathered, folder)
        except (errors.InputError, errors.NonFiniteError):
            return True
    return False


def changed(path, seed):
    """Changes one file, and what names its digest."""
    content = path.read_bytes()
    if path.suffix == ".npz":
        content = mutations.of_bytes(content, seed)
        document = json.loads(path.with_suffix(".json").read_text())
        document["sha256"] = digests.of_bytes(content)
        path.with_suffix(".json").write_text(json.dumps(document))
    else:
        is_lines = path.suffix == ".jsonl"
        change = mutations.of_lines if is_lines else mutations.of_json
        content = change(content, seed)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "results.json",
        "metrics.jsonl",
        "transfer.json",
        "distilled.json",
        "distilled.npz",
    ],
)
def test_changed_files_are_shown_or_refused_in_a_sentence(finished, tmp_path, name):
    folder = pathlib.Path(shutil.copytree(finished, tmp_path / "run"))
    files = [path for path in finished.iterdir() if path.is_file()]
    assert not shown(folder)
    num_refused = 0
    for seed in range(NUM_CHANGES):
        for path in files:
            shutil.copy(path, folder)
        changed(folder / name, seed)
        num_refused += shown(folder)
    assert num_refused > NUM_CHANGES // 20
