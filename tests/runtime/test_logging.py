# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
import errno
import io
import sys

import numpy as np
import pytest
import tiny_disk

from distill_jax import errors
from distill_jax.runtime import history, logging


def _rows(*steps):
    return [{"step": step, "loss": 0.5, "metrics": {"a": 1}} for step in steps]


def test_a_half_written_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 1.5}\n{"step": 2, "loss"')
    assert logging.read_rows(path) == [{"step": 1, "loss": 1.5}]
    journal = logging.Journal(tmp_path, last_step=5)
    journal.write(_rows(2))
    assert [row["step"] for row in logging.read_rows(path)] == [1, 2]


def test_a_line_without_its_newline_counts_as_unfinished(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 20}')
    assert logging.read_rows(path) == [{"step": 1}]


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"loss": 1}', b"\xff", b'"step"'])
def test_a_broken_line_before_the_last_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 3}\n')
    with pytest.raises(errors.InputError, match=r"Line 2 of .* is not a JSON object"):
        logging.read_rows(path)


def test_rows_after_the_restored_step_are_dropped(tmp_path):
    logging.Journal(tmp_path, last_step=None).write(_rows(0, 1, 2, 3))
    assert [r["step"] for r in logging.Journal(tmp_path, last_step=2).rows] == [0, 1, 2]
    assert len(logging.read_rows(tmp_path / "metrics.jsonl")) == 3
    assert [r["step"] for r in logging.Journal(tmp_path, last_step=0).rows] == [0]
    assert logging.Journal(tmp_path, last_step=None).rows == []
    assert logging.read_rows(tmp_path / "metrics.jsonl") == []


def test_numbers_that_are_not_finite_are_null_in_the_file_and_nan_in_the_history(
    tmp_path,
):
    journal = logging.Journal(tmp_path, last_step=None)
    row = {"step": 1, "loss": 0.1, "metrics": {"a": float("inf"), "b": 3}}
    journal.write([row, {"step": 1, "evaluation": {"accuracy": float("nan")}}])
    assert logging.read_rows(tmp_path / "metrics.jsonl") == journal.rows
    assert journal.rows[0]["metrics"] == {"a": None, "b": 3}
    made = history.from_rows(journal.rows, compile_seconds=0.0, run_seconds=0.0)
    assert np.isnan(made.metrics["a"]).all()
    assert np.isnan(made.evaluations[0]["accuracy"])


def test_numbers_are_exact_in_the_file(tmp_path):
    values = np.random.default_rng(0).normal(size=100).astype(np.float32)
    rows = [
        {"step": i, "loss": v.item(), "metrics": {}} for i, v in enumerate(values, 1)
    ]
    logging.Journal(tmp_path, last_step=None).write(rows)
    again = [row["loss"] for row in logging.read_rows(tmp_path / "metrics.jsonl")]
    np.testing.assert_array_equal(np.array(again, np.float32), values)


def test_rows_that_do_not_fit_the_disk_leave_only_whole_ones(tmp_path):
    with tiny_disk.mounted(tmp_path / "disk", 1) as disk:
        journal = logging.Journal(disk, last_step=None)
        journal.write(_rows(1))
        with pytest.raises(OSError, match="No space left") as info:
            journal.write(_rows(*range(2, 100_000)))
        assert info.value.errno == errno.ENOSPC
        content = (disk / "metrics.jsonl").read_bytes()
        assert content.count(b"\n") == 1
        assert content.endswith(b"\n")


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "is_shown", "expected"),
    [
        (_Terminal, None, True),
        (_Terminal, False, False),
        (io.StringIO, None, False),
        (io.StringIO, True, True),
    ],
)
def test_the_progress_bar_shows_on_a_terminal_only(
    monkeypatch, stream, is_shown, expected
):
    fake = stream()
    monkeypatch.setattr(sys, "stderr", fake)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with logging.ProgressBar(num_steps=40, step=10, is_shown=is_shown) as bar:
        bar.update(20, loss=0.123456, steps_per_second=56.78)
    text = fake.getvalue()
    assert bool(text) == expected
    if expected:
        for part in ("20/40", "56.8 steps/s", "loss 0.1235"):
            assert part in text


def test_tensorboard_gets_the_numbers(tmp_path):
    pytest.importorskip("tensorboardX")
    journal = logging.Journal(tmp_path, last_step=None, use_tensorboard=True)
    journal.write([*_rows(1, 2), {"step": 2, "evaluation": {"accuracy": 0.5}}])
    journal.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    content = file.read_bytes()
    for name in (b"loss", b"metrics/a", b"evaluation/accuracy"):
        assert name in content


def test_tensorboard_without_its_package_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(errors.InputError, match=r"install `distill_jax\[tensorboard\]"):
        logging.Journal(tmp_path, last_step=None, use_tensorboard=True)
    with pytest.raises(errors.InputError, match="`workdir` is None"):
        logging.Journal(None, last_step=None, use_tensorboard=True)
