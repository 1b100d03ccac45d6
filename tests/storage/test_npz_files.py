# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""npz files are read as numpy reads them; no head makes one larger than it is."""

import io
import struct
import tracemalloc
import zipfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distill_jax import data, errors
from distill_jax.storage import bounds, distilled, npz_files

SETTINGS = hypothesis.settings(max_examples=30, deadline=None, database=None)
DTYPES = (
    hnp.scalar_dtypes() | hnp.unicode_string_dtypes() | hnp.byte_string_dtypes()
).filter(lambda dtype: dtype.itemsize and dtype.kind not in "mM")
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))


@SETTINGS
@hypothesis.given(ARRAYS, ARRAYS, st.booleans())
def test_arrays_are_read_as_numpy_reads_them(x, y, is_packed):
    stream = io.BytesIO()
    (np.savez_compressed if is_packed else np.savez)(stream, x=x, y=y.T)
    with np.load(io.BytesIO(stream.getvalue())) as expected:
        found = npz_files.read(stream.getvalue(), what="It")
        assert list(found) == expected.files
        for name, array in found.items():
            assert (array.dtype, array.shape) == (
                expected[name].dtype,
                expected[name].shape,
            )
            assert array.tobytes() == expected[name].tobytes()


def head(text, version=(1, 0)):
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text


def archive(members, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def described(descr="'|u1'", shape="(3,)", more=""):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, {more}}}\n"
    return head(text.encode())


HOSTILE = {
    "more values than bytes": described(shape="(10**12,)"),
    "a million million values": described(shape="(1000000000000,)"),
    "a negative axis": described(shape="(-3,)"),
    "an axis beyond 2^64": described(shape="(99999999999999999999, 0)"),
    "a hundred axes": described(shape=f"({'1,' * 100})"),
    "values of no size": described("'|S0'", "(1000000000000,)"),
    "objects": described("'|O'"),
    "records": described("[('a', '|u1')]"),
    "an unknown type": described("'|q7'"),
    "a nested head": described("(" * 900 + ")" * 900),
    "a head of many signs": described("-" * 5000 + "1"),
    "a head of attributes": described("a" + ".a" * 4000),
    "a head that calls": described("print()"),
    "an endless head": described(more=" " * 60_000),
    "no head": b"abc",
    "nothing": b"",
    "a later version": head(b"{}", (3, 0)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_heads_are_refused(content, tmp_path):
    path = tmp_path / "mine.npz"
    good = described() + b"abc"
    path.write_bytes(archive({"x_train.npy": content + b"abc", "y_train.npy": good}))
    tracemalloc.start()
    try:
        with pytest.raises(errors.InputError, match=r"mine\.npz\" cannot be read"):
            data.load(f"npz:{path}")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(method):
    content = archive({"x.npy": described() + b"abc"}, method)
    with pytest.raises(ValueError, match="packed in a way that numpy never uses"):
        npz_files.headers(content, what="It")


def test_two_arrays_of_one_name_are_refused():
    content = archive({"x": described() + b"abc", "x.npy": described() + b"abc"})
    with pytest.raises(ValueError, match='holds "x" twice'):
        npz_files.headers(content, what="It")


def zeros(num_blocks):
    """An archive of one array of zeros, each block a megabyte."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        with file.open("x_train.npy", "w") as member:
            member.write(described(shape=f"({num_blocks}, {2**20})"))
            for _ in range(num_blocks):
                member.write(bytes(2**20))
        file.writestr("y_train.npy", described() + b"\0\1\0")
    return stream.getvalue()


@pytest.mark.parametrize("free", [2**22, 2**28])
def test_a_small_archive_does_not_become_large(tmp_path, monkeypatch, free):
    monkeypatch.setattr(bounds, "_FREE", free)
    path = tmp_path / "mine.npz"
    path.write_bytes(zeros(8))
    said = (
        "no plausible content" if free == 2**22 else r'8 inputs "x_train" but 3 labels'
    )
    tracemalloc.start()
    try:
        with pytest.raises(errors.InputError, match=said):
            data.load(f"npz:{path}")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_an_array_that_is_not_wanted_is_not_unpacked(tmp_path):
    x, y = np.ones((6, 2)), np.arange(6) % 2
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=x, y_train=y)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("other.npy", described(shape="(90003,)") + bytes(90_000) + b"abc")
    content = bytearray(path.read_bytes())
    content[content.index(b"abc")] ^= 1  # Its sum is wrong now.
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="holds other, which is not used"):
        data.load(f"npz:{path}")
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32"):
        npz_files.read(path, what="It")


def test_a_stored_set_is_listed_before_it_is_unpacked(tmp_path, monkeypatch):
    made = distilled.DistilledSet(np.zeros((4, 2), np.float32), np.eye(4))
    made.save(tmp_path)
    monkeypatch.setattr(npz_files, "_array", lambda *_: pytest.fail("unpacked"))
    document = (tmp_path / "distilled.json").read_text()
    (tmp_path / "distilled.json").write_text(document.replace('"float32"', '"float64"'))
    with pytest.raises(errors.InputError, match="they must agree"):
        distilled.DistilledSet.load(tmp_path)
