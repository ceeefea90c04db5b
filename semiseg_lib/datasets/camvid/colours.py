"""CamVid's 32 colours, and two recipes that map them to the 11 common classes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.labels import VOID, LabelError, opened_image

Recipe = Literal["merged", "exact"]

CAMVID_CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car",
    "pedestrian", "bicyclist",
)
"""The 11 classes of CamVid that are scored, in the usual order. There is no background."""

CAMVID_COLOURS = {
    "Animal": (64, 128, 64), "Archway": (192, 0, 128), "Bicyclist": (0, 128, 192),
    "Bridge": (0, 128, 64), "Building": (128, 0, 0), "Car": (64, 0, 128),
    "CartLuggagePram": (64, 0, 192), "Child": (192, 128, 64), "Column_Pole": (192, 192, 128),
    "Fence": (64, 64, 128), "LaneMkgsDriv": (128, 0, 192), "LaneMkgsNonDriv": (192, 0, 64),
    "Misc_Text": (128, 128, 64), "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64), "ParkingBlock": (64, 192, 128), "Pedestrian": (64, 64, 0),
    "Road": (128, 64, 128), "RoadShoulder": (128, 128, 192), "Sidewalk": (0, 0, 192),
    "SignSymbol": (192, 128, 128), "Sky": (128, 128, 128), "SUVPickupTruck": (64, 128, 192),
    "TrafficCone": (0, 0, 64), "TrafficLight": (0, 64, 64), "Train": (192, 64, 128),
    "Tree": (128, 128, 0), "Truck_Bus": (192, 128, 192), "Tunnel": (64, 0, 64),
    "VegetationMisc": (192, 192, 0), "Void": (0, 0, 0), "Wall": (64, 192, 0),
}
"""The 32 colours of CamVid's own label images."""

UNKNOWN = 254
"""Stands for the id of any other colour."""

CAMVID_MERGED = {
    "sky": ("Sky",),
    "building": ("Building", "Archway", "Bridge", "Tunnel", "Wall"),
    "pole": ("Column_Pole", "TrafficCone"),
    "road": ("Road", "LaneMkgsDriv", "LaneMkgsNonDriv"),
    "pavement": ("Sidewalk", "ParkingBlock", "RoadShoulder"),
    "tree": ("Tree", "VegetationMisc"),
    "signsymbol": ("SignSymbol", "Misc_Text", "TrafficLight"),
    "fence": ("Fence",),
    "car": ("Car", "OtherMoving", "SUVPickupTruck", "Train", "Truck_Bus"),
    "pedestrian": ("Pedestrian", "Animal", "CartLuggagePram", "Child"),
    "bicyclist": ("Bicyclist", "MotorcycleScooter"),
}
"""The 32 classes grouped by the usual (SegNet) recipe; the first gives the name."""

CAMVID_EXACT = {name: members[:1] for name, members in CAMVID_MERGED.items()}
"""The other recipe, with the class itself only; every other class is void."""


def camvid_ids(recipe: str) -> dict[tuple[int, int, int], int]:
    """Return the id, 0 to 10 or 255 (void), of each of CamVid's 32 colours.

    Args:
        recipe: ``merged`` as SegNet does it (lane markings are road, vans are cars ...), or
            ``exact``: the 11 classes by themselves, the other 21 are void.

    Raises:
        ValueError: the recipe is unknown.
    """
    recipes = {"merged": CAMVID_MERGED, "exact": CAMVID_EXACT}
    if recipe not in recipes:
        raise ValueError(f"unknown CamVid recipe {recipe!r}; choose merged or exact.")
    members = recipes[recipe]
    ids = {full: CAMVID_CLASSES.index(name) for name in members for full in members[name]}
    return {colour: ids.get(name, VOID) for name, colour in CAMVID_COLOURS.items()}


def read_colour_mask(path: Path, recipe: str) -> np.ndarray:
    """Return a mask of CamVid's colours as ids 0 to 10 or 255 (void), uint8 (H, W).

    Args:
        path: an image file of the 32 colours.
        recipe: which of the 32 classes are merged, see :func:`camvid_ids`.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: it is a grey image, or has colours that are not among the 32.
    """
    with opened_image(path, "Unpack LabeledApproved_full again.") as image:
        mode, pixels = image.mode, np.array(image.convert("RGB"))
    if mode in ("L", "1", "I"):
        raise LabelError(
            f"{shown(path)} is a grey image of ids, not of colours. Put it into train_labels, "
            "val_labels or test_labels, or unpack LabeledApproved_full again."
        )
    ids = _id_of_colour(recipe)[pixels[..., 0], pixels[..., 1], pixels[..., 2]]
    unknown = pixels[ids == UNKNOWN]
    if len(unknown):
        raise LabelError(
            f"{shown(path)} holds the colour {tuple(unknown[0].tolist())} and {len(unknown)} such "
            "pixels that are none of CamVid's 32 colours. Masks must not be smoothed when "
            "resized, nor saved as JPEG: resize by nearest neighbour, or unpack "
            "LabeledApproved_full again."
        )
    return ids


@lru_cache(maxsize=2)
def _id_of_colour(recipe: str) -> np.ndarray:
    """Return the id of each colour, uint8 (256, 256, 256)."""
    table = np.full((256, 256, 256), UNKNOWN, np.uint8)
    for colour, label in camvid_ids(recipe).items():
        table[colour] = label
    return table
