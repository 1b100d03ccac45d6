# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lets equal runs share their compilation."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture(scope="package", autouse=True)
def shared_compilations(tmp_path_factory):
    """Many tests here do the same run; compiled anew it would take two seconds each."""
    former = {
        "jax_compilation_cache_dir": jax.config.jax_compilation_cache_dir,
        "jax_persistent_cache_min_compile_time_secs": (
            jax.config.jax_persistent_cache_min_compile_time_secs
        ),
    }
    folder = str(tmp_path_factory.mktemp("compiled"))
    for name, value in zip(former, (folder, 0.0), strict=True):
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in former.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
