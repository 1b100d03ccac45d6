# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Claims, tables and lines against numbers worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from distill_jax import errors, studies


def row(method, size, seed, accuracy):
    return {"method": method, "size": size, "seed": seed, "accuracy": accuracy}


ROWS = [
    row(method, size, seed, base + 0.01 * seed + offset)
    for method, base in (("dm", 0.5), ("frepo", 0.6))
    for size in (1, 10)
    for seed in range(3)
    for offset in (-0.001 * size, 0.001 * size)
]


def half_width(values):
    return stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)


def test_rows_of_a_unit_count_once():
    rows = [row("dm", 1, 0, x) for x in (0.0, 0.2, 0.4)] + [row("dm", 1, 1, 0.6)]
    rows += [row("dm", 1, 2, None), row("dm", 1, 3, math.nan)]
    means = studies.means_of_units(rows, "accuracy")
    assert means == {0: pytest.approx(0.2), 1: 0.6}
    assert studies.claim_of("x", means, above=0.0).value == pytest.approx(0.4)


def test_differences_are_paired():
    rows = [*ROWS, row("dm", 1, 7, 0.5)]
    found = studies.paired_differences(
        rows, "accuracy", by="method", first="frepo", second="dm"
    )
    assert found == {seed: pytest.approx(0.1) for seed in range(3)}


@pytest.mark.parametrize(
    ("values", "bounds", "verdict"),
    [
        ([1.0, 1.1, 1.2], {"above": 0.0}, "holds"),
        ([1.0, 1.1, 1.2], {"above": 2.0}, "does not hold"),
        ([1.0, 1.1, 1.2], {"above": 1.1}, "undecided"),
        ([1.0, 1.1, 1.2], {"below": 2.0}, "holds"),
        ([1.0, 1.1, 1.2], {"below": 0.5}, "does not hold"),
        ([1.0, 1.1, 1.2], {"above": 0.5, "below": 2.0}, "holds"),
        ([1.0, 1.1, 1.2], {"above": 0.5, "below": 1.1}, "undecided"),
        ([1.0, 1.0, 1.0], {"above": 1.0}, "does not hold"),
        ([5.0], {"above": 0.0}, "undecided"),
        ([], {"above": 0.0}, "undecided"),
    ],
)
def test_a_claim_is_held_against_its_interval(values, bounds, verdict):
    claim = studies.claim_of("It is so.", values, unit="points", **bounds)
    assert claim.verdict == verdict
    if len(values) > 1:
        width = half_width(values) if np.ptp(values) else 0.0
        low, high = np.mean(values) - width, np.mean(values) + width
        assert claim.interval == pytest.approx((low, high))
    else:
        assert claim.interval is None


def test_a_claim_needs_a_bound():
    with pytest.raises(errors.InputError, match="has no bound"):
        studies.claim_of("It is so.", [1.0, 2.0])


def test_a_table_has_means_with_intervals():
    table = studies.table_of(
        [*ROWS, row("kip", 1, 0, 0.5)],
        "accuracy",
        label="Accuracy",
        down="method",
        across="size",
        scale=100,
        names={"dm": "DM", 1: "one"},
    )
    width = f"{100 * half_width([0.5, 0.51, 0.52]):.1f}"
    assert table.headings == ["method", "one", "10"]
    assert [row.cells for row in table.rows] == [
        ("DM", f"51.0 ± {width}", f"51.0 ± {width}"),
        ("frepo", f"61.0 ± {width}", f"61.0 ± {width}"),
        ("kip", "50.0", "–"),
    ]


def test_lines_have_means_with_intervals_in_the_order_of_the_axis():
    lines = studies.lines_of(
        ROWS[::-1], "accuracy", by="method", x="size", scale=100, names={"dm": "DM"}
    )
    assert set(lines) == {"DM", "frepo"}
    assert lines["DM"].x == [1, 10]
    assert lines["DM"].y == pytest.approx([51, 51])
    width = 100 * half_width([0.5, 0.51, 0.52])
    assert lines["DM"].half_widths == pytest.approx([width, width])
