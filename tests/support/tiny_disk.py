# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A disk of a few megabytes that can be filled."""

import contextlib
import subprocess

import pytest


@contextlib.contextmanager
def mounted(path, megabytes):
    """Mounts the disk; skips the test where mounting is not allowed."""
    path.mkdir()
    done = _mount(path, f"size={megabytes}m")
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.decode().strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def grow(path, megabytes):
    assert _mount(path, f"remount,size={megabytes}m").returncode == 0


def _mount(path, options):
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    try:
        return subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount: {error}")
