"""Where the files of Cityscapes and CamVid lie and what their masks should hold, for the check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from semiseg_lib.datasets.camvid import ORIGINAL, SPLITS, camvid_names
from semiseg_lib.datasets.check_parts import Entry, Finding, Layout, Rules
from semiseg_lib.datasets.labels import (
    CAMVID_CLASSES,
    CITYSCAPES_CLASSES,
    CITYSCAPES_IDS,
    VOID,
    camvid_ids,
)
from semiseg_lib.datasets.published_lists import IMAGE_SUFFIXES, read_published_list
from semiseg_lib.paths import shown


def cityscapes_layout(folder: Path, lists: Sequence[Path]) -> Layout:
    """Fine Cityscapes; the trainIds images that some code needs are lists of their own."""
    found = {}
    for kind, rules in (("labelIds", _label_ids()), ("labelTrainIds", _train_ids())):
        for split in ("train", "val", "test"):
            entries = _cityscapes_entries(folder, split, kind, rules)
            wanted = kind == "labelIds" or any(e.mask and e.mask.is_file() for e in entries)
            if entries and wanted:
                found[split if kind == "labelIds" else f"{split} ({kind})"] = entries
    note = Finding("NOTE", "test", "its owner keeps the masks back; they are not looked at")
    by_name = {entry.name: entry for split in ("train", "val") for entry in found.get(split, ())}
    found |= _own_lists(lists, by_name, _label_ids(), folder / "leftImg8bit")
    return Layout(f"Cityscapes in {shown(folder)}", found, (note,) if "test" in found else ())


def _cityscapes_entries(folder: Path, split: str, kind: str, rules: Rules) -> tuple[Entry, ...]:
    """Every image that has a photograph or a mask: what lacks one of the two is found missing."""
    def files(what: str, suffix: str) -> dict[str, Path]:
        ending = f"_{suffix}.png"
        return {path.name.removesuffix(ending): path
                for path in (folder / what / split).glob(f"*/*{ending}")}

    names = sorted({**files("leftImg8bit", "leftImg8bit"), **files("gtFine", f"gtFine_{kind}")})
    fine = folder / "gtFine" / split
    return tuple(
        Entry(
            name, rules,
            folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png",
            None if split == "test" else fine / city / f"{name}_gtFine_{kind}.png",
            None if split == "test" else fine / city / f"{name}_gtFine_instanceIds.png",
        )
        for name in names for city in [name.split("_")[0]]
    )


def _label_ids() -> Rules:
    scored = {i: name for i, name in enumerate(CITYSCAPES_IDS) if name in CITYSCAPES_CLASSES}

    def kind(path: Path, values: list[int]) -> str:
        return "train ids" if VOID in values else "unknown ids"

    void = frozenset(range(len(CITYSCAPES_IDS))) - scored.keys()
    return Rules(ids=scored, void=void, kind_of_unknown=kind)


def _train_ids() -> Rules:
    def kind(path: Path, values: list[int]) -> str:
        return "label ids" if max(values) < len(CITYSCAPES_IDS) else "unknown ids"

    return Rules(ids=dict(enumerate(CITYSCAPES_CLASSES)), kind_of_unknown=kind)


def camvid_layout(folder: Path, lists: Sequence[Path]) -> Layout:
    """CamVid with 11 ids, or the original with 32 colours."""
    original = (folder / ORIGINAL[0]).is_dir()
    eleven = dict(enumerate(CAMVID_CLASSES))
    if original:
        rules = Rules(ids=eleven, colours=camvid_ids("merged"))
    else:
        # One common copy writes void as 11.
        rules = Rules(ids=eleven, void=frozenset({len(CAMVID_CLASSES), VOID}))
    found, findings = {}, []
    for split in SPLITS:
        try:
            names = camvid_names(folder, split)
        except ValueError as error:
            findings.append(Finding("FAIL", split, str(error)))
            continue
        images = folder / (ORIGINAL[0] if original else split)
        masks = folder / (ORIGINAL[1] if original else f"{split}annot")
        masks = masks if masks.is_dir() else folder / f"{split}_labels"
        ending = "_L.png" if original else ".png"
        found[split] = tuple(
            Entry(name, rules, _image(images, name), masks / f"{name}{ending}") for name in names
        )
    by_name = {entry.name: entry for entries in found.values() for entry in entries}
    found |= _own_lists(lists, by_name, rules, folder)
    kind = "the original, 32 colours read as 11 classes" if original else "11 ids"
    return Layout(f"CamVid ({kind}) in {shown(folder)}", found, tuple(findings))


def _image(folder: Path, name: str) -> Path:
    paths = [folder / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
    return next((path for path in paths if path.is_file()), folder / f"{name}.png")


def _own_lists(
    lists: Sequence[Path], by_name: Mapping[str, Entry], rules: Rules, images: Path
) -> dict[str, tuple[Entry, ...]]:
    """Lists of one's own; a name that the dataset does not have is found missing."""
    return {
        Path(path).stem: tuple(
            by_name.get(name) or Entry(name, rules, images / f"{name}.png")
            for name in read_published_list(Path(path))
        )
        for path in lists
    }
