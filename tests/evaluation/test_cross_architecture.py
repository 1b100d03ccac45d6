# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The transfer table: each line is an evaluation, and what does not fit is told."""

import dataclasses

import jax
import numpy as np
import pytest

from distill_jax import base, errors, evaluation, nets, selection, tasks
from distill_jax import data as data_lib
from distill_jax.evaluation import comparison
from distill_jax.report import contents

PROTOCOL = evaluation.Protocol(num_steps=60, learning_rate=0.1)
NETWORKS = {
    "linear": nets.mlp(10, hidden=()),
    "vgg": nets.vgg11(10, width=2),
}
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def digits():
    return data_lib.load("digits")


@pytest.fixture(scope="module")
def few(digits):
    index = selection.random_subsets(jax.random.key(1), digits, 2, num_draws=1)[0]
    x = data_lib.normalize(digits.spec.normalizer, digits.train.x[index])
    return base.Synthetic(x, jax.nn.one_hot(digits.train.y[index], 10))


@pytest.fixture(scope="module")
def lines(digits, few):
    slow = dataclasses.replace(PROTOCOL, learning_rate=1e-6)
    found = evaluation.transfer(
        KEY,
        {**NETWORKS, "untaught": NETWORKS["linear"]},
        few,
        digits,
        PROTOCOL,
        num_runs=3,
        protocols={"untaught": slow},
        num_random_per_class=2,
    )
    return {line.name: line for line in found}


def test_a_line_is_what_evaluate_says(lines, digits, few):
    assert list(lines) == ["linear", "vgg", "untaught"]
    key_distilled, _, _ = jax.random.split(KEY, 3)
    task = tasks.classification(NETWORKS["linear"], digits.spec)
    alone = evaluation.evaluate(
        task, few, digits, protocol=PROTOCOL, num_runs=3, key=key_distilled
    )
    np.testing.assert_array_equal(
        lines["linear"].distilled.accuracies, alone.accuracies
    )


def test_random_examples_are_others_in_every_run(lines, digits):
    _, key_subsets, key_random = jax.random.split(KEY, 3)
    index = selection.random_subsets(key_subsets, digits, 2, num_draws=3)
    y = np.eye(10, dtype=np.float32)[digits.train.y[index]]
    task = tasks.classification(NETWORKS["linear"], digits.spec)
    one = comparison.Comparison(task, digits, PROTOCOL, 3, "auto")
    alone = one.measure(one.train_subsets(key_random, index, y, None))
    np.testing.assert_array_equal(lines["linear"].random.accuracies, alone.accuracies)


def test_a_network_may_have_a_protocol_of_its_own(lines):
    assert lines["untaught"].distilled.mean < 0.3 < lines["linear"].distilled.mean


def test_a_network_that_cannot_take_the_pictures_says_why(lines):
    line = lines["vgg"]
    assert line.distilled is None
    assert line.random is None
    assert "(8, 8, 1)" in line.note
    assert "nets.convnet" in line.note
    assert line.to_row() == {"name": "vgg", "num_parameters": None, "note": line.note}


def test_rows_hold_what_reports_show(lines):
    row = lines["linear"].to_row()
    assert row["num_parameters"] == 65 * 10
    assert row["accuracy_mean"] == lines["linear"].distilled.mean
    assert row["random_sd"] == lines["linear"].random.sd
    assert set(row) == set(contents.TRANSFER_FIELDS)


def test_a_protocol_for_no_network_and_zero_runs_are_refused(digits, few):
    with pytest.raises(errors.InputError, match=r'"liner".*"linear"'):
        evaluation.transfer(
            KEY, NETWORKS, few, digits, PROTOCOL, protocols={"liner": PROTOCOL}
        )
    with pytest.raises(errors.InputError, match="`num_runs`"):
        evaluation.transfer(KEY, NETWORKS, few, digits, PROTOCOL, num_runs=0)
