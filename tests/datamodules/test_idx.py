"""The IDX reader against hand-made, damaged and hostile files."""

from __future__ import annotations

import gzip
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipebench.datamodules import idx
from recipebench.errors import RequestError

PLAIN = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
PACKED = gzip.compress(PLAIN, mtime=0)


@pytest.mark.parametrize("data", [PLAIN, PACKED])
def test_reads_plain_and_compressed(data: bytes) -> None:
    array = idx.read(data)

    assert array.dtype == np.uint8
    assert array.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert not array.flags.writeable


@pytest.mark.parametrize(("code", "dtype"), idx.TYPES.items())
def test_reads_every_type_of_the_format(code: int, dtype: str) -> None:
    values = np.array([1, 2, 100], dtype)

    array = idx.read(bytes([0, 0, code, 1, 0, 0, 0, 3]) + values.tobytes())

    assert array.dtype == np.dtype(dtype)
    assert array.tolist() == [1, 2, 100]


def test_reads_no_values_where_a_size_is_zero() -> None:
    assert idx.read(bytes([0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 3])).shape == (0, 3)


@pytest.mark.parametrize("length", range(len(PLAIN)))
def test_a_file_cut_off_anywhere_is_refused(length: int) -> None:
    with pytest.raises(RequestError, match=r"^f: expected "):
        idx.read(PLAIN[:length], name="f")


@pytest.mark.parametrize("length", range(1, len(PACKED)))
def test_a_compressed_file_cut_off_anywhere_is_refused(length: int) -> None:
    with pytest.raises(RequestError, match=r"^f: expected "):
        idx.read(PACKED[:length], name="f")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an IDX header .* got nothing"),
        (b"\x01" + PLAIN[1:], "expected an IDX header .* got 01 00 08 02"),
        (b"\x00\x01" + PLAIN[2:], "expected an IDX header"),
        (b"\x00\x00\x0a" + PLAIN[3:], "a type of 08, 09, 0b, 0c, 0d, 0e"),
        (b"\x00\x00\x08\x00" + PLAIN[4:], "at least one dimension"),
        (PLAIN + b"\x00", r"expected 18 bytes for uint8 values of shape \(2, 3\), got 19"),
        (PLAIN[:7] + b"\x03" + PLAIN[8:], r"expected 21 bytes for uint8 values of shape \(3, 3\), got 18"),
        (b"\x00\x00\x08\xff" + PLAIN[4:], "expected a header of 1024 bytes, got 18"),
        (bytes([0, 0, 14, 4]) + b"\xff" * 16, "expected [0-9]{40} bytes"),
        (bytes([0, 0, 8, 200]) + b"\0\0\0\1" * 200 + b"x", "no array can have"),
        (bytes([0, 0, 8, 4]) + b"\0\0\0\0" + b"\xff" * 12, "no array can have"),
        (PACKED + b"x", "expected the end of the gzip data, got 1 bytes more"),
        (PACKED * 2, "expected the end of the gzip data"),
        (b"\x1f\x8bnonsense", "expected intact gzip data"),
    ],
)
def test_what_is_not_idx_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        idx.read(data)


@given(position=st.integers(10, len(PACKED) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_in_compressed_data_never_gives_other_values(position: int, bit: int) -> None:
    data = bytearray(PACKED)
    data[position] ^= 1 << bit

    try:
        values = idx.read(bytes(data)).tolist()
    except RequestError:
        values = None  # found out; a flipped bit of padding changes nothing

    assert values in (None, [[1, 2, 3], [4, 5, 6]])


@given(
    start=st.sampled_from([b"", b"\0\0\x08\x01", b"\0\0\x0e\x02", b"\x1f\x8b\x08"]),
    rest=st.binary(max_size=40),
)
def test_arbitrary_bytes_give_an_array_or_a_request_error(start: bytes, rest: bytes) -> None:
    try:
        array = idx.read(start + rest)
    except RequestError:
        return

    assert array.nbytes == len(start + rest) - 4 - 4 * array.ndim


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()

    with pytest.raises(RequestError, match=r"^bomb: expected at most 1000 bytes after decompression"):
        idx.read(bomb, name="bomb", limit=1000)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_the_limit_itself_is_allowed() -> None:
    assert idx.decompress(PACKED, limit=len(PLAIN)) == PLAIN
