# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The gradient in the synthetic examples is differentiable on the real side.

d/dw of <c, grad_S L(S; w)> against central differences, w the weights of real examples
(for segments of experts: the length of their way), for every objective.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import smooth

KEY = jax.random.key(0)


@pytest.mark.parametrize("name", smooth.OBJECTIVES)
def test_the_gradient_is_differentiable_in_real_weights(name, x64):
    objective, batch_of = smooth.OBJECTIVES[name]()
    synthetic = smooth.synthetic_of(name)
    inner = jax.jit(objective.init)(KEY, synthetic)
    cotangent = jnp.cos(jnp.arange(synthetic.x.size).reshape(synthetic.x.shape))

    def loss(x, weight):
        now = synthetic._replace(x=x)
        return objective.loss(now, KEY, inner, batch_of(weight))[0]

    def along(weight):
        value, grad = jax.value_and_grad(loss)(synthetic.x, weight)
        return jnp.stack([value, jnp.sum(cotangent * grad)])

    weight = 1.0 + 0.5 * jnp.sin(jnp.arange(smooth.C * smooth.B, dtype=float))
    derivative = jax.jit(jax.jacrev(along))(weight)
    evaluate, step = jax.jit(along), 1e-5
    moves = step * jnp.eye(weight.size)
    differences = [
        (evaluate(weight + move) - evaluate(weight - move)) / (2 * step)
        for move in moves
    ]
    expected = np.stack(differences, axis=1)
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert (scale > 1e-6).all()  # The real side decides.
    np.testing.assert_allclose(derivative / scale, expected / scale, atol=2e-6)
