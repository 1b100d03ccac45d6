# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sizes are weighed before anything is unpacked, and causes become sentences."""

import numpy as np
import pytest

from distill_jax import errors
from distill_jax.storage import bounds


@pytest.mark.parametrize(
    ("num_bytes", "packed", "said"),
    [
        (10**9, 10**5, "cannot be unpacked to so much"),
        (10**9, 10**6, "no plausible content"),
        (2**27, 2**20, None),
        (10**8, 10**8, None),
        (10**18, 10**18, "MB are free"),
    ],
)
def test_sizes_that_cannot_be_are_refused(num_bytes, packed, said):
    if said is None:
        return bounds.check_size(num_bytes, packed=packed, what="It")
    with pytest.raises(errors.InputError, match=said):
        bounds.check_size(num_bytes, packed=packed, what="It")


@pytest.mark.parametrize(
    ("content", "expected"),
    [("MemFree: 1 kB\nMemAvailable:  7 kB\n", 7 * 1024), ("", 2**62), ("\n\n", 2**62)],
)
def test_memory_is_the_least_of_what_is_told(tmp_path, monkeypatch, content, expected):
    told, limit = tmp_path / "meminfo", tmp_path / "limit"
    told.write_text(content)
    limit.write_text("max\n")
    monkeypatch.setattr(bounds, "_MEMORY", told)
    monkeypatch.setattr(bounds, "_LIMITS", (limit, tmp_path / "gone"))
    assert bounds.available_memory() == expected
    limit.write_text("4096\n")
    assert bounds.available_memory() == 4096


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (ValueError("no {brace}\nnor line"), "It failed (no {brace} nor line)."),
        (KeyError("x"), "It failed (KeyError: 'x')."),
        (MemoryError(), "It failed (MemoryError)."),
        (RecursionError("deep"), "It failed (RecursionError: deep)."),
    ],
)
def test_the_cause_is_told_and_kept(cause, said):
    with (
        pytest.raises(errors.InputError) as caught,
        bounds.reading("It failed ({error})."),
    ):
        raise cause
    assert (str(caught.value), caught.value.__cause__) == (said, cause)


def test_what_is_a_sentence_already_stays():
    with pytest.raises(errors.InputError, match=r"^Mine\.$"), bounds.reading("It."):
        raise errors.InputError("Mine.")


def test_a_header_knows_its_bytes():
    assert bounds.Header((3, 5), np.dtype("i2")).num_bytes == 30
    assert bounds.Header((), np.dtype("f8")).num_bytes == 8
