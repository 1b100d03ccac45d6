# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The names of `import distill_jax as dj`: all there, and loaded when asked for."""

import subprocess
import sys

import pytest

import distill_jax as dj


@pytest.mark.parametrize("name", dj.__all__)
def test_every_public_name_is_found(name):
    assert getattr(dj, name).__name__.rpartition(".")[2] == name
    assert name in dir(dj)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = dj.nothing


def test_the_import_loads_no_jax():
    code = "import sys, distill_jax; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
