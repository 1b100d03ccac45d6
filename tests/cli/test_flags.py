# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Commands: each is a file, with flags and a help of its own."""

import subprocess
import sys

import pytest

from distill_jax import cli, errors
from distill_jax.cli import flags, main

TOY = '''
"""``distill-jax toy``: greets."""

from distill_jax.cli import flags


def _add_flags(parser):
    parser.add_argument("--name", default="nobody", help="who is greeted")


COMMAND = flags.Command(
    name="toy",
    summary="Greets somebody.",
    examples="  distill-jax toy --name=Ada",
    add_flags=_add_flags,
    run=lambda values: print("Hello", values.name),
)
'''


def call(*words) -> int:
    with pytest.raises(SystemExit) as stop:
        main.main(words)
    return stop.value.code


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A command is one file and one line."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    monkeypatch.setattr(main, "COMMANDS", [*main.COMMANDS, "toy"])
    yield
    sys.modules.pop("distill_jax.cli.toy", None)
    vars(cli).pop("toy", None)


@pytest.mark.usefixtures("toy")
def test_a_command_is_added_with_a_file_and_a_line(capsys):
    assert call("toy", "--name=Ada") == 0
    assert capsys.readouterr().out == "Hello Ada\n"
    assert call("help") == 0
    assert "toy         Greets somebody." in capsys.readouterr().out
    assert call("help", "toy") == 0
    assert "who is greeted" in capsys.readouterr().out
    assert call("toy", "--nmae=Ada") == 2
    assert '"--name"' in capsys.readouterr().err


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_says_what_it_does_and_takes(name, capsys):
    command = main.command(name)
    assert command.name == name
    assert call("help") == 0
    line = f"  {name:{max(map(len, main.COMMANDS))}}  {command.summary}"
    assert line in capsys.readouterr().out.splitlines()
    assert len(line) <= 88
    assert call("help", name) == 0
    shown = capsys.readouterr().out
    assert f"distill-jax {name}" in command.examples
    assert command.examples in shown
    assert call(name, "--help") == 0
    assert capsys.readouterr().out == shown


def test_help_of_a_command_that_is_not_there_names_the_nearest(capsys):
    assert call("help", "repotr") == 2
    assert '"report"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--num_runs=many"], '`--num_runs` takes a whole number, not "many"'),
        (["--num_runs=0"], "`--num_runs` must be at least 1, got 0"),
        (["--num_runs=1.5"], '`--num_runs` takes a whole number, not "1.5"'),
        (["--distilled"], "`--distilled` expected one argument"),
        (["--random=yes"], "`--random` ignored explicit argument 'yes'"),
        (["--num_run=3"], 'no option "--num_run". Did you mean "--num_runs"'),
        (["--workdir=x"], 'no option "--workdir"'),
        (["now"], 'The word "now" has no meaning here'),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(words, said, capsys):
    assert call("evaluate", *words) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_a_value_may_be_a_word_of_its_own():
    values = flags.parse(main.command("evaluate"), ["--distilled", "x", "--seed", "-1"])
    assert (values.distilled, values.seed, values.num_runs) == ("x", -1, 5)
    values = flags.parse(
        main.command("plan"),
        ["--config", "digits_dm", "--config.num_steps", "7", "--data_dir", "here"],
    )
    assert values.config.num_steps == 7
    assert values.config.data.data_dir == "here"


def test_some_of_the_processes_flags_are_not_enough():
    values = flags.parse(main.command("distill"), ["--num_processes=2"])
    from distill_jax.cli import startup

    with pytest.raises(errors.InputError, match="--coordinator=HOST:PORT"):
        startup.join(values)


def test_a_mistake_is_told_before_jax_is_loaded():
    code = (
        "import sys\n"
        "from distill_jax.cli import main\n"
        "def call(*words):\n"
        "    try: main.main(words)\n"
        "    except SystemExit as stop: return stop.code\n"
        "codes = [call('help'), call('help', 'distill'), call('distil')]\n"
        "codes += [call(name, '--wrkdir=x') for name in main.COMMANDS]\n"
        "codes += [call('plan', '--config=digits_frepo', '--config.num_step=3')]\n"
        "assert codes == [0, 0] + [2] * (len(codes) - 2), codes\n"
        "assert not {'jax', 'numpy', 'flax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_interrupt_without_words_is_told_in_a_sentence(capsys, monkeypatch):
    def stop(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "command", stop)
    assert call("evaluate") == 130
    assert capsys.readouterr().err == "distill-jax: Interrupted.\n"
