# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""An objective at given networks: the loss there in one line, for every objective."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import smooth

import distill_jax as dj
from distill_jax import base, errors, objectives, transforms

KEY = jax.random.key(0)
HAVE_ONE = {"alignment"}
HAVE_NONE = {"inducing"}
# Those whose networks are drawn in every step, or come with the batch.
DRAWN = {name for name in smooth.OBJECTIVES if name[:5] in ("unrol", "traje", "stage")}


@functools.cache
def networks():
    """Two learners."""
    task = smooth.smooth_task()
    keys = jax.random.split(jax.random.key(7))
    return tuple(dj.tasks.init_learner(task, key) for key in keys)


@pytest.mark.parametrize("name", smooth.OBJECTIVES)
def test_the_loss_at_given_networks_is_the_mean_over_them(name, x64):
    networks.cache_clear()
    objective, batch_of = smooth.OBJECTIVES[name]()
    synthetic, batch = smooth.synthetic_of(name), batch_of(1.0 + jnp.arange(6.0))

    def loss(*learners):
        return objective.loss(synthetic, KEY, objective.at(*learners), batch)[0]

    one, two = networks()
    at_one, at_two = map(jax.jit(loss), networks())
    without_context = jax.jit(loss)(one.variables)
    np.testing.assert_array_equal(at_one, without_context)
    if name in HAVE_NONE:
        assert at_one == at_two
        return
    assert abs(at_one - at_two) > 1e-6
    stacked = dj.tasks.stack_learners(one, two)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(loss))(stacked), [at_one, at_two], rtol=1e-9
    )
    if name in HAVE_ONE:
        with pytest.raises(errors.InputError, match="holds one network, got 2"):
            objective.at(one, two)
    elif name[:5] != "traje" and "window" not in name:
        mean = jax.jit(loss)(one, two)
        np.testing.assert_allclose(mean, (at_one + at_two) / 2, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(smooth.OBJECTIVES.keys() - DRAWN))
def test_the_state_at_a_network_is_what_init_would_have_made_of_it(name, x64):
    objective, batch_of = smooth.OBJECTIVES[name]()
    synthetic, batch = smooth.synthetic_of(name), batch_of(1.0 + jnp.arange(6.0))
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    inner = jax.eval_shape(objective.init, KEY, synthetic)
    learner = jax.eval_shape(lambda: networks()[0])
    placed = jax.eval_shape(objective.at, learner)
    assert shapes(placed) == shapes(inner)
    moved = jax.eval_shape(objective.advance, KEY, placed, synthetic, batch)
    assert shapes(moved) == shapes(inner)


def test_a_student_starts_at_a_given_network(x64):
    objective, batch_of = smooth.OBJECTIVES["trajectory"]()
    synthetic, batch = (
        smooth.synthetic_of("trajectory"),
        batch_of(1.0 + jnp.arange(6.0)),
    )
    one, two = networks()
    stacked = dj.tasks.stack_learners(one, two)
    expected = objective.loss(
        synthetic, KEY, {}, batch._replace(start=stacked.variables.params)
    )[0]
    inner = objective.at(one, two)
    found = objective.loss(synthetic, KEY, inner, batch)[0]
    np.testing.assert_array_equal(found, expected)
    kept = objective.advance(KEY, inner, synthetic, batch)
    assert jax.tree.structure(kept) == jax.tree.structure(inner)
    with pytest.raises(errors.InputError, match=r"of 2 experts, .* holds 3 networks"):
        objective.loss(synthetic, KEY, objective.at(one, two, one), batch)


def test_the_loss_of_a_kernel_at_a_network_is_that_of_its_features(x64):
    objective, batch_of = smooth.OBJECTIVES["kernel"]()
    synthetic, batch = smooth.synthetic_of("kernel"), batch_of(1.0 + jnp.arange(6.0))
    learner = networks()[1]
    found, _ = objective.loss(synthetic, KEY, objective.at(learner), batch)
    first = learner.variables.params["a"]
    f_s, f_t = (
        np.tanh(np.asarray(x).reshape(len(x), -1) @ first)
        for x in (synthetic.x, batch.x)
    )
    gram = f_s @ f_s.T
    gram += 0.1 * np.trace(gram) / len(gram) * np.eye(len(gram))
    predicted = f_t @ f_s.T @ np.linalg.solve(gram, synthetic.y)
    errors_of = 0.5 * ((predicted - (batch.y - 0.5)) ** 2).sum(1)
    ordered = np.sort(synthetic.y, axis=1)
    margin = np.minimum(ordered[:, -1] - ordered[:, -2], 0.5).mean()
    expected = np.average(errors_of, weights=batch.weight) - margin
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_transforms_keep_where_an_objective_holds_its_networks():
    objective, _ = smooth.OBJECTIVES["gradient"]()
    bent = transforms.bend(objective, lambda objective: objective)
    assert bent.at is objective.at
    staged = objectives.in_stages([(objective, 1), (bent, 1)])
    placed = staged.at(networks()[0])
    assert int(placed.turn) == 0
    assert len(placed.inner) == 2


def test_an_objective_of_ones_own_says_how_it_holds_networks():
    objective = base.Objective(
        init=lambda key, synthetic: {},
        loss=lambda synthetic, key, inner, batch: (jnp.zeros(()), base.Aux()),
        advance=lambda key, inner, synthetic, batch: inner,
    )
    with pytest.raises(errors.InputError, match="give it the field `at`"):
        objective.at(networks()[0])
    with pytest.raises(errors.InputError, match="at least one network"):
        smooth.OBJECTIVES["kernel"]()[0].at()
