# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The same numbers in each form of the table."""

import numpy as np
import pytest

from distill_jax.report import tables

ARMS = [
    {
        "name": "ours [bold]",
        "num_examples": 10,
        "accuracy_mean": 0.9312,
        "accuracy_sd": 0.0061,
        "ci95": (0.927, 0.9355),
        "best_on_test": 0.94,
        "bytes_stored": 31_360,
        "seconds": 75.0,
        "note": "a | b",
        "is_distilled": True,
    },
    {
        "name": "all",
        "num_examples": 60_000,
        "accuracy_mean": float("nan"),
        "ci95": 0.01,
    },
]


def test_cells_are_formatted_and_gaps_are_dashes():
    headings, rows = tables.arm_cells(ARMS)
    assert headings == [
        "Arm",
        "Examples",
        "Accuracy %",
        "95 % interval",
        "Best on test %",
        "Stored",
        "Time",
        "Note",
    ]
    assert rows[0][1:7] == [
        "10",
        "93.1 ± 0.6",
        "92.7 – 93.5",
        "94.0",
        "31.4 kB",
        "1 min 15 s",
    ]
    assert rows[1] == ["all", "60,000", "–", "± 1.0", "–", "–", "–", ""]


def test_markdown_escapes_bars_and_prints_the_distilled_arm_bold():
    lines = tables.markdown_table(ARMS).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| **ours [bold]** | **10** | **93.1 ± 0.6** |")
    assert lines[2].endswith("| a \\| b |")
    assert "**" not in lines[3]


@pytest.mark.parametrize("width", [60, 140])
def test_text_fits_the_width_and_takes_names_literally(width):
    text = tables.text_table(ARMS, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    if width == 140:
        assert "ours [bold]" in text
        assert "93.1 ± 0.6" in text


def test_no_arms_is_a_table_without_rows():
    assert tables.arm_cells([]) == (["Arm"], [])
    assert tables.rich_table([]).row_count == 0


@pytest.mark.parametrize(
    ("mean", "ci95", "text"),
    [
        (0.97, 0.05, "92.0 – 100.0"),
        (0.02, 0.05, "0.0 – 7.0"),
        (0.5, 0.936, "0.0 – 100.0"),
        (0.5, 0.05, "± 5.0"),
        (0.5, (-0.2, 1.2), "0.0 – 100.0"),
    ],
)
def test_an_interval_does_not_leave_a_percentage(mean, ci95, text):
    arm = {"name": "a", "accuracy_mean": mean, "ci95": ci95}
    assert tables.arm_cells([arm])[1][0][2] == text


@pytest.mark.parametrize(
    "ci95", [None, float("nan"), np.float32("nan"), (float("nan"), 0.5), float("inf")]
)
def test_a_spread_that_is_not_known_is_missing(ci95):
    arm = {"name": "a", "accuracy_mean": 0.5, "accuracy_sd": float("nan")}
    other = {"name": "b", "ci95": np.float32(0.01)}
    rows = tables.arm_cells([arm | {"ci95": ci95}, other])[1]
    assert rows == [["a", "50.0", "–"], ["b", "–", "± 1.0"]]


@pytest.mark.parametrize(
    ("num", "text"),
    [(0, "0 B"), (999, "999 B"), (999_700, "1 MB"), (2.5e9, "2.5 GB")],
)
def test_bytes_change_units_before_they_show_four_digits(num, text):
    assert tables.format_bytes(num) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (9.999, "10 s"),
        (59.6, "1 min 0 s"),
        (3599.7, "1 h 0 min"),
        (86_400, "24 h 0 min"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_seconds_never_round_up_to_sixty(seconds, text):
    assert tables.format_seconds(seconds) == text
