"""Skies, clouds and hills: the background of an image, independent of its objects."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .dice import Dice

# (zenith, horizon)
SKIES = (
    ((92, 146, 206), (196, 222, 236)),  # clear day
    ((60, 72, 128), (166, 138, 176)),  # dusk
    ((226, 176, 122), (250, 232, 196)),  # evening cream
    ((232, 196, 206), (250, 228, 226)),  # rose
    ((196, 222, 206), (240, 248, 232)),  # mint
    ((72, 122, 132), (160, 190, 188)),  # teal drizzle
    ((86, 186, 206), (206, 238, 236)),  # turquoise
    ((148, 156, 196), (214, 216, 232)),  # lavender
    ((204, 168, 138), (236, 208, 182)),  # sandstorm
    ((98, 110, 128), (184, 190, 196)),  # overcast
)
GROUNDS = (
    (96, 146, 72), (58, 118, 106), (62, 124, 168), (204, 174, 112), (158, 104, 76),
    (124, 110, 128), (140, 146, 70), (188, 128, 112), (86, 96, 132), (206, 200, 186),
)


@lru_cache(maxsize=64)
def _blend_weights(side: int, cells: int) -> np.ndarray:
    """Return float32 (side, cells + 1): smooth weights of the lattice points, in sixteenths."""
    weights = np.zeros((side, cells + 1), dtype=np.float32)
    for pixel in range(side):
        cell, rest = divmod((2 * pixel + 1) * cells, 2 * side)
        share = rest / (2 * side)
        right = round(16 * share * share * (3.0 - 2.0 * share))
        weights[pixel, cell] += 16 - right
        weights[pixel, cell + 1] += right
    return weights


def soft_noise(dice: Dice, side: int, cells: tuple[int, int]) -> np.ndarray:
    """Return smooth noise as int32 (side, side) from -128 to 127.

    ``cells``: number of lattice cells downwards and across. The matrix products hold integers below
    2**24 only, so that float32 is exact in any order of summation.
    """
    down, across = cells
    lattice = dice.grid((down + 1, across + 1), 256).astype(np.float32)
    blended = _blend_weights(side, down) @ lattice @ _blend_weights(side, across).T
    return (blended.astype(np.int32) >> 8) - 128


def _ridge(dice: Dice, side: int, base: float, height: float) -> np.ndarray:
    """Return the row at which a hill begins, int32 (side,)."""
    line = np.zeros(side, dtype=np.int32)
    for cells, weight in ((dice.whole(2, 4), 8), (7, 3), (17, 1)):
        lattice = dice.grid((cells + 1,), 256).astype(np.float32)
        line += weight * ((_blend_weights(side, cells) @ lattice).astype(np.int32) - 2048)
    # 12 * 2048 is the largest swing of the sum above
    return round(base * side) + (line * round(height * side)) // (12 * 2048)


def _sky_tone(dice: Dice, side: int) -> np.ndarray:
    """Return the light of a sky, int16 (side, side): soft clouds, sometimes a sun or moon."""
    clouds = 2 * soft_noise(dice, side, (dice.whole(3, 5), dice.whole(2, 3)))
    clouds += soft_noise(dice, side, (9, 6))
    tone = np.minimum(np.maximum(clouds // 6, -18), 36)
    if dice.chance(0.3):
        x, y = dice.whole(side // 8, side - side // 8), dice.whole(side // 10, side // 3)
        radius = dice.whole(side // 14, side // 9)
        line = np.arange(side, dtype=np.int32)
        distance = (line - x) ** 2 + (line[:, None] - y) ** 2
        tone += np.where(distance < radius * radius, 38, 0)
        tone += np.maximum(0, 22 - 22 * distance // (9 * radius * radius))
    return tone.astype(np.int16)


def _texture(dice: Dice, side: int, depth: np.ndarray) -> np.ndarray | int:
    """Return the texture of a hill, int16 (side, side) or 0; ``depth``: rows below its ridge."""
    kind = dice.pick(("meadow", "furrows", "waves", "flecks", "meadow"))
    if kind == "furrows":
        width = dice.whole(side // 20, side // 12)
        return np.where(depth // width & 1, np.int16(8), np.int16(-6))
    if kind == "waves":
        width = dice.whole(side // 18, side // 13)
        column = np.arange(side, dtype=np.int16)
        swing = np.abs((column + dice.whole(0, 40)) % (3 * width) - 3 * width // 2) // 3
        rows = np.arange(side, dtype=np.int16)[:, None] + swing
        return np.where(rows % (2 * width) < 2, np.int16(18), np.int16(0))
    if kind == "flecks":
        texture = np.zeros((side, side), dtype=np.int16)
        rows, columns = dice.grid((2, side // 2), side - 1)
        strength = 30 if dice.chance(0.6) else -26
        for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            texture[rows + down, columns + right] = strength
        return texture
    return 0


def paint_scenery(dice: Dice, side: int) -> np.ndarray:
    """Return a sky over two or three hills, int16 (3, side, side)."""
    zenith, horizon = (np.array(colour, dtype=np.int32) for colour in dice.pick(SKIES))
    ground = np.array(dice.pick(GROUNDS), dtype=np.int32)
    shift = dice.grid((3, 3), 25) - 12
    zenith, horizon, ground = zenith + shift[0], horizon + shift[1], ground + shift[2]
    rows = np.arange(side, dtype=np.int16)[:, None]
    tone = _sky_tone(dice, side)
    mottle = soft_noise(dice, side, (13, 9)) // 7 + soft_noise(dice, side, (28, 21)) // 8
    mottle = mottle.astype(np.int16) - np.maximum(0, rows - side // 2) * 24 // side

    # Each pixel points to a colour: the sky's own for every row, then one for each hill.
    steps = np.arange(side, dtype=np.int32)[:, None] * 256 // side
    colours = [zenith + ((horizon - zenith) * steps >> 8)]
    pointer = np.repeat(rows, side, axis=1)
    layers = dice.pick((2, 2, 3))
    base, drop = dice.between(0.36, 0.66), dice.between(0.10, 0.20)
    for layer in range(layers):
        mist = 256 * (2 * (layers - layer) - 2) // (2 * layers - 1) * 5 // 6
        colours.append((ground + ((horizon - ground) * mist >> 8))[None, :])
        ridge = _ridge(dice, side, base + drop * layer, dice.between(0.14, 0.34))
        depth = rows - ridge.astype(np.int16)
        hill = depth >= 0
        np.copyto(tone, mottle + _texture(dice, side, depth), where=hill)
        np.copyto(pointer, np.int16(side + layer), where=hill)
    table = np.ascontiguousarray(np.concatenate(colours).T.astype(np.int16))
    return np.take(table, pointer, axis=1) + tone
