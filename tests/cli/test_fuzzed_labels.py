# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run that labels images has left meets seeded changes of each of its files.

The files have no digests, so that whatever is changed is parsed. The same command makes
a folder whole or refuses it in a sentence, and so does ``report``.
"""

import contextlib
import io
import pathlib
import shutil
import warnings

import former
import mutations
import pytest

from distill_jax.cli import label_report, main

pytestmark = pytest.mark.long(timeout=1800)
NUM_CHANGES = 40
TINY = [
    "--config=digits100_labels:runlocal",
    "--quiet",
    "--config.data.name=digits",
    "--config.network.hidden=(8,)",
    "--config.experts.num_epochs=2",
    "--config.experts.num_experts=1",
    "--config.labels.epochs=(1, 2)",
    "--config.labels.temperatures=(1.0, 3.0)",
    "--config.protocol.num_steps=5",
    "--config.evaluate.arms=False",
    "--config.num_devices=1",
]


def call(*words):
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SystemExit) as stop:
            main.main([str(word) for word in words])
    return stop.value.code


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels") / "run"
    assert call("label", *TINY, f"--workdir={folder}") == 0
    for name in ("choice.json", "results.json", "distilled.json"):
        former.without_seal(folder / name)
    (folder / "config.json.sha256").unlink()
    return folder


def codes(finished, folder, name, *words):
    """What a command says of each change of a file."""
    for seed in range(NUM_CHANGES):
        shutil.rmtree(folder, ignore_errors=True)
        path = pathlib.Path(shutil.copytree(finished, folder)) / name
        path.write_bytes(mutations.of_json(path.read_bytes(), seed))
        yield call(*words, f"--workdir={folder}")


@pytest.mark.parametrize("name", ["results.json", "distilled.json", "config.json"])
def test_changed_files_are_shown_or_refused_in_a_sentence(finished, tmp_path, name):
    found = list(codes(finished, tmp_path / "run", name, "report"))
    assert set(found) == {0, 2}


@pytest.mark.parametrize("name", ["choice.json", "results.json", "distilled.json"])
def test_the_same_command_makes_a_changed_folder_whole(
    finished, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(label_report, "write", lambda *args: None)
    found = list(codes(finished, tmp_path / "run", name, "label", *TINY))
    assert set(found) <= {0, 2}
    assert found.count(0) > NUM_CHANGES // 2
