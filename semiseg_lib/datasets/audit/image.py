"""Inspection of one image with its labels: the content of its mask, and all problems."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from semiseg_lib.datasets.devkit.annotation import half_open
from semiseg_lib.datasets.labels import VOID, LabelError, opened_image, voc_palette

from .parts import Entry, Inspection, Problem, Rules


def missing(entry: Entry) -> list[Problem]:
    """Return a problem for each missing file of an entry."""
    files = {"image": entry.image, "mask": entry.mask, "boxes": entry.boxes}
    return [Problem(f"missing {kind}", path) for kind, path in files.items()
            if path is not None and not path.is_file()]


def inspect(entry: Entry) -> Inspection:
    """Read the existing files of an entry and return their content and problems."""
    problems, counts, kind, boxes, rules = [], None, None, 0, entry.rules
    image = _open(entry.image, "image", problems)
    mask = _open(entry.mask, "mask", problems)
    if mask is not None:
        kind = {"P": "palette", "L": "grey", "1": "grey"}.get(mask.mode, "colour")
        if image is not None and image.size != mask.size:
            problems.append(Problem("size", entry.mask, _sizes(mask, image)))
        counts = _count(mask, rules, entry.mask, problems)
    if entry.boxes is not None and entry.boxes.is_file() and rules.read_boxes is not None:
        size = None if image is None else image.size
        boxes = _inspect_boxes(entry, size, problems)
    digest = None if image is None else _digest(image)
    return Inspection(entry, counts, kind, digest, boxes, tuple(problems))


def _open(path: Path | None, kind: str, problems: list[Problem]) -> Image.Image | None:
    if path is None or not path.is_file():
        return None
    try:
        with opened_image(path) as image:
            return image
    except LabelError as error:
        reason = str(error.__cause__).partition("'")[0].strip()
        problems.append(Problem(f"unreadable {kind}", path, reason))
        return None


def _digest(image: Image.Image) -> bytes:
    """Return a hash of the pixels, independent of the file's name, format and metadata."""
    digest = hashlib.blake2b(repr(image.size).encode(), digest_size=16)
    digest.update(image.convert("RGB").tobytes())
    return digest.digest()


def _sizes(mask: Image.Image, image: Image.Image) -> str:
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
    hint = "; its EXIF rotation is not applied" if turned else ""
    return "{}x{}, the image {}x{}".format(*mask.size, *image.size) + hint


def _count(
    mask: Image.Image, rules: Rules, path: Path, problems: list[Problem]
) -> np.ndarray | None:
    """Return the number of pixels of each value, int64 (256,); add problems with the values."""
    if mask.format == "JPEG":
        problems.append(Problem("lossy mask", path))
        return None
    if mask.mode == "1":
        mask = mask.convert("L").point(lambda value: value // 255)
    if rules.colours and mask.mode == "P":
        mask = mask.convert("RGB")
    if rules.colours and mask.mode == "L":
        problems.append(Problem("grey mask", path))
        return None
    if mask.mode in ("P", "L"):
        counts = np.asarray(mask.histogram()[:256], dtype=np.int64)
        _check_palette(mask, counts, rules, path, problems)
    elif rules.colours and mask.mode in ("RGB", "RGBA"):
        counts = _count_colours(mask, rules, path, problems)
    else:
        hint = _colour_hint(mask)
        problems.append(Problem("colour mask", path, f"mode {mask.mode}{hint}"))
        return None
    unknown = [value for value in np.flatnonzero(counts).tolist()
               if value not in rules.ids and value not in rules.void]
    if unknown:
        hint = _grey_hint(counts, rules)
        kind = rules.kind_of_unknown(unknown)
        problems.append(Problem(kind, path, f"{_few(unknown)}{hint}"))
    if len(rules.ids) == 2 and np.flatnonzero(counts).tolist() == [0, VOID]:
        problems.append(Problem("white mask", path))
    if not counts[list(rules.ids)].any():
        problems.append(Problem("only void", path))
    return counts


def _count_colours(
    mask: Image.Image, rules: Rules, path: Path, problems: list[Problem]
) -> np.ndarray:
    counts = np.zeros(256, dtype=np.int64)
    found = mask.convert("RGB").getcolors(maxcolors=1 << 24)
    strange = [colour for _, colour in found if colour not in rules.colours]
    for count, colour in found:
        counts[rules.colours.get(colour, VOID)] += count
    if strange:
        problems.append(Problem("unknown colours", path, _few(strange)))
    return counts


def _check_palette(
    mask: Image.Image, counts: np.ndarray, rules: Rules, path: Path, problems: list[Problem]
) -> None:
    """Add a problem if the palette shows other ids than the mask holds, or is not the expected."""
    if rules.palette is None or mask.mode != "P":
        return
    shown = np.asarray(mask.getpalette("RGB"), dtype=np.int64).reshape(-1, 3)
    owner = {tuple(colour): value for value, colour in enumerate(rules.palette.tolist())}
    used = [value for value in np.flatnonzero(counts).tolist() if value < len(shown)]
    meant = {value: owner.get(tuple(shown[value].tolist())) for value in used}
    if wrong := [v for v in used if meant[v] in rules.ids and meant[v] != v]:
        value = wrong[0]
        problems.append(Problem(
            "shuffled palette", path,
            f"id {value} has the colour of id {meant[value]} ({rules.ids[meant[value]]})",
        ))
    elif any(meant[value] is None for value in used):
        problems.append(Problem("other palette", path))


def _colour_hint(mask: Image.Image) -> str:
    """Return a hint whether the colours of a colour mask are VOC's, and so convertible to ids."""
    if mask.mode not in ("RGB", "RGBA"):
        return ""
    found = mask.convert("RGB").getcolors(maxcolors=256)
    if found is None:
        return ", more than 256 colours, so smoothed or not a mask"
    known = {tuple(colour) for colour in np.reshape(voc_palette(), (256, 3)).tolist()}
    return ", the colours are VOC's palette" if {c for _, c in found} <= known else ""


def _grey_hint(counts: np.ndarray, rules: Rules) -> str:
    """Return a hint whether the values are the palette's colours converted to grey."""
    if rules.palette is None:
        return ""
    strip = Image.fromarray(rules.palette[None].astype(np.uint8), mode="RGB").convert("L")
    grey = np.asarray(strip)[0][[*rules.ids, VOID]]
    values = np.flatnonzero(counts)
    return ", the palette's colours converted to grey" if np.isin(values, grey).all() else ""


def _inspect_boxes(
    entry: Entry, size: tuple[int, int] | None, problems: list[Problem]
) -> int:
    path, rules = entry.boxes, entry.rules
    try:
        boxes = rules.read_boxes(entry)
    except LabelError as error:
        problems.append(Problem("unreadable boxes", path, str(error).partition("(")[0].strip()))
        return 0
    for name, sides in boxes:
        if name not in rules.box_classes:
            problems.append(Problem("unknown box class", path, name))
        if size is None:
            continue
        try:
            half_open(sides, size[::-1], path)
        except LabelError:
            detail = " ".join(f"{side:g}" for side in sides)
            problems.append(Problem("box outside", path, f"{name} {detail} in {size[0]}x{size[1]}"))
    return len(boxes)


def _few(values: list) -> str:
    return ", ".join(map(str, values[:5])) + (" ..." if len(values) > 5 else "")
