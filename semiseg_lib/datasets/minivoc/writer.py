"""mini-VOC on disk, in the layout of PASCAL VOC."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image
from tqdm import tqdm

from semiseg_lib.core.durable import (
    Damaged,
    atomic_folder,
    damaged,
    held,
    read_json,
    sha256,
    write_json,
)
from semiseg_lib.core.paths import shown, work_root
from semiseg_lib.datasets.digest import table_of
from semiseg_lib.datasets.labels import voc_palette

from .annotation import STEP, Box, annotate
from .dice import STREAM_BOXES, generator_for
from .scenes import Scene, draw_scene
from .worlds import DRAWING_VERSION, SPLITS, Sizes, World

ALL_IMAGES = Sizes()
LAYOUT_VERSION = 3  # raise it whenever other files are written, or under other names
DIGESTS = "digests.json"

README = """mini-VOC, the world "{name}"

Drawn, not photographed: {total} images of {side} x {side} pixels with the classes
{classes}, made by semiseg_lib.datasets.minivoc (drawing version {version}).
Nothing was downloaded. Delete the folder and prepare() draws the same again.

JPEGImages/                images
SegmentationClass/         masks of the splits labelled, val and test: 0 is background, the
                           classes follow in the order above, 255 (void) rims every object
SegmentationClassAug/      masks of the unlabelled split, for measuring only, never for training
Annotations/               boxes in PASCAL VOC's XML, 1-based and inclusive
ImageSets/Segmentation/    the names of each split: {splits}
digests.json               SHA-256 of each file and of what was drawn for it; do not edit

Parameters:
{parameters}
"""


def prepare(
    world: World, sizes: Sizes = ALL_IMAGES, root: Path | None = None, progress: bool = True
) -> Path:
    """Return the VOC2012 folder of a world; draw it first where it is not there yet.

    ``root``: where to keep it, ``work_root()`` if None. The folder appears only once it is
    complete: an interrupted run leaves nothing behind and the next one starts again.
    """
    root = work_root() if root is None else Path(root)
    home = root / "minivoc" / f"{world.name}-{_fingerprint(world, sizes)}"
    if not home.is_dir():
        with held(home):
            if not home.is_dir():  # another process may have drawn it meanwhile
                with atomic_folder(home) as temporary:
                    _write_world(world, sizes, temporary / "VOCdevkit" / "VOC2012", progress)
    return home / "VOCdevkit" / "VOC2012"


def content_hash(world: World, count: int) -> str:
    """Return a SHA-256 over the first ``count`` images of every split, as 64 hex digits.

    It covers drawn pixels, masks and annotated boxes, not the files: JPEG encoders differ.
    """
    digest = hashlib.sha256()
    for split in SPLITS:
        for index in range(count):
            scene, boxes = _annotated(world, split, index)
            digest.update(scene.image.tobytes())
            digest.update(scene.mask.tobytes())
            digest.update(_boxes_bytes(boxes))
    return digest.hexdigest()


def drawn_digests(folder: Path) -> Mapping[str, str]:
    """Return {SHA-256 of a file of a VOC2012 folder: SHA-256 of what was drawn for it}.

    What was drawn is the same on every machine; the files are not, for JPEG encoders differ. Empty
    where the folder was not drawn by :func:`prepare`.
    """
    path = Path(folder) / DIGESTS
    return dict(read_json(path).values()) if path.is_file() else {}


def check_drawn(folder: Path) -> None:
    """Check that a VOC2012 folder holds the files that :func:`prepare` wrote, and their bytes.

    Files whose stat is as it was when they were hashed are not read again.

    Raises:
        Damaged: a file is missing or has other bytes.
    """
    fix = f"Delete the folder {shown(folder.parents[1])}: it is drawn again."
    path = folder / DIGESTS
    if not path.is_file():
        raise damaged(path, "it is missing", fix)
    try:
        recorded = {folder / name: pair[0] for name, pair in read_json(path).items()}
    except Damaged as error:
        raise damaged(path, "it is not what was written", fix) from error
    if missing := next((file for file in recorded if not file.is_file()), None):
        raise damaged(missing, "it is missing", fix)
    hashes = table_of(folder)
    found = hashes.of_all(recorded)
    hashes.save()
    for file, digest in recorded.items():
        if found[file] != digest:
            raise damaged(file, "it is not the file that was drawn", fix)


def _boxes_bytes(boxes: list[Box]) -> bytes:
    """Return annotated boxes as bytes, the same on every machine."""
    lines = [repr((class_id, *(int(edge * STEP) for edge in box))) for class_id, box in boxes]
    return "".join(lines).encode()


def _fingerprint(world: World, sizes: Sizes) -> str:
    """Return ten hex digits that differ whenever the files would."""
    description = {"world": asdict(world), "sizes": asdict(sizes), "version": DRAWING_VERSION,
                   "layout": LAYOUT_VERSION}
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:10]


def _annotated(world: World, split: str, index: int) -> tuple[Scene, list[Box]]:
    """Return an image and the boxes that the split's annotator drew."""
    scene = draw_scene(world, split, index)
    generator = generator_for(world, split, index, STREAM_BOXES)
    return scene, annotate(scene, world.box_style(split), generator, world.side)


def _write_world(world: World, sizes: Sizes, folder: Path, progress: bool) -> None:
    """Draw and write every split into the given VOC2012 folder."""
    for name in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "Annotations",
                 "ImageSets/Segmentation"):
        (folder / name).mkdir(parents=True)
    digests: dict[str, tuple[str, str]] = {}
    total = sum(sizes.of(split) for split in SPLITS)
    with tqdm(total=total, desc=f"drawing mini-VOC ({world.name})", unit="image",
              disable=not progress) as bar:
        for split in SPLITS:
            names = [f"{world.name}_{split}_{index:05d}" for index in range(sizes.of(split))]
            for index, name in enumerate(names):
                scene, boxes = _annotated(world, split, index)
                digests |= _write_image(folder, name, split, scene, boxes, world)
                bar.update()
            listed = f"ImageSets/Segmentation/{split}.txt"
            _write_text(folder / listed, "".join(f"{name}\n" for name in names))
            of_list = sha256((folder / listed).read_bytes())
            digests[listed] = (of_list, of_list)
    write_json(folder / DIGESTS, digests)
    _write_text(folder / "README.txt", README.format(
        name=world.name, total=total, side=world.side, classes=", ".join(world.classes),
        version=DRAWING_VERSION,
        splits=", ".join(f"{split} {sizes.of(split)}" for split in SPLITS),
        parameters=json.dumps(asdict(world), indent=2)))


def _write_image(
    folder: Path, name: str, split: str, scene: Scene, boxes: list[Box], world: World
) -> dict[str, tuple[str, str]]:
    """Write the image, the mask and the boxes of one scene.

    Returns:
        {file, relative to the folder: (SHA-256 of the file, SHA-256 of what was drawn)}.
    """
    masks = "SegmentationClassAug" if split == "unlabelled" else "SegmentationClass"
    drawn = {
        f"JPEGImages/{name}.jpg": scene.image.tobytes(),
        f"{masks}/{name}.png": scene.mask.tobytes(),
        f"Annotations/{name}.xml": _boxes_bytes(boxes),
    }
    image_path, mask_path, boxes_path = (folder / path for path in drawn)
    Image.fromarray(scene.image).save(image_path, quality=95, subsampling=0)
    mask = Image.fromarray(scene.mask)
    mask.putpalette(voc_palette())  # turns grey levels into mode P, ids unchanged
    mask.save(mask_path)
    tree = ElementTree.ElementTree(_annotation(name, boxes, world, scene.image.shape))
    ElementTree.indent(tree)
    tree.write(boxes_path, encoding="utf-8")
    return {
        path: (sha256((folder / path).read_bytes()), sha256(content))
        for path, content in drawn.items()
    }


def _annotation(
    name: str, boxes: list[Box], world: World, shape: tuple[int, ...]
) -> ElementTree.Element:
    """Return the XML element that describes the boxes of one image."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "folder").text = "VOC2012"
    ElementTree.SubElement(root, "filename").text = f"{name}.jpg"
    size = ElementTree.SubElement(root, "size")
    for tag, value in zip(("height", "width", "depth"), shape, strict=True):
        ElementTree.SubElement(size, tag).text = str(value)
    ElementTree.SubElement(root, "segmented").text = "1"
    for class_id, (x0, y0, x1, y1) in boxes:
        entry = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(entry, "name").text = world.classes[class_id - 1]
        ElementTree.SubElement(entry, "difficult").text = "0"
        corners = ElementTree.SubElement(entry, "bndbox")
        # VOC counts pixels from 1 and includes the last one.
        for tag, edge in (("xmin", x0 + 1), ("ymin", y0 + 1), ("xmax", x1), ("ymax", y1)):
            ElementTree.SubElement(corners, tag).text = f"{edge:g}"
    return root


def _write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with the same line ends on every platform."""
    path.write_text(text, encoding="utf-8", newline="\n")
