# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Linear systems: right, differentiable, and never a batch for LAPACK on the CPU."""

import os
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distill_jax as dj
from distill_jax.compute import solve
from distill_jax.inner import ridge

WORKER = pathlib.Path(__file__).parents[1] / "support" / "solver.py"


def batches(lowered) -> set[str]:
    """The shapes of LAPACK's operands with more than two axes."""
    operands = re.findall(r"@lapack_\w+.*?: \((.*?)\) ->", lowered.as_text())
    assert operands
    shapes = {
        shape for each in operands for shape in re.findall(r"tensor<(.*?)>", each)
    }
    return {shape for shape in shapes if len(re.findall(r"\d+x", shape)) > 2}


def system(key, size=4, columns=3):
    key_features, key_right = jax.random.split(key)
    features = jax.random.normal(key_features, (size, 2 * size))
    return features @ features.T, jax.random.normal(key_right, (size, columns))


@pytest.fixture
def systems(x64):
    return jax.vmap(system)(jax.random.split(jax.random.key(0), 5))


def loss(matrix, right, solve_fn=solve.solve_positive):
    return jnp.sin(solve_fn(matrix @ matrix.T, right)).sum()


TRANSFORMS = {
    "value": lambda fn: fn,
    "reverse": lambda fn: jax.grad(fn, (0, 1)),
    "forward": lambda fn: jax.jacfwd(fn, (0, 1)),
    "reverse over reverse": lambda fn: jax.jacrev(jax.grad(fn)),
    "forward over reverse": lambda fn: jax.jacfwd(jax.grad(fn)),
    "reverse over forward": lambda fn: jax.jacrev(jax.jacfwd(fn)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_derivatives_are_those_of_the_inverse(systems, name):
    plain = lambda matrix, right: loss(
        matrix, right, lambda a, b: jnp.linalg.inv(a) @ b
    )
    ours = jax.jit(jax.vmap(TRANSFORMS[name](loss)))(*systems)
    matrices = [jax.tree.map(lambda leaf, n=n: leaf[n], systems) for n in range(5)]
    theirs = [jax.jit(TRANSFORMS[name](plain))(*each) for each in matrices]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(stacked), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9 * np.abs(b).max())


@pytest.mark.parametrize("name", TRANSFORMS)
def test_lapack_sees_one_matrix_at_a_time(systems, name):
    mapped = jax.vmap(jax.vmap(TRANSFORMS[name](loss)))
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), systems)
    assert not batches(jax.jit(mapped).lower(*twice))


def test_a_plain_vmapped_solution_would_be_a_batch(systems):
    mapped = jax.vmap(jnp.linalg.solve)
    assert batches(jax.jit(mapped).lower(*systems))


def test_a_matrix_that_is_not_positive_definite_gives_nan():
    assert jnp.isnan(solve.solve_positive(-jnp.eye(2), jnp.ones((2, 1)))).all()


@pytest.mark.parametrize("name", ["frepo", "kip", "rcig"])
def test_methods_mapped_over_runs_give_lapack_no_batch(name):
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
    recipe = dj.methods.NAMES[name](task, num_per_class=1, num_steps=10, batch_size=16)
    initial = recipe.initial_fn(jax.random.key(0), data)
    source = recipe.source_fn(data)

    def step(key):
        state = recipe.method.init(key, initial)
        batch = recipe.sampler(key, state.step, source)
        return recipe.method.step(key, state, batch)

    keys = jax.random.split(jax.random.key(1), 3)
    assert not batches(jax.jit(jax.vmap(step)).lower(keys))


def test_predictions_of_many_kernels_are_those_of_each(x64):
    key_support, key_target = jax.random.split(jax.random.key(2))
    support = jax.random.normal(key_support, (6, 5, 7))
    target = jax.random.normal(key_target, (6, 3, 7))
    predict = lambda s, t: ridge.predict(s, t, jnp.eye(5), ridge=0.1)
    together = jax.jit(jax.vmap(predict))(support, target)
    for n in range(6):
        alone = jax.jit(predict)(support[n], target[n])
        np.testing.assert_allclose(together[n], alone, rtol=1e-12)


@pytest.mark.long(timeout=900)
def test_twenty_processes_without_flags_all_end():
    """By default stacked solutions hung in one process of two."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_"))}
    for _ in range(20):
        subprocess.run(
            [sys.executable, WORKER],
            env={**env, "JAX_PLATFORMS": "cpu"},
            check=True,
            timeout=60,
        )
