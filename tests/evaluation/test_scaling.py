# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fronts, exchange rates and power laws against brute force and closed forms."""

import numpy as np
import pytest

from distill_jax import errors
from distill_jax.evaluation import scaling


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_the_brute_force(seed):
    rng = np.random.default_rng(seed)
    cost = rng.integers(1, 8, size=40)
    accuracy = rng.integers(0, 20, size=40) / 20
    expected = [
        not any(
            cost[j] <= cost[i]
            and accuracy[j] >= accuracy[i]
            and (cost[j] < cost[i] or accuracy[j] > accuracy[i])
            for j in range(40)
        )
        for i in range(40)
    ]
    np.testing.assert_array_equal(scaling.pareto_front(cost, accuracy), expected)


def test_the_envelope_is_above_every_row():
    grid = np.random.default_rng(0).uniform(size=(5, 7))
    best = scaling.envelope(grid, axis=1)
    assert (best[:, None] >= grid).all()
    epochs = [1, 2, 4, 8, 16, 32, 64]
    chosen = scaling.optimal(grid, epochs, axis=1)
    for row, epoch, top in zip(grid, chosen, best, strict=True):
        assert row[epochs.index(epoch)] == top


def test_iso_accuracy_inverts_a_line_over_the_logarithm():
    images = np.array([1, 2, 5, 10, 50])
    curve = 0.2 + 0.1 * np.log(images)
    for count in (1.0, 1.7, 4.0, 49.0):
        target = 0.2 + 0.1 * np.log(count)
        assert scaling.iso_accuracy(images, curve, target) == pytest.approx(count)
    assert np.isnan(scaling.iso_accuracy(images, curve, 0.9))
    assert scaling.iso_accuracy(images, curve, 0.1) == 1


def test_exchange_rates_of_curves():
    images = [1, 2, 4, 8]
    curve = np.array([0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(scaling.exchange_rate(images, curve, curve), 1)
    # Soft labels that are worth four times the images.
    soft = np.array([0.3, 0.4, 0.5, 0.6])
    rates = scaling.exchange_rate(images, curve, soft)
    np.testing.assert_allclose(rates[:2], 4)
    assert np.isnan(rates[2:]).all()
    assert scaling.exchange_rate(images, curve, soft, at=2) == pytest.approx(4)


def test_a_power_law_is_found_with_an_interval_that_draws_make():
    rng = np.random.default_rng(1)
    images = np.array([1, 2, 5, 10, 20])
    truth = 0.7 * images**-0.4
    draws = 1 - truth * np.exp(rng.normal(0, 0.05, size=(12, 1)))
    law = scaling.fit_power_law(images, draws)
    assert law.exponent == pytest.approx(0.4, abs=0.01)
    # A draw moves the whole line: its height is unsure, its slope is not.
    assert law.scale_interval[0] < law.scale < law.scale_interval[1]
    assert law.scale_interval[1] - law.scale_interval[0] > 0.02
    assert np.ptp(law.exponent_interval) < 1e-3
    few = scaling.fit_power_law(images, draws[:2])
    assert np.isnan(few.exponent_interval).all()
    with pytest.raises(errors.InputError, match="at least two"):
        scaling.fit_power_law([1], draws[:, :1])
    with pytest.raises(errors.InputError, match="no error"):
        scaling.fit_power_law([1, 2], [0.5, 1.0])
    with pytest.raises(errors.InputError, match="one of each"):
        scaling.pareto_front([1, 2], [0.5])
