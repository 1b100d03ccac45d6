# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The pool of networks on one-parameter networks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from distill_jax import base, errors
from distill_jax.training import pool as pools

SGD = optax.sgd(0.25)


def init_fn(key):
    return base.Variables({"w": jnp.ones(())}, {"seen": jnp.zeros(())})


def train_fn(key, variables, opt, context):
    params = {"w": variables.params["w"] / 2}
    return base.Variables(params, {"seen": variables.stats["seen"] + 1}), opt


def make(num_networks=4, num_active=2, max_age=8):
    return pools.init_pool(
        jax.random.key(0),
        init_fn,
        SGD,
        num_networks=num_networks,
        num_active=num_active,
        max_age=max_age,
    )


def advance(key, pool, max_age=8, init_fn=init_fn, train_fn=train_fn):
    return pools.advance_pool(
        key, pool, init_fn=init_fn, optimizer=SGD, train_fn=train_fn, max_age=max_age
    )


def test_only_active_members_train_and_age():
    pool = make()
    active = set(np.asarray(pool.active).tolist())
    after = advance(jax.random.key(1), pool)
    for member in range(4):
        trained = member in active
        assert float(after.variables.params["w"][member]) == (0.5 if trained else 1.0)
        assert float(after.variables.stats["seen"][member]) == float(trained)
        assert int(after.age[member] - pool.age[member]) == int(trained)


def test_a_member_at_the_maximal_age_is_replaced_by_a_fresh_one():
    pool = make(num_networks=1, num_active=1, max_age=2)
    ages, weights = [], []
    for number in range(5):
        pool = advance(jax.random.key(number), pool, max_age=2)
        ages.append(int(pool.age[0]))
        weights.append(float(pool.variables.params["w"][0]))
    assert ages == [1, 2, 0, 1, 2]
    assert weights == [0.5, 0.25, 1.0, 0.5, 0.25]


def test_active_members_are_distinct_and_every_member_gets_its_turn():
    pool = make()
    step = jax.jit(advance)
    counts = np.zeros(4)
    for number in range(200):
        active = np.asarray(pool.active)
        assert len(set(active.tolist())) == 2
        counts[active] += 1
        pool = step(jax.random.key(number), pool)
    # Expected 100 each with a standard deviation of about 7.
    assert np.abs(counts - 100).max() < 35


def test_members_are_the_active_ones():
    pool = make()._replace(active=jnp.array([3, 1]))
    pool = pool._replace(
        variables=base.Variables({"w": jnp.arange(4.0)}, {"seen": jnp.zeros(4)})
    )
    np.testing.assert_array_equal(pools.members(pool).params["w"], [3.0, 1.0])


def init_with_context(key):
    """A network whose weight is its context."""
    context = {"number": jax.random.uniform(key)}
    variables = base.Variables({"w": context["number"]}, {"seen": jnp.zeros(())})
    return base.Learner(variables, context)


def train_with_context(key, variables, opt, context):
    params = {"w": variables.params["w"] + context["number"]}
    return base.Variables(params, variables.stats), opt


def test_a_member_keeps_its_context_until_it_is_replaced():
    options = {"num_networks": 3, "num_active": 2, "max_age": 3}
    pool = pools.init_pool(jax.random.key(2), init_with_context, SGD, **options)
    step = jax.jit(
        lambda key, pool: advance(key, pool, 3, init_with_context, train_with_context)
    )
    numbers = [set() for _ in range(3)]
    for turn in range(30):
        pool = step(jax.random.key(turn), pool)
        w, context = pool.variables.params["w"], pool.context["number"]
        for member in range(3):
            numbers[member].add((int(pool.generation[member]), float(context[member])))
        fresh = np.asarray(pool.generation) > 0  # Of others the counter is staggered.
        np.testing.assert_allclose(
            np.asarray(w)[fresh], np.asarray((1 + pool.age) * context)[fresh], rtol=1e-5
        )
    learners = pools.learners(pool)
    np.testing.assert_array_equal(
        learners.context["number"], pool.context["number"][pool.active]
    )
    for member in range(3):  # One context for each generation, and each another one.
        generations, contexts = zip(*numbers[member], strict=True)
        assert len(set(contexts)) == len(numbers[member]) == max(generations) + 1 > 1


def test_a_pool_without_contexts_has_the_leaves_that_it_always_had():
    leaves = jax.tree.leaves_with_path(make())
    paths = [jax.tree_util.keystr(path) for path, _ in leaves]
    assert paths == [
        ".variables.params['w']",
        ".variables.stats['seen']",
        ".age",
        ".generation",
        ".active",
    ]


def test_a_turn_written_before_contexts_still_works_and_warns():
    former = lambda key, variables, opt: train_fn(key, variables, opt, None)
    with pytest.warns(DeprecationWarning, match="`train_fn` without a context"):
        pool = advance(jax.random.key(1), make(), train_fn=former)
    now = advance(jax.random.key(1), make())
    jax.tree.map(np.testing.assert_array_equal, pool, now)


@pytest.mark.parametrize("num_active", [0, 5])
def test_more_active_members_than_networks_are_refused(num_active):
    with pytest.raises(errors.InputError, match="between 1 and the 4 networks"):
        make(num_active=num_active)


def test_a_pool_without_networks_is_refused():
    with pytest.raises(
        errors.InputError, match=r"`num_networks` must be .* at least 1"
    ):
        make(num_networks=0, num_active=1)


def test_a_negative_maximal_age_is_refused():
    with pytest.raises(errors.InputError, match="at least 0, got -1"):
        make(max_age=-1)


def test_a_maximal_age_of_zero_makes_a_fresh_member_every_time():
    pool = make(num_networks=1, num_active=1, max_age=0)
    for number in range(3):
        pool = advance(jax.random.key(number), pool, max_age=0)
        assert int(pool.age[0]) == 0
        assert int(pool.generation[0]) == number + 1


def test_generations_count_the_replaced():
    pool = make(num_networks=1, num_active=1, max_age=2)
    generations = []
    for number in range(7):
        pool = advance(jax.random.key(number), pool, max_age=2)
        generations.append(int(pool.generation[0]))
    assert generations == [0, 0, 1, 1, 1, 2, 2]
