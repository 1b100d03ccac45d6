# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Segments of trajectories: the window, its growth, and where rows come from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_jax import errors, experts, samplers

TEMPLATE = {"w": jnp.zeros(2)}
# Expert e after epoch t holds 100 e + t, twice.
ROWS = [np.full((6, 2), 100.0 * e) + np.arange(6.0)[:, None] for e in range(4)]


def source(first=0, on_disk=False):
    rows = [row[first:].astype(np.float32) for row in ROWS]
    snapshots = experts.OnDisk(rows) if on_disk else jnp.asarray(np.stack(rows))
    return experts.Trajectories(snapshots, 4, first_epoch=first, last_epoch=5)


def draw(sampler, where, num=200, step=0):
    keys = jax.random.split(jax.random.key(0), num)
    many = jax.jit(lambda keys: jax.lax.map(lambda k: sampler(k, step, where), keys))
    segment = many(keys)
    return np.asarray(segment.start["w"]), np.asarray(segment.target["w"])


@pytest.mark.parametrize("on_disk", [False, True])
def test_starts_and_targets_are_of_one_expert_and_in_the_window(on_disk):
    sampler = samplers.trajectory_segments(
        TEMPLATE, num_epochs=2, first_start=1, last_start=4, num_experts=2
    )
    start, target = draw(sampler, source(first=1, on_disk=on_disk))
    assert start.shape == (200, 2, 2)
    np.testing.assert_array_equal(target - start, 2.0)
    expert, epoch = start[..., 0] // 100, start[..., 0] % 100
    assert set(np.unique(epoch)) == {1.0, 2.0, 3.0}
    assert set(np.unique(expert)) == {0.0, 1.0, 2.0, 3.0}
    assert (expert[:, 0] != expert[:, 1]).all()


def test_the_window_grows_as_in_the_paper():
    # t ~ U{T-, ..., min(T0 + int((T+ - T0) it / E), T+) - 1}
    for step in (0, 1, 499, 500, 999, 1000, 9999):
        expected = min(10 + int((20 - 10) * step / 1000), 20)
        assert int(samplers.segment_window(step, 20, (10, 1000))) == expected
    sampler = samplers.trajectory_segments(
        TEMPLATE, num_epochs=1, last_start=5, window=(1, 10)
    )
    for step, epochs in ((0, {0.0}), (5, {0.0, 1.0, 2.0}), (50, set(range(5)))):
        start, _ = draw(sampler, source(), step=step)
        assert set(np.unique(start % 100)) == epochs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_epochs": 0, "last_start": 1}, "at least 1 epoch"),
        ({"num_epochs": 1, "last_start": 0}, "must hold an epoch"),
        ({"num_epochs": 1, "first_start": 3, "last_start": 3}, "must hold an epoch"),
        ({"num_epochs": 1, "last_start": 3, "window": (4, 9)}, "must grow"),
        ({"num_epochs": 1, "last_start": 3, "window": (1, 0)}, "at least 1 step"),
    ],
)
def test_windows_that_cannot_be_are_refused(options, message):
    with pytest.raises(errors.InputError, match=message):
        samplers.trajectory_segments(TEMPLATE, **options)


def test_windows_beyond_the_buffer_are_refused():
    far = samplers.trajectory_segments(TEMPLATE, num_epochs=2, last_start=5)
    with pytest.raises(errors.InputError, match="from epoch 0 to 6, but the buffer"):
        far(jax.random.key(0), 0, source())
    early = samplers.trajectory_segments(TEMPLATE, num_epochs=1, last_start=3)
    with pytest.raises(errors.InputError, match="keeps the epochs 2 to 5"):
        early(jax.random.key(0), 0, source(first=2))
    many = samplers.trajectory_segments(
        TEMPLATE, num_epochs=1, last_start=3, num_experts=5
    )
    with pytest.raises(errors.InputError, match="the buffer has 4"):
        many(jax.random.key(0), 0, source())
