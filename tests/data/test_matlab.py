# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""MATLAB files are read as scipy reads them, and damaged or hostile ones refused."""

import struct
import tracemalloc
import zlib

import hypothesis
import numpy as np
import pytest
import scipy.io
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distill_jax import errors
from distill_jax.data import matlab
from distill_jax.storage import bounds

SETTINGS = hypothesis.settings(max_examples=60, deadline=None, database=None)
DTYPES = (
    hnp.integer_dtypes(endianness="=")
    | hnp.unsigned_integer_dtypes(endianness="=")
    | hnp.floating_dtypes(endianness="=", sizes=(32, 64))
    | hnp.complex_number_dtypes(endianness="=", sizes=(64, 128))
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=2, max_dims=4, min_side=0))


@SETTINGS
@hypothesis.example(np.array([[1 + 0j, complex(2, np.inf)]]), np.eye(2), False)
@hypothesis.given(ARRAYS, ARRAYS, st.booleans())
def test_arrays_are_read_as_scipy_reads_them(tmp_path_factory, x, y, is_packed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    content = {"x": x, "text": "words", "a_longer_name": y, "cells": {"a": 1}}
    scipy.io.savemat(path, content, do_compression=is_packed)
    found = matlab.read_arrays(path, ["x", "text", "a_longer_name", "cells", "gone"])
    with np.errstate(invalid="ignore"):  # It multiplies infinite parts by i.
        expected = scipy.io.loadmat(path)
    assert set(found) == {"x", "a_longer_name"}
    for name, array in found.items():
        assert array.dtype == expected[name].dtype
        assert array.shape == expected[name].shape
        # What was written, for scipy reads 2 + inf i as nan + inf i.
        written = {"x": x, "a_longer_name": y}[name]
        np.testing.assert_array_equal(array.real, written.real)
        np.testing.assert_array_equal(array.imag, written.imag)


def element(kind, content, order="<"):
    filling = bytes(-len(content) % 8)
    return struct.pack(f"{order}II", kind, len(content)) + content + filling


def matrix(shape, stored, content, *, kind=6, order="<", name=b"x"):
    axes = struct.pack(f"{order}{len(shape)}i", *shape)
    head = struct.pack(f"{order}II", kind, 0)
    parts = ((6, head), (5, axes), (1, name), (stored, content))
    return element(14, b"".join(element(*part, order) for part in parts), order)


def write(path, *elements, order="<", packed=False):
    mark = struct.pack(f"{order}HH", 0x0100, 0x4D49)
    if packed:
        packs = [zlib.compress(part) for part in elements]
        elements = [struct.pack(f"{order}II", 15, len(part)) + part for part in packs]
    path.write_bytes(b"MATLAB 5.0 by hand".ljust(124) + mark + b"".join(elements))
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_small_numbers_of_a_large_type_and_both_orders_of_bytes(
    tmp_path, order, packed
):
    halves = matrix((2, 3), 3, struct.pack(f"{order}6h", *range(6)), order=order)
    path = write(tmp_path / "a.mat", halves, order=order, packed=packed)
    (x,) = matlab.read_arrays(path, ["x"]).values()
    assert x.dtype == np.float64
    np.testing.assert_array_equal(x, [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(x, scipy.io.loadmat(path)["x"])


BYTES = bytes(24)
HOSTILE = {
    "more values than bytes": [matrix((2, 2**30), 2, BYTES, kind=9)],
    "a product of axes beyond 2^64": [matrix((2**31 - 1,) * 3, 2, BYTES, kind=9)],
    "a negative axis": [matrix((-4, -6), 2, BYTES, kind=9)],
    "no axis": [matrix((), 2, BYTES[:1], kind=9)],
    "a hundred axes": [matrix((1,) * 100, 2, BYTES[:1], kind=9)],
    "numbers of no type": [matrix((4, 6), 99, BYTES, kind=9)],
    "an array within another": [matrix((4, 6), 14, BYTES, kind=9)],
    "a packed part": [matrix((4, 6), 15, BYTES, kind=9)],
    "two arrays of a name": [matrix((4, 6), 2, BYTES, kind=9)] * 2,
    "an element of no type": [element(77, BYTES)],
    "an element that is cut off": [matrix((4, 6), 2, BYTES, kind=9)[:-9]],
    "an array cut off in its flags": [element(14, b"\6\0\0\0")],
    "bytes behind an array": [
        element(14, matrix((4, 6), 2, BYTES, kind=9)[8:] + BYTES)
    ],
    "a name without end": [matrix((4, 6), 2, BYTES, kind=9, name=b"x" * 2000)],
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("elements", HOSTILE.values(), ids=HOSTILE)
def test_hostile_heads_are_refused(tmp_path, elements, packed):
    path = write(tmp_path / "a.mat", *elements, packed=packed)
    tracemalloc.start()
    try:
        with pytest.raises(errors.InputError, match=r'a\.mat" is not a sound MATLAB'):
            matlab.read_arrays(path, ["x"])
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def zeros_of(shape):
    """A packed array of bytes, all zero, made without all of them in memory."""
    size = int(np.prod(shape))
    inner = matrix(shape, 2, b"", kind=9)[8:-8] + struct.pack("<II", 2, size)
    pack = zlib.compressobj(9)
    parts = [pack.compress(struct.pack("<II", 14, len(inner) + size) + inner)]
    parts += [pack.compress(bytes(2**20)) for _ in range(size // 2**20)]
    return b"".join([*parts, pack.flush()])


def test_a_small_file_does_not_become_large(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "_FREE", 2**22)
    packed = zeros_of((2**12, 2**12))
    path = write(tmp_path / "a.mat", struct.pack("<II", 15, len(packed)) + packed)
    tracemalloc.start()
    try:
        with pytest.raises(errors.InputError, match=r"announces 16\.8 MB, but holds"):
            matlab.read_arrays(path, ["x"])
        matlab.read_arrays(path, ["y"])  # What is not wanted is not unpacked.
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_headers_are_checked_before_anything_is_unpacked(tmp_path):
    def check(headers):
        assert headers["x"].shape == (2**10, 2**10)
        raise errors.InputError("Not wanted.")

    packed = zeros_of((2**10, 2**10))
    path = write(tmp_path / "a.mat", struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(errors.InputError, match=r"^Not wanted\.$"):
        matlab.read_arrays(path, ["x"], check_fn=check)
    assert matlab.read_arrays(path, ["x"])["x"].shape == (2**10, 2**10)


@pytest.mark.parametrize("change", ["cut", "bit", "sum"])
def test_damaged_packed_content_is_refused(tmp_path, change):
    path = tmp_path / "a.mat"
    noise = np.random.default_rng(0).integers(0, 256, (30, 50)).astype(np.uint8)
    scipy.io.savemat(path, {"x": noise}, do_compression=True)
    content = bytearray(path.read_bytes())
    if change == "cut":
        del content[-9:]
        content[132:136] = struct.pack("<I", len(content) - 136)
    content[{"cut": 5, "bit": 900, "sum": -1}[change]] ^= 1
    path.write_bytes(content)
    with pytest.raises(errors.InputError, match="is not a sound MATLAB file"):
        matlab.read_arrays(path, ["x"])


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"MATLAB 7.3 MAT-file", 'save it again with "-v7"'),
        (b"\x89HDF\r\n\x1a\n", 'save it again with "-v7"'),
        (b"\0\0\0\0\1\0\0\0", "does not begin as level 5 does"),
        (b"GIF89a", "of an unknown version"),
    ],
)
def test_other_versions_are_named(tmp_path, head, message):
    path = tmp_path / "a.mat"
    path.write_bytes(head.ljust(512))
    with pytest.raises(errors.InputError, match=message):
        matlab.read_arrays(path, ["x"])
