"""Files with one bit changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def flipped(content: bytes, count: int | None = None) -> Iterator[bytes]:
    """Yield the bytes with one bit changed: each of them, or ``count`` that are drawn."""
    bits = np.arange(8 * len(content))
    if count is not None:
        bits = np.random.default_rng(0).choice(bits, min(count, len(bits)), replace=False)
    for bit in bits:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


@contextmanager
def each_flip(path: Path, count: int | None = None) -> Iterator[Iterator[None]]:
    """Yield an iterator that changes a bit of the file at each step; put the file right again."""
    content = path.read_bytes()

    def steps() -> Iterator[None]:
        for changed in flipped(content, count):
            path.write_bytes(changed)
            yield

    try:
        yield steps()
    finally:
        path.write_bytes(content)
