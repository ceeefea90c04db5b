"""One image of mini-VOC with its mask and its tight boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from semiseg_lib.datasets.labels import VOID

from .annotation import Box
from .dice import STREAM_LIGHT, STREAM_OBJECTS, STREAM_SCENERY, Dice, generator_for
from .painting import TYPICAL, Figure, camouflage, choose_colours, paint, place
from .scenery import paint_scenery, soft_noise
from .shapes import DRAW_CLASS
from .trinkets import DRAW_DISTRACTOR
from .worlds import World

MIN_VISIBLE = 0.35  # minimum visible fraction of an object; else it is left out
SMALLEST = 1 / 128  # minimum visible area of an object, as a fraction of the image


@dataclass(frozen=True)
class Scene:
    """A generated image.

    ``image`` uint8 (H, W, 3); ``mask`` uint8 (H, W): class ids, 255 on a border two pixels wide
    along every object boundary; ``boxes``: class id and tight box (x0, y0, x1, y1) of each
    object's whole silhouette, clipped to the image, half-open, from back to front.
    """

    image: np.ndarray
    mask: np.ndarray
    boxes: list[Box]


@dataclass(frozen=True)
class _Item:
    """A placed figure: ``class_id`` 0 for a distractor, footprint bool (H, W)."""

    class_id: int
    figure: Figure
    footprint: np.ndarray


def draw_scene(world: World, split: str, index: int) -> Scene:
    """Draw one image, determined by world, split and index; box styles have no effect.

    Raises:
        ValueError: the split is unknown, or the index negative.
    """
    canvas = paint_scenery(Dice(generator_for(world, split, index, STREAM_SCENERY)), 2 * world.side)
    dice = Dice(generator_for(world, split, index, STREAM_OBJECTS))
    items = _keep_visible(_lay_out(dice, world))
    for item in items:
        typical = None
        if item.class_id and dice.chance(world.typical_hue):
            typical = TYPICAL.get(world.classes[item.class_id - 1])
        colours = choose_colours(dice, typical)
        if item.class_id and dice.chance(world.camouflage):
            colours = camouflage(dice, colours, _surroundings(canvas, item.figure))
        paint(dice, canvas, item.figure, colours)
    image = _develop(Dice(generator_for(world, split, index, STREAM_LIGHT)), canvas, world.side)
    return Scene(image, _mask(items, world.side), _boxes(items))


def _lay_out(dice: Dice, world: World) -> list[_Item]:
    """Return objects and distractors in random order, back to front, at random places."""
    side = 2 * world.side
    kinds = [dice.whole(1, len(world.classes)) for _ in range(dice.whole(*world.objects))]
    kinds += [0] * dice.whole(*world.distractors)
    items: list[_Item] = []
    taken: list[tuple[float, float, float]] = []
    for position in dice.generator.permutation(len(kinds)):
        class_id = kinds[position]
        unit = dice.between(*world.size) * side if class_id else dice.between(0.065, 0.135) * side
        centre = _free_place(dice, taken, unit, side)
        taken.append((*centre, unit))
        if class_id:
            parts = DRAW_CLASS[world.classes[class_id - 1]](dice)
            figure = place(dice, parts, centre, unit, world.rotation, side)
        else:
            parts = dice.pick(DRAW_DISTRACTOR)(dice)
            figure = place(dice, parts, centre, unit, 180.0, side)
        items.append(_Item(class_id, figure, figure.footprint(side)))
    return items


def _free_place(
    dice: Dice, taken: list[tuple[float, float, float]], unit: float, side: int
) -> tuple[float, float]:
    """Return a centre at some distance from earlier ones, if eight tries find one."""
    for _ in range(8):
        x, y = dice.between(0.12, 0.88) * side, dice.between(0.12, 0.88) * side
        if all((x - other_x) * (x - other_x) + (y - other_y) * (y - other_y)
               > (0.6 * (unit + other)) * (0.6 * (unit + other))
               for other_x, other_y, other in taken):
            break
    return x, y


def _keep_visible(items: list[_Item]) -> list[_Item]:
    """Return the items without objects that are almost fully occluded.

    At least one object is kept: only the foremost if no object is visible.
    """
    kept: list[_Item] = []
    hidden = np.zeros_like(items[0].footprint)
    for item in reversed(items):
        seen = int((item.footprint & ~hidden).sum())
        if item.class_id and (
            seen < SMALLEST * hidden.size or seen < MIN_VISIBLE * int(item.footprint.sum())
        ):
            continue
        hidden |= item.footprint
        kept.append(item)
    if not any(item.class_id for item in kept):
        return [item for item in items if item.class_id][-1:]
    return kept[::-1]


def _surroundings(canvas: np.ndarray, figure: Figure) -> np.ndarray:
    """Return the mean colour, int32 (3,), of the canvas in the window of a figure."""
    window = canvas[:, figure.rows, figure.columns]
    return window.sum(axis=(1, 2), dtype=np.int32) // (window.shape[1] * window.shape[2])


def _develop(dice: Dice, canvas: np.ndarray, side: int) -> np.ndarray:
    """Return the canvas at half its size with uneven light and grain, uint8 (side, side, 3)."""
    pairs = canvas[:, 0::2] + canvas[:, 1::2]
    image = (pairs[:, :, 0::2] + pairs[:, :, 1::2]).astype(np.int32)
    light = dice.whole(226, 268) + soft_noise(dice, side, (2, 2)) // 6
    light = light + soft_noise(dice, side, (8, 8)) // 16
    image = image * light >> 10
    grain = dice.fine_grid((2, 4, side, side), 13).astype(np.int32)
    grain = grain[0] + grain[1] - 12
    image += grain[:1] + (grain[1:] >> 1)
    image = np.minimum(np.maximum(image, 0), 255).astype(np.uint8)
    return np.ascontiguousarray(image.transpose(1, 2, 0))


def _mask(items: list[_Item], side: int) -> np.ndarray:
    """Return the class of each pixel, uint8 (side, side), with a two-pixel border of VOID."""
    owner = np.zeros((side, side), dtype=np.uint8)
    mask = np.zeros((side, side), dtype=np.uint8)
    for number, item in enumerate(items, start=1):
        owner[item.footprint] = number if item.class_id else 0
        mask[item.footprint] = item.class_id
    across, down = owner[:, 1:] != owner[:, :-1], owner[1:] != owner[:-1]
    rim = np.zeros((side, side), dtype=bool)
    rim[:, 1:] |= across
    rim[:, :-1] |= across
    rim[1:] |= down
    rim[:-1] |= down
    mask[rim] = VOID
    return mask


def _boxes(items: list[_Item]) -> list[Box]:
    """Return the tight box of every object, back to front."""
    boxes: list[Box] = []
    for item in items:
        if item.class_id:
            rows = np.flatnonzero(item.footprint.any(axis=1))
            columns = np.flatnonzero(item.footprint.any(axis=0))
            boxes.append((item.class_id, (int(columns[0]), int(rows[0]),
                                          int(columns[-1]) + 1, int(rows[-1]) + 1)))
    return boxes
