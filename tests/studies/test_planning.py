# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a study will take: from forecasts, from what is finished, once for each kind."""

import pytest

from distill_jax import studies
from distill_jax.studies import estimates, records


class Toy:
    """Two kinds of cells with three seeds, which count how often they are forecast."""

    def __init__(self, *, run_seconds=2.0, has_needs=True):
        self.asked = []

        def cell(n, seed):
            def needs():
                self.asked.append(n)
                return studies.Needs(10.0, run_seconds, 1000 * n, 1500, disk_bytes=7)

            return studies.Cell(
                name=f"{n} {seed}",
                run=lambda key: [{"x": 1.0}],
                description={"n": n},
                seed=seed,
                needs=needs if has_needs else None,
            )

        self.cells = [cell(n, seed) for n in (1, 2) for seed in range(3)]


def test_a_kind_is_forecast_and_compiled_once():
    toy = Toy()
    plan = studies.plan_of(toy.cells)
    assert toy.asked == [1, 2]
    each = 2.0 + estimates.RELOADING * 10.0
    assert plan.seconds_left == pytest.approx(2 * (10.0 + 2.0 + 2 * each))
    assert (plan.num_cells, plan.num_finished, plan.num_unknown) == (6, 0, 0)
    assert (plan.peak_bytes, plan.memory_bytes) == (2000, 1500)
    assert not plan.fits
    assert plan.disk_bytes == 6 * 7 + 6 * 1000


def test_what_is_finished_is_counted_and_its_kind_is_not_forecast(tmp_path):
    toy = Toy()
    studies.run_cells(toy.cells[:1], tmp_path, progress=False)
    plan = studies.plan_of(toy.cells, tmp_path)
    assert plan.num_finished == 1
    assert toy.asked == [2]
    each = 2.0 + estimates.RELOADING * 10.0
    assert plan.seconds_left == pytest.approx(10.0 + 2.0 + 2 * each, abs=0.1)
    size = (tmp_path / records.FILE_NAME).stat().st_size
    assert plan.disk_bytes == 3 * 7 + 6 * size


def test_what_does_not_fit_has_no_time():
    plan = studies.plan_of(Toy(run_seconds=None).cells)
    assert plan.num_unknown == 6
    assert plan.seconds_left == 0


def test_cells_that_say_nothing_take_what_the_others_took(tmp_path):
    toy = Toy(has_needs=False)
    plan = studies.plan_of(toy.cells, tmp_path)
    assert (plan.num_unknown, plan.peak_bytes, plan.memory_bytes) == (6, 0, None)
    assert plan.fits
    studies.run_cells(toy.cells[:1], tmp_path, progress=False)
    assert studies.plan_of(toy.cells, tmp_path).num_unknown == 0


def record(n, seconds, compile_seconds):
    return records.Record("d", "name", {"n": n}, 0, seconds, compile_seconds, "c")


def test_a_kind_that_is_compiled_is_not_compiled_again():
    finished = [record(1, 12.0, 10.0), record(1, 4.0, 0.0), record(2, 25.0, 20.0)]
    left = lambda *kinds: [{"n": n} for n in kinds]
    # The second kind has no later cell yet: a fifth of 20 to read what was compiled.
    each = {1: 3.0, 2: 5.0 + 4.0}
    assert estimates.seconds_left(left(1, 1, 2), finished) == pytest.approx(
        2 * each[1] + each[2]
    )
    # A new kind is as the others are on average, and compiles once: 10 and 16 more.
    assert estimates.seconds_left(left(3, 3), finished) == pytest.approx(2 * 6 + 13)
    assert estimates.seconds_left([], finished) == 0
    assert estimates.seconds_left(left(1), []) is None


def test_no_cell_takes_less_than_nothing():
    finished = [record(1, 3.0, 5.0)]  # Events of compilation may overlap.
    assert estimates.seconds_left([{"n": 1}], finished) == pytest.approx(1.0)
