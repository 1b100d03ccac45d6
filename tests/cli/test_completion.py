# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a shell completes."""

import shutil
import subprocess
import sys

import pytest

from distill_jax import errors
from distill_jax.cli import completion, main


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_every_shell_gets_every_command(shell):
    script = completion.script(shell)
    assert all(name in script for name in main.COMMANDS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["distill-jax", "rep"], ["report"]),
        (["distill-jax", "evaluate", "--num"], ["--num_runs"]),
        (["distill-jax", "plan", "--config.num_p"], ["--config.num_per_class"]),
        (["distill-jax", "report", "--config"], []),
    ],
)
def test_bash_completes(words, completed, tmp_path):
    path = tmp_path / "completion"
    path.write_text(completion.script("bash"))
    code = (
        f"source {path}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        f"_shtab_distill_jax distill-jax {words[-1]} {words[-2]}; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == completed


def test_a_missing_package_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(errors.InputError, match="the package `shtab`"):
        completion.script("bash")
