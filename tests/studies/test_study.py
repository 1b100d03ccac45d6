# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The page of a study, and studies by their name."""

import pytest

from distill_jax import errors, report, studies


def fail(key):
    raise ValueError("too much")


def study(*runs):
    cells = [studies.Cell(f"cell {n}", run, {"n": n}) for n, run in enumerate(runs)]

    def sections_of(rows):
        values = [row["value"] for row in rows]
        claims = [
            studies.claim_of("They are above 1.", values, above=1.0),
            studies.claim_of("They are above 5.", values, above=5.0),
        ]
        return [report.Section("Claims", claims=claims)]

    return studies.Study("Toy", cells, sections_of, {"Data set": "none"})


def good(value):
    return lambda key: [{"value": value}]


def page_of(made, folder):
    results = studies.run_cells(made.cells, folder, progress=False)
    return studies.to_page(made, results, usage="run me")


def test_the_page_counts_claims_and_cells(tmp_path):
    page = page_of(study(good(3.0), good(3.1), good(3.2)), tmp_path)
    assert page.headline == [
        ("1 of 2", "claims hold"),
        ("1 of 2", "claims do not hold"),
        ("3 of 3", "cells are finished"),
    ]
    assert page.facts["Data set"] == "none"
    assert "jax" in page.facts["Computed with"]
    assert [section.heading for section in page.sections] == ["Claims", "Cells"]
    text = report.render_page(page)
    assert "run me" in text
    assert "cell 2" in text
    assert "failed" not in text


def test_the_page_tells_what_failed_and_does_without(tmp_path):
    page = page_of(study(good(3.0), fail, good(3.2)), tmp_path)
    assert page.headline[-1] == ("2 of 3", "cells are finished")
    text = report.render_page(page)
    assert "1 cells failed; the numbers above are without them." in text
    assert '<th scope="row">cell 1</th><td>ValueError: too much</td>' in text


def test_where_nothing_is_finished_nothing_is_claimed(tmp_path):
    page = page_of(study(fail), tmp_path)
    assert not page.claims
    assert page.headline == [("0 of 1", "cells are finished")]


def test_a_study_is_found_by_its_name():
    made = studies.build(
        {"name": "frepo_against_dm", "sizes": (2, 1), "num_seeds": 2, "hidden": (8,)}
    )
    assert [cell.name for cell in made.cells] == [
        f"{method}, {size} per class, seed {seed}"
        for seed in (0, 1)
        for size in (1, 2)
        for method in ("DM", "FRePo")
    ]
    assert len({studies.digest_of(cell) for cell in made.cells}) == 8


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        ({"name": "frepo_against"}, 'Did you mean "frepo_against_dm"'),
        ({}, 'There is no study ""'),
        ({"name": "frepo_against_dm", "num_seed": 1}, 'Did you mean "num_seeds"'),
        ({"name": "frepo_against_dm", "data_dir": "x"}, 'no option "data_dir"'),
        ({"name": "frepo_against_dm", "num_seeds": 0}, "`num_seeds` must be"),
        ({"name": "frepo_against_dm", "sizes": (1,)}, "pass at least two"),
        ({"name": "frepo_against_dm", "sizes": (0, 1)}, "`size` of `sizes` must be"),
        ({"name": "frepo_against_dm", "data_name": "digit"}, 'Did you mean "digits"'),
    ],
)
def test_what_a_study_cannot_be_is_told_in_a_sentence(description, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        studies.build(description)
