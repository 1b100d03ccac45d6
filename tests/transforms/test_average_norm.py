# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clipping at a multiple of the average norm, against a loop in numpy."""

import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import errors, transforms


def clipped_norms(norms, factor, decay):
    """The formula of the module, one number at a time."""
    average, kept = 0.0, []
    for norm in norms:
        now = norm if average == 0 else min(norm, factor * average)
        average = now if average == 0 else decay * average + (1 - decay) * now
        kept.append(now)
    return kept


def test_norms_equal_those_of_a_loop():
    norms = [3.0, 1.0, 50.0, 7.0, 0.0, 2.0, 900.0, 900.0]
    clip = transforms.clip_by_average_norm(1.5, 0.8)
    params = {"a": jnp.zeros((2, 2)), "b": jnp.zeros(3)}
    rng = np.random.default_rng(0)
    state, seen = clip.init(params), []
    for norm in norms:
        tree = {"a": rng.normal(size=(2, 2)), "b": rng.normal(size=3)}
        size = np.sqrt(sum((leaf**2).sum() for leaf in tree.values()))
        tree = {k: jnp.asarray(norm * leaf / size) for k, leaf in tree.items()}
        update, state = clip.update(tree, state)
        flat = np.concatenate([np.ravel(leaf) for leaf in update.values()])
        seen.append(np.linalg.norm(flat))
        if norm:  # The direction stays.
            given = np.concatenate([np.ravel(leaf) for leaf in tree.values()])
            cosine = flat @ given / np.linalg.norm(flat) / norm
            np.testing.assert_allclose(cosine, 1, rtol=1e-5)
    np.testing.assert_allclose(seen, clipped_norms(norms, 1.5, 0.8), rtol=1e-5)


def test_relative_gradients_have_the_same_size_on_every_scale():
    clip = transforms.clip_by_average_norm(is_relative=True)
    sizes = []
    for scale in (1.0, 1000.0):
        state = clip.init(jnp.zeros(1))
        for norm in (2.0, 3.0, 1.0):
            update, state = clip.update(jnp.array([scale * norm]), state)
        sizes.append(float(update[0]))
    average = 0.9 * (0.9 * 2.0 + 0.1 * 3.0) + 0.1 * 1.0
    np.testing.assert_allclose(sizes, 1.0 / average, rtol=1e-5)


def test_what_is_not_finite_becomes_no_step():
    clip = transforms.clip_by_average_norm()
    state = clip.init(jnp.zeros(2))
    _, state = clip.update(jnp.array([3.0, 4.0]), state)
    update, after = clip.update(jnp.array([jnp.nan, 1.0]), state)
    assert update.tolist() == [0.0, 0.0]
    assert float(after.norm) == float(state.norm) == 5.0


@pytest.mark.parametrize("options", [{"factor": 1.0}, {"decay": 1.0}, {"decay": -0.1}])
def test_bad_options_are_refused(options):
    with pytest.raises(errors.InputError, match="must be"):
        transforms.clip_by_average_norm(**options)
