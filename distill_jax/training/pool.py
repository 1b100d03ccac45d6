# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A stacked pool of learners of different ages, some of which are active at a time.

Active members are trained a little and grow a turn older; a member past the maximal age
is replaced by a fresh one, of the next generation. All of it happens inside jit, so
that a checkpoint of the state holds the pool whole. Gradient matching trains a pool of
one network beside its pictures; the idea of an online pool of many is that of Zhou,
Nezhadarya and Ba, "Dataset Distillation using Neural Feature Regression", 2022.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, deprecations, errors, tasks
from distill_jax.compute import parallel, randomness
from distill_jax.types import Array, Key, PyTree

__all__ = [
    "Pool",
    "advance_pool",
    "check_pool",
    "init_pool",
    "learners",
    "map_networks",
    "members",
    "pool_of",
]


class Pool(NamedTuple):
    """``P`` networks, their optimisers and ages, and which of them are active."""

    variables: base.Variables  # [P, ...]
    opt: optax.OptState  # [P, ...]
    age: Array  # [P] int32, turns of training taken since the member was fresh
    generation: Array  # [P] int32, how many members stood in this place before
    active: Array  # [A] int32, the members of this step
    context: PyTree = None  # [P, ...] of the task that each learns; None without


# key -> a fresh member; of a task without contexts the variables alone will do
InitFn = Callable[[Key], base.Learner | base.Variables]
# key, variables, opt, context -> variables and opt after a turn of training
TrainFn = Callable[[Key, base.Variables, optax.OptState, Any], tuple]


def init_pool(
    key: Key,
    init_fn: InitFn,
    optimizer: optax.GradientTransformation,
    *,
    num_networks: int,
    num_active: int,
    max_age: int,
) -> Pool:
    """Fills a pool with fresh networks whose age counters are staggered.

    Args:
      key: the random key.
      init_fn: ``key -> Learner``, or ``Variables`` of a task without contexts.
      optimizer: how members are trained.
      num_networks: ``P``.
      num_active: ``A``, how many take part in each step, at most ``P``.
      max_age: turns after which a member is replaced; 0 for a fresh one every time.

    Returns:
      The pool; member ``p`` starts with the counter at ``p max_age / P``.

    Raises:
      InputError: as :func:`check_pool`.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from distill_jax import base
      >>> init_fn = lambda key: base.Variables({"w": jax.random.normal(key)}, {})
      >>> pool = init_pool(jax.random.key(0), init_fn, optax.sgd(0.1),
      ...                  num_networks=4, num_active=1, max_age=100)
      >>> pool.age.tolist()
      [0, 25, 50, 75]
    """
    check_pool(num_networks, num_active, max_age)
    key_nets, key_active = jax.random.split(key)
    fresh = jax.vmap(lambda key: tasks.as_learner(init_fn(key)))(
        jax.random.split(key_nets, num_networks)
    )
    return Pool(
        variables=fresh.variables,
        opt=jax.vmap(optimizer.init)(fresh.variables.params),
        age=jnp.arange(num_networks, dtype=jnp.int32) * max_age // num_networks,
        generation=jnp.zeros(num_networks, jnp.int32),
        active=_draw_active(key_active, num_networks, num_active),
        context=fresh.context,
    )


def pool_of(
    *networks: base.Learner | base.Variables, optimizer: optax.GradientTransformation
) -> Pool:
    """Makes a pool that holds given networks, as if each were fresh and all active.

    Args:
      *networks: learners, or the variables of networks without contexts.
      optimizer: how members are trained.

    Returns:
      The :class:`Pool`.

    Example:
      >>> pool = pool_of(base.Variables(jnp.ones(2), {}), optimizer=optax.sgd(0.1))
      >>> pool.active.tolist(), pool.variables.params.tolist()
      ([0], [[1.0, 1.0]])
    """
    stacked = tasks.stack_learners(*networks)
    none = jnp.zeros(len(networks), jnp.int32)
    return Pool(
        variables=stacked.variables,
        opt=jax.vmap(optimizer.init)(stacked.variables.params),
        age=none,
        generation=none,
        active=jnp.arange(len(networks), dtype=jnp.int32),
        context=stacked.context,
    )


def check_pool(num_networks: int, num_active: int, max_age: int) -> None:
    """Raises unless there can be such a pool.

    Raises:
      InputError: when the counts do not fit one another.

    Example:
      >>> check_pool(num_networks=4, num_active=1, max_age=100)
    """
    errors.check_counts(num_networks=num_networks)
    if not 1 <= num_active <= num_networks:
        raise errors.InputError(
            f"`num_active` is {num_active}, but must be between 1 and the "
            f"{num_networks} networks of the pool."
        )
    errors.check_counts(least=0, max_age=max_age)


def members(pool: Pool) -> base.Variables:
    """The variables of the active members, ``[A, ...]``.

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax import base
      >>> variables = base.Variables(jnp.arange(3.0), {})
      >>> pool = Pool(variables, (), jnp.zeros(3), jnp.zeros(3), jnp.array([2]))
      >>> members(pool).params.tolist()
      [2.0]
    """
    return learners(pool).variables


def learners(pool: Pool) -> base.Learner:
    """The active members with their contexts, ``[A, ...]``.

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax import base
      >>> variables = base.Variables(jnp.arange(3.0), {})
      >>> pool = Pool(variables, (), jnp.zeros(3), jnp.zeros(3), jnp.array([2]))
      >>> learners(pool._replace(context=jnp.array([5, 6, 7]))).context.tolist()
      [7]
    """
    return _taken(base.Learner(pool.variables, pool.context), pool.active)


def advance_pool(
    key: Key,
    pool: Pool,
    *,
    init_fn: InitFn,
    optimizer: optax.GradientTransformation,
    train_fn: TrainFn,
    max_age: int,
) -> Pool:
    """Trains the active members, replaces the old, draws the next active ones.

    Args:
      key: the random key.
      pool: the pool.
      init_fn: the one that the pool was made with; a fresh member brings a context.
      optimizer: the one that the pool was made with.
      train_fn: ``(key, variables, opt, context) -> (variables, opt)``, a turn of one
        member.
      max_age: a member of this age or older is replaced instead of trained.

    Returns:
      The pool for the next step.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from distill_jax import base
      >>> init_fn = lambda key: base.Variables({"w": jnp.ones(())}, {})
      >>> halve = lambda key, variables, opt, context: (
      ...     jax.tree.map(lambda leaf: leaf / 2, variables), opt)
      >>> pool = init_pool(jax.random.key(0), init_fn, optax.sgd(0.25),
      ...                  num_networks=1, num_active=1, max_age=2)
      >>> pool = advance_pool(jax.random.key(1), pool, init_fn=init_fn,
      ...                     optimizer=optax.sgd(0.25), train_fn=halve, max_age=2)
      >>> float(pool.variables.params["w"][0]), pool.age.tolist()
      (0.5, [1])
    """
    num_active, num_networks = pool.active.shape[0], pool.age.shape[0]
    key_members, key_active = jax.random.split(key)
    train_fn = deprecations.with_context(train_fn, "train_fn", 4)

    def turn(key, learner, opt, age):
        key_init, key_train = jax.random.split(key)

        def grown():
            variables, moved = train_fn(key_train, learner.variables, opt, context)
            return base.Learner(variables, context), moved, age + 1

        def fresh():
            new = tasks.as_learner(init_fn(key_init))
            return new, optimizer.init(new.variables.params), jnp.zeros_like(age)

        context = learner.context

        if max_age == 0:
            return fresh()
        return jax.lax.cond(age >= max_age, fresh, grown)

    keys = jax.random.split(key_members, num_active)
    learner, opt, age = map_networks(
        lambda args: turn(*args),
        (keys, learners(pool), *_taken((pool.opt, pool.age), pool.active)),
    )
    put = lambda old, new: _replaced(old, pool.active, new)
    return Pool(
        variables=put(pool.variables, learner.variables),
        opt=put(pool.opt, opt),
        age=put(pool.age, age),
        generation=put(
            pool.generation, _taken(pool.generation, pool.active) + (age == 0)
        ),
        active=_draw_active(key_active, num_networks, num_active),
        context=put(pool.context, learner.context),
    )


def map_networks(fn: Callable, stacked: PyTree) -> PyTree:
    """Maps a function over stacked networks, the way the backend is fast at.

    One after the other on the CPU, where each already keeps all cores busy; all at once
    on accelerators, where one small network cannot fill the device; and some on each
    device in a function of :func:`distill_jax.compute.parallel.over_mesh`.

    Args:
      fn: a function of one network's tree.
      stacked: the tree with a leading axis.

    Returns:
      The stacked results.

    Example:
      >>> import jax.numpy as jnp
      >>> map_networks(lambda x: 2 * x, jnp.arange(3)).tolist()
      [0, 2, 4]
    """
    is_cpu = jax.default_backend() == "cpu"
    local = (lambda part: jax.lax.map(fn, part)) if is_cpu else jax.vmap(fn)
    return parallel.spread(local, stacked, "networks")


def _draw_active(key: Key, num_networks: int, num_active: int) -> Array:
    if num_networks == 1:
        return jnp.zeros(1, jnp.int32)
    return randomness.permutation(key, num_networks)[:num_active]


# A pool of one needs no gathers and scatters, all of which would be compiled.
def _taken(stacked: PyTree, active: Array) -> PyTree:
    return jax.tree.map(
        lambda leaf: leaf if leaf.shape[0] == 1 else leaf[active], stacked
    )


def _replaced(stacked: PyTree, active: Array, new: PyTree) -> PyTree:
    def put(old: Array, new: Array) -> Array:
        new = new.astype(old.dtype)
        return new if old.shape[0] == 1 else old.at[active].set(new)

    return jax.tree.map(put, stacked, new)
