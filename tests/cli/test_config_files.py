# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A config is found, run and overridden; what goes wrong is told in a sentence."""

import pathlib
import sys
import tomllib

import pytest

import distill_jax
from distill_jax import errors
from distill_jax.cli import config_files

ROOT = pathlib.Path(__file__).parents[2]
GOOD = """\
from distill_jax.cli import settings

def get_config(arg=None):
    config = settings.default()
    config.untyped = None
    return settings.finish(config, arg)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> pathlib.Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    "name", ["digits_frepo", "digits_frepo.py", "configs/digits_frepo.py"]
)
def test_a_config_that_comes_along_is_found_in_any_folder(name, write):
    del write  # Works in an empty folder.
    assert config_files.to_path(name).samefile(ROOT / "configs" / "digits_frepo.py")


def test_a_file_at_the_path_comes_first(write):
    for name in ("digits_frepo.py", "configs/digits_frepo.py"):
        path = write(name, GOOD)
        assert config_files.to_path(name).samefile(path)
        config, _ = config_files.load(name)
        assert config.title == ""


def test_configs_in_the_package_come_before_those_of_a_checkout(write, monkeypatch):
    path = write("configs/digits_frepo.py", GOOD)
    monkeypatch.setattr(config_files, "_PACKAGE", path.parents[1])
    monkeypatch.chdir("/")
    assert config_files.to_path("digits_frepo").samefile(path)


def test_other_folders_are_not_searched(write):
    write("mine.py", GOOD)
    with pytest.raises(errors.InputError, match='no config file "other/digits_frepo"'):
        config_files.to_path("other/digits_frepo")
    with pytest.raises(errors.InputError, match="Did you mean"):
        config_files.to_path("digits_frepos")


def test_the_word_behind_the_colon_reaches_the_file(write):
    write("mine.py", GOOD)
    config, rest = config_files.load("mine.py:runlocal", ["--quiet", "now"])
    assert config.num_steps == 20
    assert rest == ["--quiet", "now"]
    with pytest.raises(errors.InputError, match='A config takes no argument "runloca"'):
        config_files.load("mine.py:runloca")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def get_config(arg=None:\n  return 1\n", "line 1 cannot be run .SyntaxError"),
        ("\ndef get_config():\n  return x\n", "line 3 cannot be run .NameError: name"),
        ("import nowhere\n", "line 1 cannot be run .ModuleNotFoundError"),
        ("x = 1\n", "cannot be run .AttributeError.* 'get_config'"),
        ("def get_config():\n  return 3\n", "returned int; it must return"),
        ("def get_config():\n  pass\n", "returned NoneType; it must return"),
    ],
)
def test_a_file_that_cannot_be_run_is_told_with_its_line(text, said, write):
    write("mine.py", text)
    with pytest.raises(errors.InputError, match=said) as caught:
        config_files.load("mine.py")
    assert "\n" not in str(caught.value)
    assert "mine.py" in str(caught.value)


def test_a_file_of_another_kind_is_told(write):
    write("mine.txt", GOOD)
    with pytest.raises(errors.InputError, match=r"its name must end in \.py"):
        config_files.load("mine.txt")


def test_a_file_written_for_the_former_version_works_and_is_told_of(write):
    sys.modules.pop("distill_jax.settings", None)
    vars(distill_jax).pop("settings", None)
    write("mine.py", GOOD.replace("distill_jax.cli import", "distill_jax import"))
    with pytest.warns(DeprecationWarning, match=r"distill_jax\.cli\.settings") as told:
        config, _ = config_files.load("mine.py:runlocal")
    assert config.num_steps == 20
    assert told[0].filename.endswith("mine.py")


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--config.num_steps=7"], "num_steps", 7),
        (["--config.num_steps", "7"], "num_steps", 7),
        (["--config.num_steps=7", "--config.num_steps=8"], "num_steps", 8),
        (["--config.seed=-1"], "seed", -1),
        (["--config.network.width=64"], "network.width", 64),
        (['--config.network={"name": "mlp"}'], "network.name", "mlp"),
        (["--config.tensorboard"], "tensorboard", True),
        (["--noconfig.evaluate.arms"], "evaluate.arms", False),
        (["--config.evaluate.arms=false"], "evaluate.arms", False),
        (["--config.data.validation_fraction=1"], "data.validation_fraction", 1.0),
        (["--config.protocol.optimizer=adam"], "protocol.optimizer", "adam"),
    ],
)
def test_a_word_overrides_a_field(words, field, value, write):
    write("mine.py", GOOD)
    config, rest = config_files.load("mine.py", words)
    for part in field.split("."):
        config = config[part]
    assert config == value
    assert type(config) is type(value)
    assert not rest


def test_a_tuple_is_one_word_or_several():
    for words in (["=(8, 4)"], ["=8", "=4"]):
        words = [f"--config.network.hidden{word}" for word in words]
        config, _ = config_files.load("digits_frepo", words)
        assert config.network.hidden == (8, 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config.num_step=7"], 'no field "num_step". Did you mean "num_steps"'),
        (["--config.network.hiden=7"], 'no field "network.hiden". Known are "depth"'),
        (["--config.seed.x=7"], 'since what stands before "x" is a value'),
        (
            ["--config.num_steps=x"],
            '`--config.num_steps` takes a whole number, not "x"',
        ),
        (["--config.num_steps", "x"], 'takes a whole number, not "x"'),
        (["--config.num_steps"], "needs a value: a whole number"),
        (["--config.num_steps=1.5"], 'takes a whole number, not "1.5"'),
        (["--config.evaluate.arms=maybe"], 'takes true or false, not "maybe"'),
        (["--config.data.validation_fraction=a"], 'takes a number, not "a"'),
        (["--config.network=3"], 'takes another value, not "3"'),
        (["--config.untyped=3"], "does not say of which type it is"),
        (
            ["--config.network.width=3", '--config.network={"name": "mlp"}'],
            "`--config.network` comes after a word that sets a part of it",
        ),
    ],
)
def test_an_override_that_cannot_be_is_told_in_a_sentence(words, said, write):
    write("mine.py", GOOD)
    with pytest.raises(errors.InputError) as caught:
        config_files.load("mine.py", words)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wheel_carries_the_configs():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    included = build["build"]["targets"]["wheel"]["force-include"]
    assert included == {"configs": "distill_jax/configs"}
