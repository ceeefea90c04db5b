"""The object classes of mini-VOC, each a stack of parts in its own coordinates.

A shape lies in [-1, 1] x [-1, 1], x to the right and y downwards, upright and facing right.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from .dice import Dice
from .outlines import Outline, ellipse, polygon, rectangle, smooth


class Role(IntEnum):
    """The colour role of a part; BODY has the pattern of the object."""

    BODY = 0
    ACCENT = 1
    TRIM = 2
    GLASS = 3
    DARK = 4
    LIGHT = 5


Part = tuple[Outline, Role]  # painted in order, later parts over earlier ones


def balloon(dice: Dice) -> list[Part]:
    """Return a hot-air balloon: envelope, gores, skirt, ropes and basket."""
    radius = dice.between(0.56, 0.66)
    envelope = smooth(
        (0.0, -0.98), (0.62 * radius, -0.90), (radius, -0.45), (0.80 * radius, -0.02),
        (0.20, 0.42), (-0.20, 0.42), (-0.80 * radius, -0.02), (-radius, -0.45),
        (-0.62 * radius, -0.90),
    )
    basket = dice.between(0.15, 0.20)
    parts = [(envelope, Role.BODY)]
    fashion = dice.pick(("middle", "gores", "band", "zigzag", "plain"))
    if fashion == "middle":
        wide = 0.42 * radius
        parts.append((smooth((0.0, -0.97), (wide, -0.45), (0.08, 0.38), (-0.08, 0.38),
                             (-wide, -0.45)), Role.ACCENT))
    elif fashion == "gores":
        for way in (-1.0, 1.0):
            outer, inner = 0.78 * radius * way, 0.34 * radius * way
            parts.append((smooth((0.06 * way, -0.96), (outer, -0.52), (0.52 * outer, 0.05),
                                 (0.10 * way, 0.38), (0.6 * inner, 0.02), (inner, -0.5)),
                          Role.ACCENT))
    elif fashion == "band":
        wide = 0.985 * radius
        parts.append((polygon((-wide, -0.58), (wide, -0.58), (wide, -0.30), (-wide, -0.30)),
                      Role.ACCENT))
    elif fashion == "zigzag":
        wide, half = 0.96 * radius, 0.48 * radius
        parts.append((polygon((-wide, -0.42), (-half, -0.66), (0.0, -0.42), (half, -0.66),
                              (wide, -0.42), (half, -0.20), (0.0, 0.02), (-half, -0.20)),
                      Role.ACCENT))
    parts += [
        (polygon((-0.20, 0.40), (0.20, 0.40), (0.15, 0.52), (-0.15, 0.52)), Role.TRIM),
        (polygon((-0.14, 0.52), (0.14, 0.52), (basket, 0.68), (-basket, 0.68)), Role.DARK),
        (smooth((-basket, 0.66), (basket, 0.66), (0.9 * basket, 0.96), (-0.9 * basket, 0.96)),
         Role.TRIM),
        (rectangle(-basket - 0.04, 0.64, basket + 0.04, 0.73), Role.DARK),
    ]
    return parts


def boat(dice: Dice) -> list[Part]:
    """Return a sailing boat: two sails, mast, flag, hull with a stripe and portholes."""
    mast = dice.between(-0.16, 0.06)
    stern = dice.between(0.62, 0.76)
    main = (smooth((mast + 0.06, -0.90), (mast + 0.10, -0.86), (0.74, 0.18), (0.70, 0.31),
                   (mast + 0.06, 0.31)) if dice.chance(0.4) else
            polygon((mast + 0.05, -0.90), (0.76, 0.31), (mast + 0.05, 0.31)))
    parts = [
        (main, Role.BODY),
        (polygon((mast - 0.03, -0.80), (mast - 0.03, 0.31), (-0.74, 0.31)), Role.ACCENT),
        (rectangle(mast - 0.05, -0.98, mast + 0.05, 0.36), Role.DARK),
        (polygon((mast, -1.0), (mast + 0.30, -0.92), (mast, -0.82)), Role.GLASS),
        (polygon((-0.98, 0.30), (0.98, 0.30), (0.92, 0.46), (stern, 0.80), (-0.62, 0.80),
                 (-0.84, 0.60)), Role.TRIM),
        (polygon((-0.97, 0.30), (0.98, 0.30), (0.95, 0.42), (-0.93, 0.42)), Role.LIGHT),
    ]
    if dice.chance(0.6):
        parts += [(ellipse(x, 0.60, 0.09, 0.09, 8), Role.DARK) for x in (-0.42, -0.05, 0.32)]
    return parts


def car(dice: Dice) -> list[Part]:
    """Return a car (saloon, beetle or van): body, windows, stripe, lamp, wheels with hubs."""
    kind = dice.pick(("saloon", "saloon", "beetle", "van"))
    if kind == "saloon":
        rear, front = dice.between(-0.72, -0.50), dice.between(0.46, 0.60)
        body = polygon((-1.0, 0.28), (-1.0, -0.04), (-0.92, -0.13), (rear, -0.17),
                       (rear + 0.22, -0.54), (front - 0.34, -0.54), (front, -0.15),
                       (0.90, -0.07), (1.0, 0.05), (1.0, 0.28))
        middle = (rear + front) / 2 - 0.05
        windows = [polygon((rear + 0.12, -0.15), (rear + 0.28, -0.44), (middle - 0.06, -0.44),
                           (middle - 0.06, -0.15)),
                   polygon((middle + 0.06, -0.15), (middle + 0.06, -0.44), (front - 0.38, -0.44),
                           (front - 0.14, -0.15))]
    elif kind == "beetle":
        body = smooth((-0.98, 0.26), (-0.92, 0.0), (-0.66, -0.20), (-0.40, -0.52), (0.08, -0.60),
                      (0.40, -0.24), (0.78, -0.12), (0.97, 0.12), (0.96, 0.28), (0.0, 0.30))
        windows = [polygon((-0.48, -0.14), (-0.32, -0.42), (-0.14, -0.46), (-0.14, -0.14)),
                   polygon((-0.02, -0.14), (-0.02, -0.46), (0.10, -0.46), (0.28, -0.14))]
    else:
        body = polygon((-1.0, 0.28), (-1.0, -0.50), (-0.90, -0.60), (0.46, -0.60), (0.66, -0.48),
                       (0.82, -0.08), (0.98, 0.04), (1.0, 0.28))
        windows = [rectangle(-0.84, -0.44, -0.44, -0.12), rectangle(-0.30, -0.44, 0.06, -0.12),
                   polygon((0.20, -0.44), (0.50, -0.44), (0.66, -0.12), (0.20, -0.12))]
    parts: list[Part] = [(body, Role.BODY)]
    if dice.chance(0.5):
        parts.append((polygon((-0.99, 0.06), (0.99, 0.06), (0.99, 0.17), (-0.99, 0.17)),
                      Role.ACCENT))
    parts += [(window, Role.GLASS) for window in windows]
    parts += [
        (ellipse(0.91, 0.08, 0.09, 0.09, 8), Role.LIGHT),
        (rectangle(-1.0, 0.21, 1.0, 0.31), Role.TRIM),
    ]
    wheel = dice.between(0.22, 0.27)
    for x in (-0.56, 0.56):
        parts += [(ellipse(x, 0.32, wheel, wheel), Role.DARK),
                  (ellipse(x, 0.32, 0.48 * wheel, 0.48 * wheel, 10), Role.TRIM)]
    return parts


def fish(dice: Dice) -> list[Part]:
    """Return a fish: body, tail, fins, cheek and an eye."""
    plump = dice.between(0.42, 0.60)
    body = smooth((0.97, 0.04), (0.78, -0.58 * plump), (0.34, -0.98 * plump),
                  (-0.14, -0.78 * plump), (-0.54, -0.20), (-0.54, 0.20), (-0.14, 0.80 * plump),
                  (0.34, 1.0 * plump), (0.78, 0.62 * plump))
    spread = dice.between(0.44, 0.58)
    if dice.chance(0.5):
        tail = polygon((-0.40, -0.06), (-0.98, -spread), (-0.80, 0.0), (-0.98, spread),
                       (-0.40, 0.06))
    else:
        tail = smooth((-0.40, 0.0), (-0.72, -0.8 * spread), (-0.99, -0.9 * spread), (-0.82, 0.0),
                      (-0.99, 0.9 * spread), (-0.72, 0.8 * spread))
    back = dice.between(0.30, 0.40)
    fin = (polygon((0.44, -0.88 * plump), (-0.06, -0.90 * plump - back), (-0.20, -0.60 * plump))
           if dice.chance(0.5) else
           polygon((0.50, -0.85 * plump), (0.30, -0.85 * plump - back),
                   (0.10, -0.92 * plump - 0.6 * back), (-0.06, -0.85 * plump - back),
                   (-0.26, -0.60 * plump)))
    parts = [
        (tail, Role.ACCENT),
        (fin, Role.ACCENT),
        (polygon((0.30, 0.88 * plump), (-0.02, 0.92 * plump + 0.24), (-0.12, 0.70 * plump)),
         Role.ACCENT),
        (body, Role.BODY),
        (polygon((0.22, 0.10), (-0.16, -0.08), (-0.12, 0.30)), Role.TRIM),
        (ellipse(0.60, -0.14, 0.17, 0.17, 12), Role.LIGHT),
        (ellipse(0.63, -0.13, 0.085, 0.085, 8), Role.DARK),
    ]
    if dice.chance(0.5):
        parts.append((polygon((0.99, 0.12), (0.72, 0.20), (0.92, 0.25)), Role.DARK))
    return parts


def house(dice: Dice) -> list[Part]:
    """Return a house: chimney, walls, roof, door with a knob and windows with a cross."""
    wide, eaves = dice.between(0.54, 0.72), dice.between(-0.16, 0.06)
    roof = wide + dice.between(0.14, 0.24)
    ridge = dice.pick((0.0, 0.0, 0.30))
    chimney = dice.between(0.26, 0.42) * dice.pick((-1.0, 1.0))
    door = dice.between(0.02, 0.22)
    window = -0.62 * wide
    parts = [
        (rectangle(chimney - 0.11, -0.92, chimney + 0.11, eaves - 0.10), Role.DARK),
        (rectangle(chimney - 0.15, -0.95, chimney + 0.15, -0.84), Role.TRIM),
        (rectangle(-wide, eaves - 0.05, wide, 0.95), Role.BODY),
        (polygon((-roof, eaves), (-ridge, -0.92), (ridge, -0.92), (roof, eaves)), Role.ACCENT),
        (rectangle(door, 0.36, door + 0.30, 0.95), Role.DARK),
        (ellipse(door + 0.08, 0.66, 0.05, 0.05, 8), Role.LIGHT),
        (rectangle(window - 0.04, eaves + 0.18, window + 0.40, eaves + 0.56), Role.LIGHT),
        (rectangle(window + 0.02, eaves + 0.24, window + 0.34, eaves + 0.50), Role.GLASS),
        (rectangle(window + 0.15, eaves + 0.20, window + 0.21, eaves + 0.54), Role.LIGHT),
    ]
    if dice.chance(0.5):
        parts += [(ellipse(0.0, eaves - 0.34, 0.15, 0.15, 10), Role.LIGHT),
                  (ellipse(0.0, eaves - 0.34, 0.10, 0.10, 8), Role.GLASS)]
    return parts


def tree(dice: Dice) -> list[Part]:
    """Return a conifer with three tiers or a tree with a round, scalloped crown."""
    trunk = dice.between(0.09, 0.13)
    if dice.chance(0.55):
        wide = dice.between(0.56, 0.72)
        parts = [(rectangle(-trunk, 0.60, trunk, 0.98), Role.DARK)]
        parts.append((polygon(
            (0.0, -0.98), (0.50 * wide, -0.36), (0.28 * wide, -0.40), (0.78 * wide, 0.18),
            (0.46 * wide, 0.14), (wide, 0.70), (-wide, 0.70), (-0.46 * wide, 0.14),
            (-0.78 * wide, 0.18), (-0.28 * wide, -0.40), (-0.50 * wide, -0.36)), Role.BODY))
        if dice.chance(0.35):
            parts += [(ellipse(x * wide, y, 0.075, 0.075, 8), Role.ACCENT)
                      for x, y in ((0.1, -0.46), (-0.3, 0.02), (0.36, 0.08), (-0.5, 0.52),
                                   (0.06, 0.46), (0.6, 0.56))]
        return parts
    radius, middle = dice.between(0.56, 0.68), -0.32
    lobes = ((0.0, -0.42), (0.42, -0.28), (0.50, 0.10), (0.26, 0.34), (-0.26, 0.34),
             (-0.50, 0.10), (-0.42, -0.28))
    parts = [(polygon((-trunk, 0.10), (trunk, 0.10), (1.5 * trunk, 0.98), (-1.5 * trunk, 0.98)),
              Role.DARK)]
    parts += [(ellipse(x * radius / 0.6, middle + y * radius / 0.6, 0.42 * radius, 0.42 * radius,
                       14), Role.BODY) for x, y in lobes]
    parts.append((ellipse(0.0, middle, 0.80 * radius, 0.70 * radius), Role.BODY))
    if dice.chance(0.5):
        parts += [(ellipse(x, middle + y, 0.09, 0.09, 8), Role.ACCENT)
                  for x, y in ((-0.30, -0.22), (0.12, -0.34), (0.36, 0.02), (-0.08, 0.06),
                               (-0.40, 0.20), (0.18, 0.32))]
    return parts


DRAW_CLASS: dict[str, Callable[[Dice], list[Part]]] = {
    "balloon": balloon, "boat": boat, "car": car, "fish": fish, "house": house, "tree": tree,
}
