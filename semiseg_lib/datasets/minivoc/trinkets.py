"""Distractors: objects in the images that belong to no class."""

from __future__ import annotations

from collections.abc import Callable

from .dice import Dice
from .outlines import ellipse, polygon, rectangle, smooth, star
from .shapes import Part, Role


def ball(dice: Dice) -> list[Part]:
    """Return a ball with rings."""
    return [(ellipse(0.0, 0.0, 0.9, 0.9, 20), Role.BODY),
            (ellipse(0.0, 0.0, 0.5, 0.5, 12), Role.LIGHT),
            (ellipse(0.0, 0.0, 0.32, 0.32, 10), Role.ACCENT)]


def starlet(dice: Dice) -> list[Part]:
    """Return a star with four to seven points."""
    return [(star(0.0, 0.0, 1.0, dice.whole(4, 7), dice.between(0.4, 0.55)), Role.BODY)]


def wedge(dice: Dice) -> list[Part]:
    """Return a triangle."""
    tip = dice.between(-0.4, 0.4)
    return [(polygon((tip, -0.9), (0.85, 0.8), (-0.85, 0.8)), Role.BODY)]


def parcel(dice: Dice) -> list[Part]:
    """Return a parcel, sometimes with a ribbon."""
    parts = [(rectangle(-0.75, -0.8, 0.75, 0.8), Role.BODY)]
    if dice.chance(0.6):
        parts += [(rectangle(-0.75, -0.14, 0.75, 0.14), Role.ACCENT),
                  (rectangle(-0.14, -0.8, 0.14, 0.8), Role.ACCENT)]
    return parts


def bean(dice: Dice) -> list[Part]:
    """Return a rounded pebble."""
    bulge = dice.between(0.35, 0.6)
    return [(smooth((-0.9, 0.0), (-0.5, -bulge), (0.4, -0.5), (0.9, 0.1), (0.4, 0.55),
                    (-0.5, 0.45)), Role.BODY)]


def kite(dice: Dice) -> list[Part]:
    """Return a kite in two colours, upright."""
    waist = dice.between(-0.4, -0.1)
    return [(polygon((0.0, -1.0), (0.66, waist), (0.0, 1.0), (-0.66, waist)), Role.BODY),
            (polygon((0.0, -1.0), (0.66, waist), (0.0, waist)), Role.ACCENT),
            (polygon((0.0, 1.0), (-0.66, waist), (0.0, waist)), Role.ACCENT)]


def flower(dice: Dice) -> list[Part]:
    """Return a flower with six petals."""
    petals = ((0.6, 0.0), (0.3, 0.52), (-0.3, 0.52), (-0.6, 0.0), (-0.3, -0.52), (0.3, -0.52))
    parts = [(ellipse(x, y, 0.36, 0.36, 10), Role.BODY) for x, y in petals]
    parts += [(ellipse(0.0, 0.0, 0.40, 0.40, 12), Role.LIGHT),
              (ellipse(0.0, 0.0, 0.26, 0.26, 8), Role.TRIM)]
    return parts


def mushroom(dice: Dice) -> list[Part]:
    """Return a toadstool with spots."""
    return [(smooth((-0.26, 0.0), (0.26, 0.0), (0.32, 0.9), (-0.32, 0.9)), Role.LIGHT),
            (smooth((-0.92, 0.15), (-0.7, -0.55), (0.0, -0.9), (0.7, -0.55), (0.92, 0.15),
                    (0.0, 0.3)), Role.BODY),
            (ellipse(-0.35, -0.25, 0.17, 0.17, 8), Role.LIGHT),
            (ellipse(0.3, -0.4, 0.17, 0.17, 8), Role.LIGHT)]


DRAW_DISTRACTOR: tuple[Callable[[Dice], list[Part]], ...] = (
    ball, starlet, wedge, parcel, bean, kite, flower, mushroom,
)
