# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bands of a score: every example has its place in exactly one."""

import dataclasses
import itertools

import numpy as np
import pytest

import distill_jax as dj
from distill_jax import errors, selection


@pytest.fixture(scope="module")
def digits():
    return dj.data.load("digits")


@pytest.mark.parametrize("has_ties", [False, True])
def test_ten_bands_part_every_class_and_keep_its_hardest(digits, has_ties):
    scores = np.random.default_rng(0).normal(size=len(digits.train.y))
    scores = np.round(scores) if has_ties else scores
    classes = digits.train.y
    edges = np.linspace(0, 1, 11)
    # As many of every class as its band of this class has, where all have as many.
    counts = np.bincount(classes)
    for label in (0, 7):
        rows = np.flatnonzero(classes == label)
        alike = np.concatenate([rows[: counts[label]] for _ in range(10)])
        data = dataclasses.replace(
            digits,
            train=dj.data.Arrays(
                digits.train.x[alike], np.repeat(np.arange(10), counts[label])
            ),
        )
        own = np.tile(scores[rows], 10)
        parts = [
            selection.by_score(
                own,
                data,
                round(high * counts[label]) - round(low * counts[label]),
                band=(low, high),
            ).reshape(10, -1)
            for low, high in itertools.pairwise(edges)
        ]
        everyone = np.concatenate(parts, axis=1)
        for c, members in enumerate(everyone):
            expected = np.flatnonzero(data.train.y == c)
            assert sorted(members) == expected.tolist()  # Disjoint, and all of them.
        sizes = [part.shape[1] for part in parts]
        assert max(sizes) - min(sizes) <= 1
        highest = [own[part[0]].max() for part in parts]
        lowest = [own[part[0]].min() for part in parts]
        assert (np.array(highest[:-1]) <= np.array(lowest[1:])).all()


def test_draws_are_nested_and_reach_the_whole_band(digits):
    scores = np.arange(len(digits.train.y), dtype=float)
    few, many = (
        selection.by_score(scores, digits, n, band=(0.5, 1.0), seed=3).reshape(10, n)
        for n in (2, 7)
    )
    np.testing.assert_array_equal(few, many[:, :2])
    seen = [set() for _ in range(10)]
    for seed in range(300):
        drawn = selection.by_score(scores, digits, 3, band=(0.9, 1.0), seed=seed)
        for label, rows in enumerate(drawn.reshape(10, 3)):
            seen[label] |= set(rows.tolist())
    for label in range(10):
        own = np.flatnonzero(digits.train.y == label)
        assert seen[label] == set(own[round(0.9 * len(own)) :].tolist())


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (np.zeros(3), {}, "shape"),
        (None, {"band": (0.5, 0.5)}, "is none"),
        (None, {"band": (-0.1, 0.5)}, "0 <= lo < hi"),
        (None, {"band": (0.0, 0.01)}, "fewer than the 2"),
        (np.full(960, np.nan), {}, "no numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(digits, scores, options, message):
    scores = np.zeros(960) if scores is None else scores
    with pytest.raises(errors.InputError, match=message):
        selection.by_score(scores, digits, 2, **options)
