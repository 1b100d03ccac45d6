# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Options of the compiler are those of the user, then ours, and never an error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import nets
from distill_jax.compute import compiling

OURS = {"xla_backend_optimization_level"}


@pytest.fixture
def plain(monkeypatch):
    """As a process without flags of its own would see it."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")


def test_the_tests_and_the_library_compile_alike():
    assert compiling.options() == {}, "the flags of the tests should name it"


@pytest.mark.usefixtures("plain")
def test_flags_of_the_user_come_first(monkeypatch):
    assert set(compiling.options()) == OURS
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=3")
    assert compiling.options() == {}


@pytest.mark.usefixtures("plain")
def test_what_xla_does_not_know_is_left_out(monkeypatch):
    more = {"xla_has_no_such_option": True, **compiling._ON_CPU}
    monkeypatch.setattr(compiling, "_ON_CPU", more)
    assert set(compiling.options()) == OURS
    assert float(compiling.ahead_of_time(jnp.sum, jnp.ones(3))(jnp.ones(3))) == 3


@pytest.mark.usefixtures("plain")
def test_accelerators_are_told_nothing(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert compiling.options() == {}


@pytest.mark.usefixtures("plain")
def test_a_second_derivative_is_the_same():
    net = nets.convnet(10, width=4, depth=2, pooling="max")
    variables = net.init(jax.random.key(0), (8, 8, 1))
    x = jax.random.normal(jax.random.key(1), (3, 8, 8, 1))

    def sharpness(x):
        first = jax.grad(lambda v: jnp.sum(net.apply(v, x)[:, 0] ** 2))(variables)
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(first))

    expected = jax.jit(jax.grad(sharpness))(x)
    found = compiling.jit(jax.grad(sharpness))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected).max() > 1e-2
