# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `plan`: what a config will take."""

import pytest

from distill_jax.cli import experiment, main, plan, settings

TINY = {"name": "mlp", "hidden": (8,)}


def tiny_config(method: dict):
    config = settings.finish(settings.default(), "runlocal")
    config.network = TINY
    config.method = method
    return config


def test_a_plan_trains_no_experts(monkeypatch):
    config = tiny_config(
        {
            "name": "mtt",
            "num_student_steps": 2,
            "num_expert_epochs": 1,
            "last_start": 2,
            "learning_rate": 1.0,
            "rate_learning_rate": 1e-5,
            "initial_rate": 0.05,
            "experts": {"num_experts": 3},
        }
    )
    monkeypatch.setattr("distill_jax.experts.make_buffer", None)
    found = plan.preview_of(experiment.build(config))
    assert found.expert_seconds > 0
    assert found.forecast.run_seconds > 0
    assert found.evaluate_seconds > 0
    lines = plan.to_lines(found, [])
    assert "unless they are there" in "\n".join(lines)
    num_parameters = 65 * 8 + 9 * 10
    assert found.expert_bytes == 3 * 3 * num_parameters * 4  # 3 epochs of 3 experts.
    assert lines[-1].startswith("disk        about 1")
    assert lines[-1].endswith("where the experts are kept")


def test_alternatives_take_less():
    config = tiny_config(
        {"name": "bptt", "num_inner_steps": 8, "batch_size": 64, "remat": "none"}
    )
    told = plan.preview_of(experiment.build(config), memory_bytes=1).forecast
    found = plan.alternatives(config)
    assert {each.override.split("=")[0] for each in found} >= {
        "--config.method.remat",
        "--config.method.batch_size",
    }
    assert found[0].peak_bytes < told.peak_bytes
    assert [each.peak_bytes for each in found] == sorted(e.peak_bytes for e in found)


def test_the_command(capsys):
    words = ["plan", "--config=configs/digits_frepo.py:runlocal"]
    with pytest.raises(SystemExit) as stop:
        main.main([*words, "--memory_gib=0.0001"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert "does not fit" in told
    assert "--config.method.num_networks" in told


def test_the_command_without_a_config(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["plan"])
    assert stop.value.code == 2
    assert "--config" in capsys.readouterr().err
