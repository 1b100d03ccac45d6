# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The options of the named methods: what is refused, and what they set."""

import pytest

from distill_jax import data, errors, methods, nets, tasks


@pytest.fixture(scope="module")
def task():
    spec = data.load("digits").spec
    return tasks.classification(nets.mlp(10, hidden=(8,)), spec)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_a_momentum_that_does_not_decay_is_refused(task, momentum):
    with pytest.raises(errors.InputError, match="`momentum` must be at least 0 and"):
        methods.dm(task, num_per_class=1, momentum=momentum)


@pytest.mark.parametrize("final_rate", [-0.1, 1.1, float("nan")])
def test_a_final_rate_that_is_no_share_is_refused(task, final_rate):
    with pytest.raises(errors.InputError, match="from 0 to 1, got"):
        methods.frepo(task, num_per_class=1, num_steps=2, final_rate=final_rate)


@pytest.mark.parametrize("final_rate", [0.0, 1.0])
def test_rates_may_fall_to_nothing_or_stay(task, final_rate):
    methods.frepo(task, num_per_class=1, num_steps=2, final_rate=final_rate)


def test_mirror_images_are_an_option_of_frepo(task):
    plain, mirrored = (
        methods.frepo(task, num_per_class=1, num_steps=2, use_flip=use_flip).protocol
        for use_flip in (False, True)
    )
    assert "flip" not in plain.augmentation
    assert mirrored.augmentation == plain.augmentation + "_flip"
