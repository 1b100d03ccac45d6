# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A small recipe with all that can go wrong: noise, Adam, keys and counters inside."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distill_jax import base, bilevel
from distill_jax.transforms import composition

DATA = types.SimpleNamespace(
    x=np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32),
    spec=types.SimpleNamespace(fingerprint="abc"),
)
KEY_SEED = 3


def objective(num_inner: int = 32, blow_up_at: int | None = None) -> base.Objective:
    """Fits noisy batch means; `inner` is a random walk, a typed key and a count."""

    def init(key, synthetic):
        del synthetic  # The walk starts anywhere.
        key_walk, key_kept = jax.random.split(key)
        walk = jax.random.normal(key_walk, (num_inner,))
        return {"walk": walk, "key": key_kept, "count": 0, "empty": jnp.zeros((0, 2))}

    def loss(synthetic, key, inner, batch):
        noise = 0.1 * jax.random.normal(key, synthetic.x.shape)
        error = synthetic.x + noise - batch.mean(0, keepdims=True)
        value = jnp.mean(error**2) * (1 + jnp.tanh(inner["walk"]).mean() ** 2)
        if blow_up_at is not None:
            value = jnp.where(inner["count"] + 1 == blow_up_at, jnp.inf, value)
        metrics = {"norm": jnp.linalg.norm(synthetic.x), "count": inner["count"]}
        return value, base.Aux(metrics=metrics)

    def advance(key, inner, synthetic, batch):
        del batch  # Seen by the loss only.
        step = jax.random.normal(key, inner["walk"].shape)
        walk = 0.9 * inner["walk"] + 0.1 * step + 0.01 * synthetic.x.mean()
        key_kept = jax.random.fold_in(inner["key"], inner["count"])
        count = inner["count"] + 1
        return inner | {"walk": walk, "key": key_kept, "count": count}

    return base.Objective(
        init=init, loss=loss, advance=advance, read=lambda synthetic, inner: synthetic
    )


def sampler(key, step, source):
    index = jax.random.randint(key, (16,), 0, source.shape[0])
    return source[index] * (1 + 0.01 * step)


def recipe(num_inner: int = 32, blow_up_at: int | None = None) -> base.Recipe:
    return base.Recipe(
        method=bilevel.distill(
            objective(num_inner, blow_up_at),
            decoder=composition.plain_decoder(),
            optimizer=optax.adam(0.05),
        ),
        sampler=sampler,
        initial_fn=lambda key, data: base.Examples(
            x=jax.random.normal(key, (4, 6)), y=jnp.eye(2)[jnp.array([0, 0, 1, 1])]
        ),
        source_fn=lambda data: jnp.asarray(data.x),
        protocol=None,
    )


def evaluate(step, synthetic):
    return {"sum": float(synthetic.x.sum()), "step_again": step}


def leaves(state) -> list[np.ndarray]:
    """All leaves as bytes that can be compared, typed keys as their data."""
    raw = [
        jax.random.key_data(leaf)
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        else leaf
        for leaf in jax.tree.leaves(state)
    ]
    return [np.array(leaf) for leaf in raw]


def assert_same(state, other) -> None:
    """Bitwise equality of every leaf."""
    assert jax.tree.structure(state) == jax.tree.structure(other)
    for leaf, same in zip(leaves(state), leaves(other), strict=True):
        assert leaf.dtype == same.dtype
        assert leaf.tobytes() == same.tobytes()


def without_times(rows: list[dict]) -> list[dict]:
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "compile_seconds")}
        for row in rows
    ]
