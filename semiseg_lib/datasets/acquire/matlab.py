"""One array of a MATLAB 5 file: bytes in a field of a struct, as SBD stores its masks.

scipy's reader trusts the sizes in a file, so that a damaged one can crash the process or make it
hang. Here each size is checked before it is used, and the rest of the file is not decoded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

HEADER, LITTLE_ENDIAN = 128, b"\x00\x01IM"
UINT8, MATRIX, COMPRESSED = 2, 14, 15  # types of data elements
STRUCT = 2  # class of an array
LARGEST = 1 << 28
"""Bytes of the largest element that is decompressed."""


def read_field(content: bytes, variable: str, field: str) -> np.ndarray | None:
    """Return ``variable.field`` as uint8 (H, W); None if the file does not have it.

    Args:
        content: the bytes of the file.
        variable: name of a struct.
        field: name of its field, a matrix of bytes.

    Raises:
        ValueError, struct.error, zlib.error, StopIteration: the file is damaged or of another kind.
    """
    if content[HEADER - len(LITTLE_ENDIAN):HEADER] != LITTLE_ENDIAN:
        raise ValueError("it is not a little-endian MATLAB 5 file")
    for kind, element in _elements(content[HEADER:]):
        if kind == COMPRESSED:
            kind, element = next(_elements(_decompressed(element)))
        parts = _elements(element)
        if kind != MATRIX or next(parts)[1][0] != STRUCT:
            continue
        _, name = next(parts), next(parts)[1]
        if name != variable.encode():
            continue
        length, names = int.from_bytes(next(parts)[1], "little"), next(parts)[1]
        fields = [one.rstrip(b"\0") for one in _pieces(names, length)]
        for one, (_, array) in zip(fields, parts, strict=True):
            if one == field.encode():
                return _matrix(array)
    return None


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each data element."""
    place = 0
    while place < len(content):
        kind, size = struct.unpack_from("<II", content, place)
        start, padded = place + 8, size if kind == COMPRESSED else size + -size % 8
        if kind >> 16:  # up to four bytes stand in the tag
            kind, size, start, padded = kind & 0xFFFF, kind >> 16, place + 4, 4
        if size > padded or start + size > len(content):
            raise ValueError("an element is longer than what holds it")
        yield kind, content[start:start + size]
        place = start + padded


def _decompressed(element: bytes) -> bytes:
    packed = zlib.decompressobj()
    content = packed.decompress(element, LARGEST)
    if not packed.eof:
        raise ValueError(f"an element is cut off, or has more than {LARGEST} bytes")
    return content


def _pieces(names: bytes, length: int) -> Iterator[bytes]:
    return (names[start:start + length] for start in range(0, len(names), length))


def _matrix(array: bytes) -> np.ndarray:
    """Return a matrix of bytes, stored column by column."""
    parts = _elements(array)
    _, (_, sides), _, (kind, content) = (next(parts) for _ in range(4))
    height, width = np.frombuffer(sides, "<i4").tolist()
    if kind != UINT8 or min(height, width) < 1 or height * width != len(content):
        raise ValueError(f"type {kind}, {height}x{width}, {len(content)} bytes")
    return np.frombuffer(content, np.uint8).reshape(width, height).T
