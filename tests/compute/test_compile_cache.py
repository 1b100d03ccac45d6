# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Compiled programs are kept where the user has not said otherwise."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from distill_jax.compute import compile_cache


@pytest.fixture
def unset(tmp_path, monkeypatch):
    """A process in which no cache was chosen."""
    former = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", former)


def test_the_folder_is_made_and_chosen(unset):
    folder = compile_cache.keep_compiled()
    assert folder == unset / "distill_jax" / "compiled"
    assert folder.is_dir()
    assert jax.config.jax_compilation_cache_dir == str(folder)


def test_what_the_user_chose_stays(unset):
    jax.config.update("jax_compilation_cache_dir", str(unset / "mine"))
    assert compile_cache.keep_compiled() == unset / "mine"
    assert jax.config.jax_compilation_cache_dir == str(unset / "mine")


def test_no_folder_is_no_error(unset, monkeypatch):
    blocked = unset / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert compile_cache.keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir is None


def test_the_folders_are_private_under_any_umask(unset):
    former = os.umask(0)
    try:
        folder = compile_cache.keep_compiled()
    finally:
        os.umask(former)
    assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o700}


def test_the_folder_of_somebody_else_is_not_used(unset, monkeypatch):
    folder = unset / "distill_jax" / "compiled"
    folder.mkdir(parents=True)
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.warns(UserWarning, match="belongs to another user"):
        assert compile_cache.keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.slow
def test_the_command_line_fills_it(tmp_path):
    root = pathlib.Path(__file__).parents[2]
    env = {key: value for key, value in os.environ.items() if not key.startswith("JAX")}
    command = [
        *(sys.executable, "-m", "distill_jax", "distill", "--quiet"),
        f"--config={root / 'configs' / 'digits_kip.py'}:runlocal",
        *("--config.num_steps=2", "--config.evaluate.arms=False"),
        f"--workdir={tmp_path / 'run'}",
    ]
    env |= {"XDG_CACHE_HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    subprocess.run(command, env=env, check=True, cwd=root, stdout=subprocess.DEVNULL)
    assert any((tmp_path / "distill_jax" / "compiled").iterdir())
