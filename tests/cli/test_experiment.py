# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a config to an experiment, after which nobody reads the config."""

import ast
import dataclasses
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax import DistilledSet, data, errors
from distill_jax.cli import distill, evaluate, experiment, finished_run, settings

CLI = pathlib.Path(experiment.__file__).parent
# What comes before `build`: functions that make a config, or read one to change it.
BEFORE = {
    "data_sets.load_for": set(),
    "distill.run_config": set(),
    "label.tell": {"images", "teacher"},
    "label_report.load_data": set(),
    "plan.alternatives": {"method", "copy_and_resolve_references"},
    "report._report_labels": {"to_dict"},
    "report._run": {"data"},
    "finished_run.contents": set(),
    "study.build": {"data", "study", "title"},
    "study._run": {"to_dict"},
}


def tiny():
    config = settings.finish(settings.default(), "runlocal")
    config.network = {"name": "mlp", "hidden": (8,)}
    config.num_steps, config.evaluate.arms = 2, False
    config.evaluate.num_curve_points = 0
    return config


def reads_of_a_config(path: pathlib.Path) -> dict[str, set[str]]:
    """For each function that has a `config`, the fields it reads."""
    found = {}
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef):
            continue
        names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
        names |= {argument.arg for argument in function.args.args}
        if names & {"config", "changed"}:
            found[f"{path.stem}.{function.name}"] = {
                node.attr
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "config"
            }
    return found


@pytest.mark.parametrize(
    "path",
    sorted(
        set(CLI.glob("*.py"))
        - {
            CLI / f"{name}.py"
            for name in (
                "completion",
                "config_files",
                "experiment",
                "kinds",
                "labelling",
                "problems",
                "settings",
                "shrinking",
            )
        }
    ),
    ids=lambda path: path.stem,
)
def test_no_function_after_build_has_a_config(path):
    for name, fields in reads_of_a_config(path).items():
        if not name.endswith("._run"):
            assert name in BEFORE
        assert fields <= BEFORE.get(name, set()), name


def test_an_experiment_carries_what_comes_after():
    config = tiny()
    config.seed, config.log_every, config.tensorboard = 7, 3, True
    config.method = {"name": "dm", "factor": 2}
    config.num_steps = 50
    built = experiment.build(config)
    assert (built.seed, built.log_every, built.use_tensorboard) == (7, 3, True)
    assert built.checkpoint_every == 5
    assert built.num_images == 4 * config.num_per_class
    assert built.summary.title == "dm on digits"
    assert built.summary.num_steps == 50
    assert built.summary.config == config.to_dict()
    assert built.evaluation.num_runs == 2
    assert not built.evaluation.use_arms
    assert built.evaluation.expert.num_epochs == 2
    config.seed, config.method.name = 8, "dsa"
    assert built.summary.config["seed"] == 7
    assert built.summary.config["method"]["name"] == "dm"


def test_the_report_of_a_run_does_not_load_its_data_again(tmp_path, monkeypatch):
    built = experiment.build(tiny())
    monkeypatch.setattr(data, "load", None)
    distill.run_experiment(built, tmp_path, progress=False)
    gathered = finished_run.gather(tmp_path, built.summary, built.dataset)
    assert gathered.title == "dm on digits"
    assert gathered.real_images is not None
    monkeypatch.undo()
    again = finished_run.contents(tmp_path, finished_run.stored_config(tmp_path))
    assert again.facts == gathered.facts
    assert (again.real_images == gathered.real_images).all()


def test_a_config_that_bends_is_refused():
    config = tiny()
    config.method = {"name": "dm", "bend": "short_gradients"}
    with pytest.raises(errors.InputError, match=r"call `dj.methods.dm\(..., bend"):
        experiment.build(config)


def test_a_part_of_the_training_data_is_kept_by_class_and_is_other_data():
    config = tiny()
    whole = experiment.load_for(config)
    config.data.max_per_class = 5
    five = experiment.load_for(config)
    config.data.max_per_class = 1000
    all_of_it = experiment.load_for(config)
    assert np.bincount(five.train.y).tolist() == [5] * 10
    assert five.spec.fingerprint != whole.spec.fingerprint
    assert len(all_of_it.train.y) == len(whole.train.y)
    config.data.max_per_class = 2
    two = experiment.load_for(config)
    assert set(two.rows["train"]) < set(five.rows["train"])
    config.data.max_per_class = 0
    with pytest.raises(errors.InputError, match="max_per_class"):
        experiment.load_for(config)


def test_a_part_of_the_held_out_data_is_kept_by_class_and_is_other_data():
    config = tiny()
    whole = experiment.load_for(config)
    config.data.max_test_per_class = 7
    part = experiment.load_for(config)
    for name in ("validation", "test"):
        split = getattr(part, name)
        assert np.bincount(split.y).tolist() == [7] * 10
        file = experiment.load_for(tiny())
        positions = np.searchsorted(file.rows[name], part.rows[name])
        assert (getattr(file, name).x[positions] == split.x).all()
    assert (part.train.x == whole.train.x).all()
    assert part.spec.fingerprint != whole.spec.fingerprint
    config.data.max_test_per_class = 1000
    assert experiment.load_for(config).spec.fingerprint == whole.spec.fingerprint


@pytest.mark.slow
def test_labels_of_free_mass_are_stored_judged_again_and_told(tmp_path):
    config = tiny()
    config.num_steps, config.evaluate.num_curve_points = 4, 1
    config.method = {
        "name": "rat_bptt",
        "num_inner_steps": 3,
        "window": 2,
        "batch_size": 32,
        "label_learning_rate": 0.1,
    }
    built = experiment.build(config)
    distill.run_experiment(built, tmp_path, progress=False)
    stored = DistilledSet.load(tmp_path)
    assert stored.label_mass == "free"
    assert abs(stored.y.sum(axis=1) - 1).max() > 0.01
    gathered = finished_run.gather(tmp_path, built.summary, built.dataset)
    assert gathered.label_mass == "free"
    assert gathered.facts["Labels"].startswith("probabilities of free mass (")
    result, _ = evaluate.evaluate_stored(tmp_path, num_runs=1)
    assert 0 < result.mean < 1


def test_a_step_whose_set_cannot_be_judged_does_not_end_the_run():
    """A learned rate that fell below zero may rise again."""
    config = tiny()
    config.protocol.learning_rate, config.protocol.num_steps = None, 3
    built = experiment.build(config)
    protocol = dataclasses.replace(built.recipe.protocol, learning_rate=None)
    built = built._replace(recipe=built.recipe._replace(protocol=protocol))
    curve = distill._curve(built, jax.random.key(0))
    x, y = jnp.zeros((10, 8, 8, 1)), jnp.eye(10)
    with pytest.warns(UserWarning, match="step 7 is not evaluated. .* rate is -0.1"):
        row = curve(7, dj.Synthetic(x, y, learning_rate=jnp.float32(-0.1)))
    good = curve(8, dj.Synthetic(x, y, learning_rate=jnp.float32(0.1)))
    assert row.keys() == good.keys()
    assert math.isnan(row["accuracy_mean"])
    assert row["run_seconds"] == 0
    assert 0 <= good["accuracy_mean"] <= 1
