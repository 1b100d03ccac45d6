# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Pickles of numbers are read as Python reads them; of anything else nothing is run."""

import collections
import pickle
import tracemalloc

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from distill_jax import errors
from distill_jax.data import plain_pickle

SETTINGS = hypothesis.settings(max_examples=15, deadline=None, database=None)
NUMBERS = st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()
SCALARS = NUMBERS | st.text() | st.binary() | st.complex_numbers(allow_nan=False)
KEYS = st.text() | st.binary() | st.integers(-(2**63), 2**63 - 1)
CONTENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
        | st.binary().map(bytearray)
    ),
)
DTYPES = (
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?")
    | hnp.complex_number_dtypes(endianness="?")
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))

# An object array of these eight bytes for a pointer: printing it ends the process.
FORGED = (
    b"cnumpy\nndarray\n(K\x01\x85X\x01\x00\x00\x00Ocbuiltins\nbytearray\n"
    b"cbuiltins\nbytes\n((KAKAKAKAKAKAKAKAltR\x85RtR"
)
# numpy.core.multiarray._reconstruct(numpy.ndarray, (0,), b"b"), before its state.
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
BYTE = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
OBJECT = b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R"
HOSTILE = {
    "forged pointers": FORGED,
    "a list of forged pointers": b"cbuiltins\nlist\n(" + FORGED + b"tR",
    "an array of objects": ARRAY + b"(K\x01K\x01\x85" + OBJECT + b"\x89](K\x01etb",
    "forged pointers as state": ARRAY
    + b"(K\x01K\x01\x85"
    + OBJECT
    + b"\x89U\x08AAAAAAAAtb",
    "forged pointers in a buffer": b"cnumpy._core.numeric\n_frombuffer\n(C\x08AAAAAAAA"
    + OBJECT
    + b"K\x01\x85U\x01CtR",
    "more values than bytes": ARRAY + b"(K\x01M\xff\xff\x85" + BYTE + b"\x89U\x01Atb",
    "a negative shape": ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + BYTE + b"\x89U\x01Atb",
    "an array without a state": ARRAY,
    "a type with fields": BYTE
    + b"(K\x03U\x01|K\x00NNJ\xff\xff\xff\xffK\x00K\x00tb",
    "a type of many": b"cnumpy\ndtype\nU\x06(9,)u1K\x00K\x01\x87R",
    "an empty array of a size": b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R",
    "bytes of a size": b"cbuiltins\nbytes\nJ\xff\xff\xff\x7f\x85R",
    "a bytearray of a size": b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R",
    "a text that announces 4 GB": b"X\xff\xff\xff\xffabc",
    "bytes that announce 2^63": b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc",
    "an attribute": b"cnumpy\nndarray.tofile\n",
    "an attribute of a known module": b"cnumpy\nsave\n",
    "the name of a function": b"cnumpy\ndtype\n",
    "a persistent name": b"Pname\n",
    "a registered extension": b"\x82\x01",
    "a new object": b"cbuiltins\nset\n)\x81",
    "an instance": b"(ibuiltins\nset\n",
    "state for a list": b"]}U\x08__dict__Nsb",
    "a tuple of tuples as key": b"}" + b")" + b"\x85" * 20_000 + b"Ns",
    "an array as key": b"}" + ARRAY + b"(K\x01K\x01\x85" + BYTE + b"\x89U\x01AtbNs",
    "a number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n",
    "a later protocol": b"\x80\x06N",
    "nothing on the stack": b"",
    "a mark alone": b"(",
}  # fmt: skip


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@SETTINGS
@hypothesis.given(CONTENTS)
def test_plain_content_is_read_as_python_reads_it(protocol, content):
    written = pickle.dumps(content, protocol)
    expected = pickle.loads(written, encoding="bytes")
    assert plain_pickle.restricted_loads(written) == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@SETTINGS
@hypothesis.given(ARRAYS, st.booleans())
def test_arrays_are_read_as_python_reads_them(protocol, array, is_turned):
    array = array.T if is_turned else array
    content = [array, array, *array.reshape(-1)[:2]]
    found = plain_pickle.restricted_loads(pickle.dumps(content, protocol))
    for one, other in zip(found, content, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()
    if array.ndim:
        assert found[0] is found[1]
        assert found[0].flags.writeable


def test_texts_of_python_2_come_as_bytes():
    content = b"(S'a\\x00b'\nU\x02cdT\x02\x00\x00\x00efVg\\u00e4\nI01\nI00\nL-5L\nt."
    expected = (b"a\x00b", b"cd", b"ef", "gä", True, False, -5)
    assert plain_pickle.restricted_loads(content) == expected


def test_an_ordered_dict_comes_as_a_dict():
    content = pickle.dumps(collections.OrderedDict(a=1, b=[2]))
    assert plain_pickle.restricted_loads(content) == {"a": 1, "b": [2]}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_builds_no_plain_value_is_refused(content):
    tracemalloc.start()
    try:
        with pytest.raises(errors.InputError, match='The pickle "it" '):
            plain_pickle.restricted_loads(b"\x80\x02" + content + b".", "it")
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_the_number_of_a_place_in_the_memo_takes_no_memory():
    tracemalloc.start()
    try:
        assert plain_pickle.restricted_loads(b"\x80\x02Nr\xff\xff\xff\x0f.") is None
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "repeated",
    [
        # A text of 100000 letters, and with it again and again: a copy as bytes,
        b"c_codecs\nencode\nh\x00\x85R0",
        # a copy as an array,
        ARRAY + b"(K\x01J\xa0\x86\x01\x00\x85" + BYTE + b"\x89h\x01tb0",
        # and a set of a list of as many.
        b"cbuiltins\nset\nh\x02\x85R0",
    ],
)
def test_small_content_does_not_become_large(repeated):
    size = 100_000
    head = b"X\xa0\x86\x01\x00" + b"a" * size + b"q\x00"
    head += b"T\xa0\x86\x01\x00" + b"a" * size + b"q\x01](" + b"N" * size + b"eq\x02"
    with pytest.raises(errors.InputError, match="times its length and"):
        plain_pickle.restricted_loads(head + repeated * 2000 + b".")
    plain_pickle.restricted_loads(head + repeated + b".")
