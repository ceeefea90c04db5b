"""Label ids: void, VOC's palette and class names, and the checks on a mask read from disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from semiseg_lib.datasets.sample import Boxes

VOID = 255
"""The id of pixels that carry no label: losses and metrics leave them out."""

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)


class LabelError(ValueError):
    """A label file that cannot be used as it is; the message names the file and the mend."""


def voc_palette() -> list[int]:
    """VOC's 256 colours as 768 integers for ``PIL.Image.putpalette``.

    The bits of an id are dealt out to red, green and blue in turn, highest value first, so that
    neighbouring ids get far-apart colours.
    """
    ids = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.int64)
    for place in range(8):
        for channel in range(3):
            bit = (ids >> (3 * place + channel)) & 1
            colours[:, channel] |= bit << (7 - place)
    return colours.reshape(-1).tolist()


def read_image(path: Path) -> np.ndarray:
    """Read an image as uint8 (3, H, W).

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: the file is truncated or no image.
    """
    return np.ascontiguousarray(np.asarray(_open(path).convert("RGB")).transpose(2, 0, 1))


def read_mask(path: Path, num_classes: int) -> np.ndarray:
    """Read a mask of class ids as uint8 (H, W), values 0 .. num_classes - 1 or 255 (void).

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: the file is truncated, holds colours instead of ids, or an id out of range.
    """
    image = _open(path)
    if image.mode not in ("P", "L", "1"):
        raise LabelError(
            f"{path} is a colour image (mode {image.mode}), not a mask of class ids. "
            "Save it as a palette or grey PNG whose pixel values are the ids."
        )
    mask = np.asarray(image, dtype=np.uint8)
    unknown = np.setdiff1d(np.unique(mask), [*range(num_classes), VOID])
    if unknown.size:
        raise LabelError(
            f"{path} holds the ids {unknown.tolist()}, but only 0 to {num_classes - 1} and "
            f"{VOID} (void) are known. Map them to known ids, or name all classes of the dataset."
        )
    return mask


def write_mask(mask: np.ndarray, path: Path) -> None:
    """Write uint8 (H, W) ids as a PNG with VOC's palette, so that viewers show it in colour."""
    from semiseg_lib.paths import atomic_write

    image = Image.fromarray(np.asarray(mask, dtype=np.uint8), mode="P")
    image.putpalette(voc_palette())
    with atomic_write(Path(path)) as temporary:
        image.save(temporary, format="PNG")


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing. Add the file, or take its name out of the list that names it."
        ) from None
    except (UnidentifiedImageError, OSError) as error:
        raise LabelError(f"{path} cannot be read ({error}). Copy or download it again.") from error
    return image


CITYSCAPES_IDS = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic",
    "ground", "road", "sidewalk", "parking", "rail track", "building", "wall", "fence",
    "guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign",
    "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan", "trailer",
    "train", "motorcycle", "bicycle",
)
"""Cityscapes' own classes in the order of the ids in ``labelIds.png``, 0 to 33."""

CITYSCAPES_COLOURS = {
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "building": (70, 70, 70),
    "wall": (102, 102, 156), "fence": (190, 153, 153), "pole": (153, 153, 153),
    "traffic light": (250, 170, 30), "traffic sign": (220, 220, 0), "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152), "sky": (70, 130, 180), "person": (220, 20, 60),
    "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100),
    "train": (0, 80, 100), "motorcycle": (0, 0, 230), "bicycle": (119, 11, 32),
}
"""The official colours of the classes that are scored, in the order of their train ids."""

CITYSCAPES_CLASSES = tuple(CITYSCAPES_COLOURS)
"""The 19 classes that are scored; a class's place is its train id. There is no background."""

CITYSCAPES_THINGS = CITYSCAPES_CLASSES[11:]
"""The eight classes whose objects are outlined one by one, and so have boxes."""

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
"""Which of the 32 classes the usual (SegNet) recipe puts together; the first gives the name."""

CAMVID_EXACT = {name: members[:1] for name, members in CAMVID_MERGED.items()}
"""The other recipe: only the class itself, every other one is void."""


def cityscapes_train_ids() -> np.ndarray:
    """The train id of each id in ``labelIds.png``, uint8 (256,); 255 = void."""
    table = np.full(256, VOID, dtype=np.uint8)
    for train_id, name in enumerate(CITYSCAPES_CLASSES):
        table[CITYSCAPES_IDS.index(name)] = train_id
    return table


def camvid_ids(recipe: str) -> dict[tuple[int, int, int], int]:
    """The id, 0 to 10 or 255 (void), of each of CamVid's 32 colours.

    Args:
        recipe: ``merged`` as SegNet does it (lane markings are road, vans are cars ...), or
            ``exact``: the 11 classes by themselves, the other 21 are void.

    Raises:
        ValueError: there is no such recipe.
    """
    recipes = {"merged": CAMVID_MERGED, "exact": CAMVID_EXACT}
    if recipe not in recipes:
        raise ValueError(f"there is no CamVid recipe {recipe!r}; choose merged or exact.")
    members = recipes[recipe]
    ids = {full: CAMVID_CLASSES.index(name) for name in members for full in members[name]}
    return {colour: ids.get(name, VOID) for name, colour in CAMVID_COLOURS.items()}


def packed_ids(
    file_classes: Sequence[str], keep: Sequence[str] | None, where: Path
) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes to tell apart, and the new id of each old one, uint8 (256,); 255 = void.

    Args:
        file_classes: all classes, in the order of their ids.
        keep: those to tell apart, in the order of their new ids; None for all.
        where: the dataset, for the message.

    Raises:
        ValueError: ``keep`` names an unknown class or one twice.
    """
    classes = tuple(keep or file_classes)
    table = np.full(256, VOID, dtype=np.uint8)
    if unknown := set(classes) - set(file_classes):
        raise ValueError(
            f"cannot keep {', '.join(sorted(unknown))}: the classes of {where} are "
            f"{', '.join(file_classes)}."
        )
    if len(set(classes)) < len(classes):
        raise ValueError(f"cannot keep a class twice: {', '.join(classes)}. Name each once.")
    for new, name in enumerate(classes):
        table[list(file_classes).index(name)] = new
    return classes, table


def kept_boxes(boxes: Boxes, new_id: np.ndarray) -> Boxes:
    """The boxes whose class has a new id, with that id; see :func:`packed_ids`."""
    labels = new_id[boxes.classes]
    kept = labels != VOID
    return Boxes(boxes.coordinates[kept], labels[kept].astype(np.int64))


def check_same_size(
    mask: np.ndarray, image: np.ndarray, mask_path: Path, image_path: Path
) -> None:
    """Raise LabelError where a mask (H, W) does not fit its image (3, H, W)."""
    if mask.shape == image.shape[1:]:
        return
    turned = mask.shape[::-1] == image.shape[1:]
    hint = "Save the image turned: its EXIF data turn it only in viewers. " if turned else ""
    raise LabelError(
        f"{mask_path} is {mask.shape[1]}x{mask.shape[0]} pixels, but {image_path} is "
        f"{image.shape[2]}x{image.shape[1]}. {hint}Resize the mask (nearest neighbour) or "
        "fetch the pair again."
    )
