# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Any page: claims say what was measured, and nothing is shown that is not there."""

import re

import numpy as np
import pytest

from distill_jax import errors, report
from distill_jax.report import charts

CLAIM = report.Claim(
    "A beats B.", 3.2, (1.0, 5.4), "points", "5 points (Table 1)", "holds"
)


def text_of(*sections, **fields):
    return report.render_page(report.Page("Toy", sections=sections, **fields))


def body_of(text):
    return text.split("<body>")[1]


def test_a_claim_says_what_was_measured_and_whether_it_holds():
    body = body_of(text_of(report.Section("Claims", claims=[CLAIM])))
    assert '<li class="holds">' in body
    assert '<span class="verdict">holds</span>' in body
    assert "3.2 points (95 % interval 1 to 5.4)" in body
    assert "5 points (Table 1)" in body


def test_a_claim_without_a_paper_says_nothing_of_one():
    claim = report.Claim("A beats B.", float("nan"))
    body = body_of(text_of(report.Section("Claims", claims=[claim])))
    assert "not measured" in body
    assert '<li class="undecided">' in body
    assert "Paper" not in body


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"verdict": "hold"}, 'Did you mean "holds"'),
        ({"interval": None}, "has no interval, so nobody can say that it holds"),
        ({"interval": (4.0, 5.0)}, "is not in its interval from 4 to 5"),
        ({"value": float("nan")}, "is not in its interval"),
    ],
)
def test_a_claim_that_says_more_than_was_measured_is_refused(fields, sentence):
    known = {"value": 3.2, "interval": (1.0, 5.4), "verdict": "holds"}
    with pytest.raises(errors.InputError, match=re.escape(sentence)):
        report.Claim("A beats B.", **(known | fields))


def test_a_page_knows_the_claims_of_all_its_sections():
    sections = [report.Section("One", claims=[CLAIM]), report.Section("Two")]
    assert report.Page("Toy", sections=sections).claims == [CLAIM]


def test_a_table_with_headings_has_a_cell_for_each():
    table = report.Table(
        "Toy", ["Method", "1", "10"], [["DM", "80.0", report.Bar("90.0", 0.9)]]
    )
    body = body_of(text_of(report.Section("Table", tables=[table])))
    assert body.count("<th ") == 3 + 1
    assert '<td role="cell" data-label="1">80.0</td>' in body
    assert 'style="width: 90.0%"' in body


def test_a_table_without_headings_is_a_list_of_values():
    table = report.Table("Toy", rows=[["seconds", "3"]])
    body = body_of(text_of(report.Section("Table", tables=[table])))
    assert '<tr><th scope="row">seconds</th><td>3</td></tr>' in body
    with pytest.raises(errors.InputError, match=r"Row 1 .* has 3 cells for 2"):
        report.Table("Toy", rows=[["seconds", "3", "4"]])


def test_an_empty_line_begins_a_paragraph():
    body = body_of(text_of(report.Section("Text", "One.\n\nTwo.")))
    assert body.count("<p ") == 2


def test_a_section_shows_only_what_it_has():
    body = body_of(text_of(report.Section("Bare")))
    assert re.findall(r"<(\w+)", body) == ["main", "header", "h1", "section", "h2"]


def test_everything_is_escaped():
    bad = "<script>alert(1)</script>"
    section = report.Section(
        bad,
        bad,
        claims=[report.Claim(bad, 1.0, None, bad, bad)],
        tables=[report.Table(bad, [bad], [report.Row([bad], note=bad)])],
        pictures=[report.Pictures(bad, {bad: np.zeros((1, 2, 2, 1), np.uint8)})],
        listings=[report.Listing(bad, summary=bad)],
    )
    assert "<script" not in text_of(section, headline=[(bad, bad)], facts={bad: bad})


def test_a_chart_has_a_line_and_a_legend_for_each_series():
    series = {
        name: charts.Series([1, 10], [1.0, 2.0], [0.1, float("nan")]) for name in "ab"
    }
    chart = charts.line_chart(series, x_label="x", y_label="y", is_log_x=True)
    (ax,) = chart.axes
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "10"]
    body = text_of(report.Section("C", figures=[report.Figure("c", chart, "cap")]))
    assert "<figcaption>cap</figcaption>" in body


def test_a_chart_says_how_many_lines_it_can_show():
    many = {str(i): charts.Series([1], [1.0]) for i in range(7)}
    for series in ({}, many):
        with pytest.raises(errors.InputError, match="can show 1 to 6"):
            charts.line_chart(series, x_label="x", y_label="y")
