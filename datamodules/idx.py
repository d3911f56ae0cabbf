"""The IDX format of the MNIST files: a strict reader of bytes that are not trusted."""

from __future__ import annotations

import math
import zlib

import numpy as np
import numpy.typing as npt

from recipebench.errors import RequestError

LARGEST = 1 << 30
"""Decompressed bytes beyond which a file is refused unless the caller says otherwise."""

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The format's type codes and numpy's names for them; integers and floats are big-endian."""

_GZIP = b"\x1f\x8b"


def read(data: bytes, *, name: str = "IDX data", limit: int = LARGEST) -> npt.NDArray[np.generic]:
    """Decode an IDX file, gzip-compressed or plain.

    The file is: two zero bytes, a type code, the number of dimensions d, then d sizes (4 bytes each,
    big-endian), then exactly the values.

    Args:
        data: the whole file.
        name: what to call it in an error.
        limit: most bytes that decompression may give.

    Returns:
        A read-only array of the shape and type that the header names.

    Raises:
        RequestError: not IDX, cut off, too long, or larger than `limit`.

    Example:
        >>> read(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
        array([5, 0, 4], dtype=uint8)

    References:
        LeCun, Cortes and Burges, The MNIST database, "File formats".
    """
    if data.startswith(_GZIP):
        data = decompress(data, name=name, limit=limit)
    dtype, shape, start = _header(data, name)
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise RequestError(
            f"{name}: expected {expected} bytes for {dtype.name} values of shape {shape}, got {len(data)}."
        )
    try:
        return np.ndarray(shape, dtype, buffer=data, offset=start)
    except ValueError as error:
        raise RequestError(
            f"{name}: no array can have {len(shape)} dimensions of these sizes: {error}."
        ) from error


def decompress(data: bytes, *, name: str = "gzip data", limit: int = LARGEST) -> bytes:
    """Decompress one gzip member, never holding more than `limit` bytes of output.

    Args:
        data: the whole compressed file; its checksum is verified, and nothing may follow it.
        name: what to call it in an error.
        limit: most bytes of output.

    Raises:
        RequestError: not gzip, damaged, cut off, followed by other bytes, or larger than `limit`.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise RequestError(f"{name}: expected intact gzip data, got an error: {error}.") from error
    if len(plain) > limit:
        raise RequestError(f"{name}: expected at most {limit} bytes after decompression, got more.")
    if not stream.eof:
        raise RequestError(f"{name}: expected a whole gzip file, got one that is cut off.")
    if surplus := len(stream.unused_data):
        raise RequestError(f"{name}: expected the end of the gzip data, got {surplus} bytes more.")
    return plain


def _header(data: bytes, name: str) -> tuple[np.dtype[np.generic], tuple[int, ...], int]:
    if len(data) < 4 or data[0] or data[1] or data[2] not in TYPES or not data[3]:
        raise RequestError(
            f"{name}: expected an IDX header (00 00, a type of {', '.join(f'{t:02x}' for t in TYPES)}, "
            f"at least one dimension), got {data[:4].hex(' ') or 'nothing'}."
        )
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise RequestError(f"{name}: expected a header of {start} bytes, got {len(data)} bytes in all.")
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    return np.dtype(TYPES[data[2]]), shape, start
