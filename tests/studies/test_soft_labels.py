# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The study of soft labels: its cells, and what it claims from rows that are known."""

from typing import Any

import numpy as np
import pytest

from distill_jax import errors, studies
from distill_jax.studies import soft_labels
from distill_jax.studies.soft_labels import making, regimes, units

TINY: dict[str, Any] = {
    "network": {"name": "mlp", "hidden": (16,)},
    "sizes": (1, 2),
    "student": {"num_steps": 40},
    "chosen_epochs": (3, 3),
    "expert": {"epochs": (1, 3)},
    "num_draws": 3,
}
UNITS = range(4)


def verdicts(name, rows, everything=None):
    """The verdict of each claim of an experiment by its first words."""
    experiment = making.EXPERIMENTS[name]
    section = experiment.section(rows, {name: rows, **(everything or {})})
    assert all(table.rows for table in section.tables)
    return {claim.statement: claim.verdict for claim in section.claims}


def row(unit, size, labels, amount, accuracy, **more):
    accuracy += 0.001 * unit  # so that an interval has a width
    return {
        "seed": unit,
        "size": size,
        "labels": labels,
        "amount": float(amount),
        "accuracy": accuracy,
        "validation": accuracy,
        "entropy": 1.0 / (1 + amount),
        **more,
    }


def curve(size, epoch, best):
    """Accuracy that is highest at an epoch."""
    return 0.5 + 0.1 * np.log2(size) - 0.1 * abs(np.log2(epoch / best))


def rows_of_epochs(best):
    rows = []
    for unit in UNITS:
        for size, epoch_of_best in best.items():
            hard = 0.3 + 0.12 * np.log2(size)
            rows.append(row(unit, size, "hard", 0, hard, expert_accuracy=None))
            rows += [
                row(unit, size, "soft", e, curve(size, e, epoch_of_best),
                    expert_accuracy=0.1 * e)
                for e in (1, 1.5, 2, 3, 4, 6, 8)
            ]  # fmt: skip
    return rows


def test_a_unit_is_a_draw_and_every_cell_is_another():
    study = soft_labels.make(**TINY)
    assert len(study.cells) == 3 * (2 + 2 + 8)  # "epochs", "top_k" and eight others
    assert len({studies.digest_of(cell) for cell in study.cells}) == len(study.cells)
    assert {cell.seed for cell in study.cells} == {0, 1, 2}


def test_cells_do_not_depend_on_what_ran_before(tmp_path):
    options = TINY | {"num_draws": 2, "student": {"num_steps": 20}}
    make = lambda: soft_labels.make(experiments=["spread", "swap"], **options).cells
    study = make()
    whole = studies.run_cells(study[:2], tmp_path / "whole", progress=False)
    again = make()  # with experts of its own, as after a kill
    studies.run_cells(again[1:2], tmp_path / "killed", progress=False)
    resumed = studies.run_cells(make()[:2], tmp_path / "killed", progress=False)
    assert not whole.failed
    assert resumed.rows == whole.rows
    spread = [each for each in whole.rows if each["experiment"] == "spread"]
    assert len(spread) == 2 * 3
    assert len({each["accuracy"] for each in spread}) > 2


@pytest.mark.long(timeout=300)
def test_labels_of_a_unit_do_not_depend_on_which_units_are_learned(tmp_path):
    options = TINY | {"network": {"name": "mlp", "hidden": (16,)}}
    make = lambda: soft_labels.make(experiments=["learned"], **options)
    study = make()
    assert len(study.cells) == 3
    whole = studies.run_cells(study.cells, tmp_path / "whole", progress=False)
    alone = studies.run_cells(make().cells[2:], tmp_path / "last", progress=False)
    assert not whole.failed
    assert alone.rows == [row for row in whole.rows if row["seed"] == 2]
    told = {(row["seed"], row["labels"]): row for row in whole.rows}
    for name in ("bptt", "mtt", "ridge"):
        assert told[2, name]["like_all"] > 0
        shuffled = told[2, f"{name}, shuffled"]
        assert abs(shuffled["like_all"]) < told[2, name]["like_all"]
    assert study.sections_of(whole.rows)[0].claims


def test_claims_on_epochs_hold_for_rows_made_to_hold():
    told = verdicts("epochs", rows_of_epochs({1: 2, 4: 4}))
    assert set(told.values()) == {"holds"}, told


def test_claims_on_epochs_do_not_hold_for_rows_made_not_to():
    told = verdicts("epochs", rows_of_epochs({1: 4, 4: 2}))
    assert told["The best epoch is later at 4 per class than at 1."] == "does not hold"
    worse = rows_of_epochs({1: 2, 4: 4})
    for each in worse:
        if each["labels"] == "soft":
            each["accuracy"] -= 0.4
            each["validation"] -= 0.4
    told = verdicts("epochs", worse)
    at_one = "Soft labels are better than hard ones at 1 per class."
    assert told[at_one] == "does not hold"


def test_the_best_epoch_is_chosen_on_validation_alone():
    rows = rows_of_epochs({1: 2})
    for each in rows:
        each["validation"] = -abs(each["amount"] - 8)  # It prefers the last epoch.
    best = units.best_of(rows, size=1, labels="soft")
    assert {epoch for epoch, _ in best.values()} == {8.0}
    expected = 100 * (curve(1, 8, 2) + 0.002)
    assert best[2][1] == pytest.approx(expected)


@pytest.mark.parametrize("is_swapped_right", [True, False])
def test_the_swap_test_is_relative_to_labels_as_they_are(is_swapped_right):
    left = (0.2, 0.5, 0.8, 0.8) if is_swapped_right else (0.8, 0.5, 0.2, 0.8)
    rows = [
        row(unit, size, "swap", i, value)
        for unit in UNITS
        for size in (1, 5)
        for i, value in zip((1, 2, 99, 100), left, strict=True)
    ]
    told = verdicts("swap", rows)
    falls = next(v for s, v in told.items() if s.startswith("The lower the rank"))
    assert falls == ("holds" if is_swapped_right else "does not hold")
    more = next(v for s, v in told.items() if s.startswith("The largest entry matters"))
    assert more != "holds"  # Both sizes are alike.


def test_structure_is_held_against_every_control():
    names = [("soft", 0), ("hard", 0), ("shuffled", 0), ("smooth", 0), ("noisy", 0.8)]
    names.append(("half mixed with noise", 0.1))
    values = (0.6, 0.4, 0.2, 0.35, 0.3, 0.5)
    rows = [
        row(unit, 1, name, amount, value)
        for unit in UNITS
        for (name, amount), value in zip(names, values, strict=True)
    ]
    told = verdicts("structure", rows)
    assert len(told) == 6
    assert set(told.values()) == {"holds"}


def test_entries_are_held_against_twice_the_images():
    rows = [
        row(unit, size, "kept", k, min(0.6, 0.2 + 0.1 * np.log2(k) * size))
        for unit in UNITS
        for size in (1, 2)
        for k in (1, 2, 4, 8, 16)
    ]
    epochs = [row(unit, 2, "hard", 0, 0.5) for unit in UNITS]
    told = verdicts("top_k", rows, {"epochs": epochs})
    assert set(told.values()) == {"holds"}, told


def test_random_images_are_no_better_than_random_images():
    section = regimes.section_of(rows_of_epochs({1: 2}))
    assert section is not None
    assert section.claims[0].value == pytest.approx(-0.1)
    assert regimes.section_of(rows_of_epochs({1: 2})[:5]) is None  # of one draw


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"experiments": ["swaps"]}, 'no experiment "swaps". Did you mean "swap"'),
        ({"chosen_epochs": (2, 3)}, "chosen epoch 2 is none at which"),
        (
            {"student": {"num_steps": (40,)}},
            "has 1 numbers for the 2 sizes",
        ),
        ({"max_per_class": 0}, "`max_per_class` must be"),
        ({"num_draws": 0}, "`num_draws` must be"),
        (
            {"expert": {"epochs": (1, 3), "num_epochs": 2}},
            "after 3 epochs, but trained for 2",
        ),
        ({"expert": {"epochs": (1, 3), "learning_rat": 2}}, 'no field "learning_rat"'),
        (
            {"student": {"num_steps": 9, "mometum": 2}},
            'no field "mometum". Did you mean "momentum"',
        ),
    ],
)
def test_what_the_study_cannot_be_is_told_in_a_sentence(options, sentence):
    with pytest.raises(errors.InputError, match=sentence):
        soft_labels.make(**{**TINY, **options})
