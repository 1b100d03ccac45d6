# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Configs of several kinds, each for its command, and folders of earlier versions."""

import json
import pathlib

import former
import pytest

from distill_jax import errors
from distill_jax.cli import finished_run, kinds, main, settings

STUDY = "digits_frepo_against_dm"


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main.main([str(word) for word in words])
    return stop.value.code


def stored(folder, config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def without(config, *names):
    return {name: value for name, value in config.items() if name not in names}


@pytest.mark.parametrize(
    ("command", "config", "right"),
    [
        ("distill", STUDY, "distill-jax study"),
        ("study", "digits_dm", "distill-jax distill"),
        ("distill", "digits100_labels", "distill-jax label"),
        ("label", "digits_dm", "distill-jax distill"),
    ],
)
def test_another_kind_is_refused_naming_the_right_command(
    command, config, right, tmp_path, capsys
):
    assert call(command, f"--config={config}", f"--workdir={tmp_path / 'x'}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"use `{right}`.")
    assert not (tmp_path / "x").exists()


def test_a_kind_that_is_not_known_is_told(capsys):
    words = [f"--config={STUDY}", "--config.kind=studdy", "--workdir=x"]
    assert call("study", *words) == 2
    assert 'Did you mean "study"' in capsys.readouterr().err


def test_every_kind_has_a_command_that_takes_it():
    for kind, command in kinds.COMMANDS.items():
        assert kind in main.command(command).kinds
        assert kind in main.command("plan").kinds


@pytest.mark.parametrize(
    ("command", "config", "kind"),
    [
        ("distill", "digits_dm:runlocal", "study"),
        ("study", STUDY, "distill"),
        ("label", "digits100_labels:runlocal", "distill"),
        ("distill", "digits_dm:runlocal", "label"),
    ],
)
def test_a_folder_of_another_kind_is_refused(command, config, kind, tmp_path, capsys):
    folder = stored(tmp_path / "run", {"kind": kind})
    before = (folder / "config.json").read_text()
    assert call(command, f"--config={config}", f"--workdir={folder}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'is of the kind "{kind}"' in line
    assert f"`distill-jax {kind}`" in line
    assert (folder / "config.json").read_text() == before


def test_a_stored_config_gets_the_fields_that_came_later(tmp_path):
    config = settings.default().to_dict()
    former = without(config, "kind", "precision", "evaluate")
    former["evaluate"] = without(config["evaluate"], "arms")
    former["network"] = {"name": "mlp", "hidden": [8]}
    read = finished_run.stored_config(stored(tmp_path, former))
    assert read.kind == "distill"
    assert read.evaluate.arms
    assert read.precision is None
    assert read.network.to_dict() == {"name": "mlp", "hidden": [8]}


def test_only_what_has_a_default_is_brought_up(tmp_path):
    config = settings.default().to_dict()
    path = stored(tmp_path, without(config, "kind")) / "config.json"
    for changed in ({**config, "seed": 5}, {**config, "new": 1}):
        before = path.read_text()
        kinds.bring_up(tmp_path, changed)
        assert path.read_text() == before  # Whoever claims the folder refuses.
    kinds.bring_up(tmp_path, config)
    assert json.loads(path.read_text()) == json.loads(json.dumps(config))


def test_a_folder_without_a_config_or_with_a_broken_one_is_left_alone(tmp_path):
    kinds.bring_up(tmp_path / "nowhere", settings.default().to_dict())
    (tmp_path / "config.json").write_text("{")
    kinds.bring_up(tmp_path, settings.default().to_dict())
    assert (tmp_path / "config.json").read_text() == "{"


@pytest.mark.slow
def test_a_folder_begun_before_configs_had_a_kind_goes_on_and_reports(tmp_path):
    root = pathlib.Path(__file__).parents[2]
    words = [
        f"--config={root / 'configs' / 'digits_dm.py'}:runlocal",
        "--config.network.width=4",
        "--config.num_steps=2",
        "--config.evaluate.arms=false",
        "--config.protocol.num_steps=5",
        f"--workdir={tmp_path}",
        "--quiet",
    ]
    assert call("distill", *words) == 0
    former.without_digests(tmp_path)
    path = tmp_path / "config.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(without(whole, "kind")))
    page = (tmp_path / "report.html").read_text()
    assert call("report", f"--workdir={tmp_path}") == 0
    assert (tmp_path / "report.html").read_text() == page
    assert call("distill", *words) == 0
    assert json.loads(path.read_text()) == whole


def test_a_config_of_no_kind_is_to_be_distilled():
    assert kinds.kind_of({}) == "distill"
    with pytest.raises(errors.InputError, match='no config of the kind "x"'):
        kinds.kind_of({"kind": "x"})
