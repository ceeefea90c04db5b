"""Neighbours, their support and how sure a pixel is, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np


def around(row: int, column: int, count: int) -> list[tuple[int, int]]:
    """The places beside a place, row by row; the four that share an edge, or all eight."""
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    return [(row + i, column + j) for i, j in steps if count == 8 or 0 in (i, j)]


def refined_by_loop(maps: np.ndarray, expected, count: int, support: int, beta: float):
    """Maps (B, C, H, W), each with the support of its neighbours; nothing lies outside."""
    out = maps.copy()
    _, _, height, width = maps.shape
    for number, category, row, column in np.ndindex(*maps.shape):
        found = sorted((maps[number, category, r, c] if 0 <= r < height and 0 <= c < width else 0.0
                        for r, c in around(row, column, count)), reverse=True)
        p = maps[number, category, row, column]
        for n in found[:support]:
            p += beta * (n - max(p * n, p * expected[category]))
        out[number, category, row, column] = p
    return out


def sure_by_loop(maps: np.ndarray, kind: str) -> np.ndarray:
    out = np.empty((len(maps), *maps.shape[2:]))
    for number, row, column in np.ndindex(*out.shape):
        pixel = sorted(maps[number, :, row, column], reverse=True)
        out[number, row, column] = {
            "margin": pixel[0] - pixel[1],
            "confidence": pixel[0],
            "entropy": sum(p * math.log(p) for p in pixel if p > 0),
        }[kind]
    return out
