# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Objectives in stages are those objectives, each in its own time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import base, errors, objectives

KEY = jax.random.key(0)


def pull(goal, name):
    """Pulls x to a goal; counts its turns, and labels what is read."""
    return dj.Objective(
        init=lambda key, synthetic: {"turns": jnp.zeros(())},
        loss=lambda synthetic, key, inner, batch: (
            jnp.sum((synthetic.x - goal) ** 2),
            dj.Aux(metrics={"both": jnp.asarray(goal), name: jnp.ones(())}),
        ),
        advance=lambda key, inner, synthetic, batch: {"turns": inner["turns"] + 1},
        read=lambda synthetic, inner: synthetic._replace(
            y=synthetic.y * 0 + goal + inner["turns"]
        ),
    )


def test_each_stage_has_its_steps_its_state_and_its_reading():
    staged = objectives.in_stages([(pull(1.0, "a"), 2), (pull(5.0, "b"), 1)])
    method = dj.distill(staged, decoder=dj.plain_decoder(), optimizer=optax.sgd(0.5))
    state = method.init(KEY, dj.Examples(jnp.zeros((1, 1)), jnp.ones((1, 1))))
    step = jax.jit(method.step)
    seen = []
    for number in range(4):
        state, info = step(jax.random.key(number), state, None)
        seen.append((float(state.latent.learned["x"][0, 0]), float(info.loss)))
        assert set(info.metrics) == {"both", "stage"}
        assert float(info.metrics["stage"]) == (number >= 2)
    # A step of 0.5 down a square lands on the goal.
    assert seen == [(1.0, 1.0), (1.0, 0.0), (5.0, 16.0), (5.0, 0.0)]
    assert [float(now["turns"]) for now in state.inner.inner] == [2.0, 2.0]
    assert method.read(state).y.tolist() == [[7.0]]
    assert step._cache_size() == 1


def test_one_stage_is_the_objective_itself():
    digits = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
    plain = objectives.kernel_regression(task, num_networks=2, ridge=1e-2)
    staged = objectives.in_stages([(plain, 1)])
    few = base.Synthetic(digits.validation.x[:10] / 16.0, jnp.eye(10) - 0.1)
    real = base.Examples(few.x[::-1], jnp.eye(10))
    key = jax.random.split(KEY, 1)[0]
    now, inner = plain.init(key, few), staged.init(KEY, few)
    value = plain.loss(few, KEY, now, real)[0]
    np.testing.assert_allclose(staged.loss(few, KEY, inner, real)[0], value, rtol=1e-6)


def test_bad_stages_are_refused():
    with pytest.raises(errors.InputError, match="at least one stage"):
        objectives.in_stages([])
    with pytest.raises(errors.InputError, match="Stage 0 has 0 outer steps"):
        objectives.in_stages([(pull(1.0, "a"), 0), (pull(2.0, "b"), 1)])


def probing(scale, shape=(2,), probes=("both",)):
    """Gives probes that depend on x."""

    def loss(synthetic, key, inner, batch):
        value = scale * jnp.sum(synthetic.x)
        intermediates = {name: value * jnp.ones(shape) for name in probes}
        return value, dj.Aux(probes=intermediates)

    return dj.Objective(
        init=lambda key, synthetic: {},
        loss=loss,
        advance=lambda key, inner, synthetic, batch: inner,
        probes=tuple(probes),
    )


def test_probes_that_all_stages_give_are_passed_on_and_differentiable():
    staged = objectives.in_stages(
        [(probing(2.0, probes=("first", "both")), 1), (probing(3.0), 1)]
    )
    assert staged.probes == ("both",)
    synthetic = dj.Synthetic(jnp.ones(1), jnp.ones((1, 1)))
    inner = staged.init(KEY, synthetic)
    for scale in (2.0, 3.0):

        def size(x, inner=inner):
            _, aux = staged.loss(synthetic._replace(x=x), KEY, inner, None)
            assert set(aux.probes) == {"both"}
            return jnp.sum(aux.probes["both"])

        value, grad = jax.value_and_grad(size)(synthetic.x)
        assert float(value) == 2 * scale
        assert float(grad[0]) == 2 * scale
        inner = staged.advance(KEY, inner, synthetic, None)


def test_probes_of_different_shapes_are_left_out():
    staged = objectives.in_stages([(probing(2.0), 1), (probing(3.0, (3,)), 1)])
    synthetic = dj.Synthetic(jnp.ones(1), jnp.ones((1, 1)))
    inner = staged.init(KEY, synthetic)
    assert staged.loss(synthetic, KEY, inner, None)[1].probes == {}
