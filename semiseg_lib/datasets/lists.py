"""Published lists of labelled images in the formats of their repositories, and split digests.

Every repository has its own format. Each of these lines names one image::

    2007_000032                                                      TorchSemiSeg, U2PL, S4MC: VOC
    JPEGImages/2007_000032.jpg SegmentationClass/2007_000032.png     UniMatch: VOC
    /JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png            CAC: VOC
    aachen/aachen_000000_000019                                      ELN: Cityscapes
    leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png    U2PL, S4MC: Cityscapes
    leftImg8bit/train/aachen/... gtFine/train/aachen/...             UniMatch, CAC: Cityscapes
    /images/train/aachen_000000_000019.png<TAB>/segmentation/...     TorchSemiSeg: Cityscapes

Each is read as the bare name that the dataset's own lists use.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from semiseg_lib.core.durable import atomic_write
from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.datasets.labels import decoding

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Recognised suffixes of image files."""

_IMAGE_ENDINGS = ("_leftImg8bit",)
_MASK_ENDINGS = (
    "_gtFine_labelIds", "_gtFine_labelTrainIds", "_gtCoarse_labelIds", "_gtCoarse_labelTrainIds",
    "_gtFine", "_gtCoarse", "_L",
)


def read_published_list(path: Path, known: Collection[str] = ()) -> tuple[str, ...]:
    """Return the bare image names of a list, in its order.

    Lines have one or two columns (image, mask), separated by spaces or a tab, with or without
    folders, leading slashes and suffixes; blank lines and Windows line ends are accepted. If every
    line is one of the ``known`` names, the lines are the names, including spaces.

    Args:
        path: the list.
        known: the names of all images; () if they are unknown.

    Raises:
        FileNotFoundError: the list is missing.
        ValueError: it is empty, names an image twice, mixes formats, or a line names an image and
            the mask of another.
    """
    path = Path(path).expanduser()
    lines = read_lines(
        path, "Download it from its repository (published lists are not part of this library), or "
        "leave it out to sample the labelled images by seed."
    )
    whole = tuple(line.strip() for line in lines if line.strip())
    if whole and set(whole) <= set(known):
        check_no_duplicates(whole, f"the list {shown(path)}")
        return whole
    rows = [(number, _columns(line)) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise ValueError(f"the list {shown(path)} is empty. Download it again.")
    first, form = rows[0][0], _form(rows[0][1])
    for number, columns in rows:
        if _form(columns) != form:
            raise ValueError(
                f"{shown(path)} is mixed: line {first} is {form}, line {number} is "
                f"{_form(columns)}. Two lists seem to be concatenated; keep one."
            )
    names = tuple(_name(columns, path, number) for number, columns in rows)
    check_no_duplicates(names, f"the list {shown(path)}")
    return names


def read_lines(path: Path, missing: str) -> list[str]:
    """Return the lines of a text file.

    Args:
        path: the file.
        missing: what to do if it is missing.

    Raises:
        FileNotFoundError: the file is missing.
        LabelError: it is not a text file.
    """
    with decoding(path, "Save it as text in UTF-8, one name per line.", missing):
        return Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()


def list_digest(names: Sequence[str]) -> str:
    """Return the SHA-256 of a split, 64 hexadecimal digits.

    It does not depend on the order of the names. (Training does: batches follow the order of the
    list.)
    """
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def write_list(names: Sequence[str], path: Path) -> None:
    """Write bare names, one per line.

    Args:
        names: of images, without suffixes.
        path: the file to write.

    Raises:
        ValueError: ``names`` is empty, or a name occurs twice.
    """
    if not names:
        raise ValueError(
            f"no names to write to {shown(path)}; an empty list would be refused when read."
        )
    check_no_duplicates(names, f"the list for {shown(path)}")
    with atomic_write(Path(path)) as temporary:
        temporary.write_text("\n".join(names) + "\n", encoding="utf-8", newline="\n")


def can_be_listed(name: str) -> bool:
    """Return whether a name is one line of UTF-8, as a list, a log or a report needs it."""
    return name.splitlines() == [name] and name.encode("utf-8", "ignore").decode("utf-8") == name


def check_no_duplicates(names: Sequence[str], what: str) -> None:
    """Raise ValueError if a name occurs twice.

    Args:
        names: of images.
        what: the list, for the message.
    """
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(
            f"{what} names {len(twice)} images twice, such as {visible(twice[0])}. Take one out of "
            "each pair; files of the same name in two folders are not distinguished."
        )


def check_known(names: Sequence[str], known: Collection[str], what: str, where: Path) -> None:
    """Raise ValueError if a name occurs twice or is not among the known images in ``where``.

    Args:
        names: of images.
        known: all names that may occur.
        what, where: the list and the folder, for the message.
    """
    check_no_duplicates(names, what)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(
            f"{what} names {len(unknown)} images that are not in {shown(where)}, such as "
            f"{visible(unknown[0])}. Names look like {visible(next(iter(known)))}, without folder "
            "and ending."
        )


def _stem(entry: str) -> str:
    last = entry.replace("\\", "/").rstrip("/").rpartition("/")[2]
    stem, dot, suffix = last.rpartition(".")
    return stem if dot + suffix.lower() in IMAGE_SUFFIXES else last


def _without(stem: str, endings: Sequence[str]) -> str:
    ending = next((end for end in endings if stem.endswith(end)), "")
    return stem.removesuffix(ending)


def _columns(line: str) -> list[str]:
    """Return the columns of a line, split at tabs if any, so that names may contain spaces."""
    return [c.strip() for c in line.strip().split("\t") if c.strip()] if "\t" in line.strip() \
        else line.split()


def _form(columns: Sequence[str]) -> str:
    """Return a description of the format of a line."""
    count = {1: "one column", 2: "two columns"}.get(len(columns), f"{len(columns)} columns")
    first = columns[0].replace("\\", "/")
    kind = "paths" if "/" in first else "file names" if _stem(first) != first else "bare names"
    return f"{count} of {kind}"


def _name(columns: Sequence[str], path: Path, number: int) -> str:
    """Return NAME of ``/JPEGImages/NAME.jpg``, ``city/NAME_leftImg8bit.png`` or ``NAME``."""
    if len(columns) > 2:
        raise ValueError(
            f"line {number} of {shown(path)} has {len(columns)} columns; one (the image) or two "
            "(the image and its mask) can be read. Separate columns by tabs if names contain "
            "spaces."
        )
    name = _without(_stem(columns[0]), _IMAGE_ENDINGS)
    if len(columns) == 2:
        mask = _stem(columns[1])
        if name not in (mask, _without(mask, _MASK_ENDINGS)):
            raise ValueError(
                f"line {number} of {shown(path)} pairs the image {visible(columns[0])} with the "
                f"mask {visible(columns[1])} of another image. Download the list again, or correct "
                "the line."
            )
    return name
