# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels are learned on images that stay as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import distill_jax as dj
from distill_jax import bilevel, errors, transforms
from distill_jax.inner import optimizers


def test_inputs_stay_bit_by_bit_and_have_no_optimiser():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
    objective = dj.objectives.unrolled_training(
        task, num_steps=4, window=2, optimizer=optimizers.adam(1e-2)
    )
    learned = transforms.learn_labels(dj.plain_decoder(), kind="probabilities")
    fixed = transforms.fix_inputs(learned)
    initial = dj.methods.initial_fn("real", 1)(jax.random.key(0), data)
    method = bilevel.distill(
        objective=objective, optimizer=optax.adam(1e-2), decoder=fixed
    )
    state = method.init(jax.random.key(1), initial)
    sampler = dj.samplers.uniform(32)
    source = dj.data.to_source(data)
    for number in range(2):
        key = jax.random.key(number)
        state, _ = jax.jit(method.step)(key, state, sampler(key, number, source))
    end = method.read(state)
    np.testing.assert_array_equal(end.x, initial.x)
    assert np.abs(end.y - initial.y).max() > 1e-3
    moments = [leaf.shape for leaf in jax.tree.leaves(state.opt)]
    assert initial.x.shape not in moments
    assert initial.y.shape in moments


def test_what_there_is_nothing_to_fix_or_to_learn_in_is_refused():
    initial = dj.Examples(x=jnp.zeros((2, 3)), y=jnp.eye(2))
    plain = transforms.fix_inputs(dj.plain_decoder())
    with pytest.raises(errors.InputError, match="learns nothing"):
        plain.init(jax.random.key(0), initial)
    labels = transforms.learn_labels(dj.plain_decoder(), kind="logits")
    twice = transforms.fix_inputs(transforms.fix_inputs(labels))
    with pytest.raises(errors.InputError, match="leave it out"):
        twice.init(jax.random.key(0), initial)
