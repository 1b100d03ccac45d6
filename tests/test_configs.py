# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every config runs to its report, with each method, and as its docstring says."""

import functools
import importlib.util
import json
import pathlib
import re

import pytest

from distill_jax.cli import kinds, main

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
FOLDERS = {  # of data sets that are not in the package
    "mnist": "mnist",
    "fashion_mnist": "fashion_mnist",
    "cifar100": "cifar100/cifar-100-python",
    "cifar10": "cifar10/cifar-10-batches-py",
}


@functools.cache
def module(path: pathlib.Path):
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def arguments(path: pathlib.Path) -> list[str]:
    """What may stand behind the colon, shrunk; no run twice.

    Each method of the file with the images per class of the docstring's command, and
    that command's method with the other numbers of images that the docstring names.
    """
    methods = getattr(module(path), "METHODS", None)
    if not methods:
        return ["runlocal"]
    text = " ".join(module(path).__doc__.split())
    name, count = re.search(rf"{path.name}:(\w+),(\d+)", text).groups()
    pairs = [(name, count), *((method, count) for method in methods)]
    for counts in re.findall(r"at ([\d, and]+) images? per class", text):
        pairs += [(name, other) for other in re.findall(r"\d+", counts)]
    distinct = {}
    for method, number in pairs:
        argument = f"{method},{number},runlocal"
        shrunk = module(path).get_config(argument).to_json(sort_keys=True)
        distinct.setdefault(shrunk, argument)
    return list(distinct.values())


CASES = [
    pytest.param(path, argument, id=f"{path.stem}:{argument}")
    for path in sorted(CONFIGS.glob("*.py"))
    for argument in arguments(path)
]


@pytest.mark.filterwarnings("ignore:No (loops|settings) .*were published")
# Shrunk to two per class, a config that does not whiten meets a row that does.
@pytest.mark.filterwarnings("ignore:The settings of .* for ZCA-whitened")
@pytest.mark.long(timeout=1800)
@pytest.mark.parametrize(("path", "argument"), CASES)
def test_a_config_runs_to_its_report(path, argument, tmp_path, request):
    command = kinds.COMMANDS[module(path).get_config(argument).kind]
    if name := [name for name in FOLDERS if path.stem.startswith(name)]:
        folder = request.getfixturevalue("real_data_dir") / FOLDERS[name[0]]
        if not folder.exists():
            pytest.skip(f"there is no {folder}")
    words = [f"--config={path}:{argument}", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(SystemExit) as stop:
        main.main([command, "--quiet", *words])
    assert stop.value.code == 0
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    if command == "study":
        return
    arms = json.loads((tmp_path / "run" / "results.json").read_text())["arms"]
    assert sum(arm["is_distilled"] for arm in arms) == 1
    assert all(0 <= arm["accuracy_mean"] <= 1 for arm in arms)
