"""Rasterisation of figures: placement, coverage and colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .dice import Dice
from .outlines import GRID, TURN_GRID, cosine_sine, fill
from .shapes import Part, Role

# One palette for every class and every distractor.
PALETTE = {
    "green": (112, 192, 78), "teal": (42, 164, 148), "blue": (56, 118, 198),
    "violet": (150, 72, 200), "indigo": (84, 80, 158), "orange": (246, 144, 42),
    "yellow": (242, 198, 62), "red": (216, 62, 56), "pink": (234, 122, 168),
    "brown": (142, 92, 54), "cream": (236, 226, 214), "slate": (66, 74, 92),
}
NAMES = tuple(PALETTE)
TYPICAL = {
    "balloon": ("red", "pink"), "boat": ("cream", "indigo"), "car": ("blue", "yellow"),
    "fish": ("orange", "teal"), "house": ("brown", "violet"), "tree": ("green",),
}
PATTERNS = ("plain", "plain", "plain", "stripes", "checks", "dots", "scales", "zigzag")
EMPTY = 255  # role of pixels outside a figure
SECOND_COLOUR = len(Role)  # row of the colour that a pattern alternates with the body's
_DARK, _LIGHT = (46, 42, 54), (240, 236, 228)


@dataclass(frozen=True)
class Figure:
    """A shape placed in an image, with the part shown by each pixel of its window.

    ``rows``, ``columns``: window in the drawing canvas; ``roles`` uint8 (h, w), EMPTY outside;
    ``right`` int32 (1, w) and ``down`` int32 (h, 1): distance from the centre in 1/16 pixel;
    ``turn``: cosine and sine of its rotation in 1/4096; ``unit``: half the shape's side, likewise
    in 1/16 pixel of the canvas.
    """

    rows: slice
    columns: slice
    roles: np.ndarray
    right: np.ndarray
    down: np.ndarray
    turn: tuple[int, int]
    unit: int

    def footprint(self, side: int) -> np.ndarray:
        """Return bool (side / 2, side / 2): pixels of the image at least half covered."""
        cover = np.zeros((side, side), dtype=np.uint8)
        cover[self.rows, self.columns] = self.roles != EMPTY
        quarters = cover[0::2, 0::2] + cover[0::2, 1::2] + cover[1::2, 0::2] + cover[1::2, 1::2]
        return quarters >= 2


def place(
    dice: Dice, parts: list[Part], centre: tuple[float, float], unit: float, rotation: float,
    side: int,
) -> Figure:
    """Return a shape rotated, flipped, stretched, moved and rasterised.

    ``centre``: x, y in pixels of the canvas; ``rotation``: maximum angle in degrees.
    """
    cosine, sine = cosine_sine(dice.between(-rotation, rotation))
    flip = dice.pick((-1.0, 1.0))
    stretch = dice.between(0.9, 1.1)
    points = np.concatenate([outline for outline, _ in parts])
    x, y = points[:, 0] * (flip * stretch * unit), points[:, 1] * (unit / stretch)
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=1)
    corners = np.rint((turned + centre) * GRID).astype(np.int64)
    outlines, begin = [], 0
    for outline, _ in parts:
        outlines.append(corners[begin : begin + len(outline)])
        begin += len(outline)
    rows, columns, inside = fill(outlines, side)

    order = np.arange(1, len(parts) + 1, dtype=np.uint8)[:, None]
    top = (inside * order).max(axis=1)
    roles = np.array([EMPTY, *(role for _, role in parts)], dtype=np.uint8)[top]
    half = GRID // 2
    right = np.arange(columns.start, columns.stop, dtype=np.int32)[None, :] * GRID + half
    down = np.arange(rows.start, rows.stop, dtype=np.int32)[:, None] * GRID + half
    return Figure(
        rows, columns, roles, right - round(centre[0] * GRID), down - round(centre[1] * GRID),
        (round(cosine * TURN_GRID), round(sine * TURN_GRID)), round(unit * GRID),
    )


def pattern(dice: Dice, figure: Figure) -> np.ndarray | None:
    """Return bool (h, w), True where a pattern has its second colour; None without pattern."""
    kind = dice.pick(PATTERNS)
    period = max(5 * GRID, round(figure.unit * dice.between(0.20, 0.34)))
    tilt = dice.pick(((1, 0), (0, 1), (1, 1), (1, -1)))
    if kind == "plain":
        return None
    cosine, sine = figure.turn
    along = (cosine * figure.right + sine * figure.down) // TURN_GRID
    across = (cosine * figure.down - sine * figure.right) // TURN_GRID
    if kind == "stripes":
        width = period if 0 in tilt else period * 7 // 5
        return (tilt[0] * along + tilt[1] * across) // width & 1 == 1
    if kind == "checks":
        return (along // period + across // period) & 1 == 1
    wide = period * 3 // 2
    if kind == "dots":
        row = across // wide
        x = (along + (row & 1) * (wide // 2)) % wide - wide // 2
        y = across - row * wide - wide // 2
        return x * x + y * y < (period // 2) * (period // 2)
    if kind == "scales":
        row = along // wide
        x = along - row * wide
        y = (across + (row & 1) * (wide // 2)) % wide - wide // 2
        ring = x * x + y * y
        return (ring > (wide * 5 // 8) ** 2) & (ring < (wide * 15 // 16) ** 2)
    swing = np.abs(along % (2 * period) - period)  # zigzag
    return (across + swing) // period & 1 == 1


def choose_colours(dice: Dice, typical: tuple[str, ...] | None) -> np.ndarray:
    """Return int32 (7, 3): a colour for each role and, last, the second colour of the pattern.

    ``typical``: names of the palette one of which the body takes; None for any colour.
    """
    names = [NAMES[number] for number in dice.generator.permutation(len(NAMES))]
    body = names[0] if typical is None else dice.pick(typical)
    accent, trim, glass, second = [name for name in names if name != body][:4]
    chosen = [PALETTE[name] for name in (body, accent, trim, glass)]
    chosen += [_DARK, _LIGHT, PALETTE[second]]
    return np.array(chosen, dtype=np.int32) + dice.grid((7, 3), 25) - 12


def camouflage(dice: Dice, colours: np.ndarray, surroundings: np.ndarray) -> np.ndarray:
    """Return colours (7, 3) faded towards those of the scenery behind the figure, (3,)."""
    tint = surroundings + dice.whole(24, 42) * dice.pick((-1, 1))
    faded = tint + ((colours - tint) * 110 >> 8)
    faded[Role.BODY] = tint + ((colours[Role.BODY] - tint) * 44 >> 8)
    faded[SECOND_COLOUR] = tint + ((colours[SECOND_COLOUR] - tint) * 64 >> 8)
    return faded


def paint(dice: Dice, canvas: np.ndarray, figure: Figure, colours: np.ndarray) -> None:
    """Paint a figure onto the canvas, int16 (3, side, side), lit from the top left."""
    roles = figure.roles
    spots = pattern(dice, figure)
    if spots is not None:
        roles = np.where(spots & (roles == Role.BODY), np.uint8(SECOND_COLOUR), roles)
    light = (figure.right * -8 // figure.unit + figure.down * -8 // figure.unit).astype(np.int16)
    table = np.ascontiguousarray(colours.T.astype(np.int16))
    coat = np.take(table, roles, axis=1, mode="clip") + light
    np.copyto(canvas[:, figure.rows, figure.columns], coat, where=roles != EMPTY)
