# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from distill_jax import errors
from distill_jax.evaluation import fairness


@pytest.mark.parametrize(
    ("accuracies", "score"),
    [
        ((1.0, 0.0, 0.0, 1.0), 0.0),  # alpha = -1
        ((0.9, 0.9, 0.4, 0.4), 0.2689),  # alpha = 0
        ((0.0, 1.0, 1.0, 0.0), 1.0),  # alpha = 1
    ],
)
def test_label_robust_score_at_three_known_points(accuracies, score):
    found = fairness.label_robust_score(*accuracies)
    np.testing.assert_allclose(found, score, atol=5e-5)


def test_label_robust_score_weighs_gain_against_loss():
    # IOR = 0.3, HLR = 0.2.
    found = fairness.label_robust_score(0.9, 0.7, 0.8, 0.5, weight=0.25)
    alpha = 0.25 * 0.3 - 0.75 * 0.2
    expected = (np.exp(alpha) - np.exp(-1)) / (np.e - np.exp(-1))
    np.testing.assert_allclose(found, expected)


def test_augmentation_robust_score_by_hand():
    found = fairness.augmentation_robust_score(0.8, 0.5, 0.6, 0.7, weight=0.75)
    beta = 0.75 * 0.3 + 0.25 * (-0.1)
    expected = (np.exp(beta) - np.exp(-1)) / (np.e - np.exp(-1))
    np.testing.assert_allclose(found, expected)


def test_a_score_for_every_run():
    runs = np.array([0.5, 0.6, 0.7])
    found = fairness.label_robust_score(0.9, runs, runs, runs)
    assert found.shape == (3,)
    assert (np.diff(found) > 0).all()  # Less is lost with hard labels.


@pytest.mark.parametrize(
    "call",
    [
        lambda: fairness.hard_label_recovery(93.0, 0.4),
        lambda: fairness.improvement_over_random(0.5, np.array([0.4, 40.0])),
        lambda: fairness.label_robust_score(0.9, 0.7, 65.0, 0.3),
        lambda: fairness.augmentation_robust_score(0.9, 0.7, 0.5, 30.0),
        lambda: fairness.hard_label_recovery(0.9, -0.1),
        lambda: fairness.hard_label_recovery(0.9, float("nan")),
    ],
)
def test_what_is_no_fraction_is_refused(call):
    with pytest.raises(errors.InputError, match="which is not a fraction"):
        call()


def test_a_weight_outside_the_unit_interval_is_refused():
    with pytest.raises(errors.InputError, match="`weight` holds 2"):
        fairness.label_robust_score(0.9, 0.7, 0.5, 0.3, weight=2.0)
