"""``semiseg data``: get a dataset, check it, draw a labelled list from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from semiseg_lib.cli.flags import Common, CommonFlags
from semiseg_lib.datasets import obtain
from semiseg_lib.datasets.camvid import FRAMES
from semiseg_lib.datasets.check import Report, check_layout
from semiseg_lib.datasets.check_layouts import open_layout, voc_layout
from semiseg_lib.datasets.frames import extract_frames
from semiseg_lib.datasets.photo_data import PhotoConfig, draw_labelled
from semiseg_lib.datasets.published_lists import list_digest, write_list
from semiseg_lib.datasets.sources import open_source
from semiseg_lib.paths import reading_root, shown, work_root
from semiseg_lib.tables import markdown_table

Lists = Annotated[tuple[Path, ...], tyro.conf.arg(name="list"), tyro.conf.UseAppendAction]


def run(arguments: Sequence[str]) -> int:
    """Run ``semiseg data ARGUMENTS``, ``mini`` if they name no command; return the exit code."""
    arguments = list(arguments)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["mini", *arguments]
    code = tyro.extras.subcommand_cli_from_dict(
        {"mini": mini, "voc": voc, "sbd": sbd, "cityscapes": cityscapes, "camvid": camvid,
         "cifar10": cifar10, "frames": frames, "check": check, "split": split},
        args=arguments, prog="semiseg data",
        description="Get a dataset, check it, draw a labelled list from it.",
    )
    return code or 0


def mini(common: CommonFlags = Common()) -> None:
    """Draw the images of mini-VOC (or find them drawn) and show what there is."""
    pools = common.pipeline().data
    rows = [
        {"list": name, "images": str(len(getattr(pools, name).names)), "masks": masks}
        for name, masks in (("labelled", "yes"), ("unlabelled", "no, boxes only"), ("val", "yes"),
                            ("test", "yes"))
    ]
    print(markdown_table(rows))
    print(f"classes: {', '.join(pools.classes)}\nfolder:  {shown(pools.folder)}")


def voc(root: Path | None = None) -> int:
    """Download PASCAL VOC 2012, unpack and count it (2.0 GB).

    Args:
        root: the folder to put it in; unset: datasets/ in the work folder.
    """
    return _get("voc", obtain.get_voc, root)


def sbd(root: Path | None = None) -> int:
    """Download SBD and convert its masks to SegmentationClassAug beside VOC's (1.4 GB).

    Args:
        root: the folder that VOC lies in; unset: datasets/ in the work folder.
    """
    return _get("sbd", obtain.get_sbd, root)


def cityscapes(root: Path | None = None) -> int:
    """Fetch Cityscapes with its owner's csDownload, or say how; unpack and count it (11 GB).

    Args:
        root: the folder to put it in; unset: datasets/ in the work folder.
    """
    return _get("cityscapes", obtain.get_cityscapes, root)


def camvid(root: Path | None = None) -> int:
    """Download CamVid, 701 images of 960x720, unpack and count it (0.6 GB).

    Args:
        root: the folder to put it in; unset: datasets/ in the work folder.
    """
    return _get("camvid", obtain.get_camvid, root)


def cifar10(root: Path | None = None) -> int:
    """Download CIFAR-10, 60,000 images of 32x32, as plain bytes; unpack and count it (0.2 GB).

    Args:
        root: the folder to put it in; unset: datasets/ in the work folder.
    """
    return _get("cifar10", obtain.get_cifar10, root)


def frames(
    videos: tyro.conf.Positional[tuple[Path, ...]],
    root: Path | None = None,
    every: int = 1,
    size: tuple[int, int] | None = None,
) -> None:
    """Extract frames of CamVid's videos as further unlabelled images (data.unlabelled = frames).

    Args:
        videos: the files, such as 0006R0.MXF and 0016E5.MXF; their names name the sequences.
        root: the folder that holds camvid; unset: datasets/ in the work folder.
        every: keep the frames 0, every, 2 every ...
        size: columns and rows to resize to, as the labelled images have; unset: the video's own.
    """
    folder = (root or work_root() / "datasets") / "camvid" / FRAMES
    for video in videos:
        count = extract_frames(video, folder / video.stem, every, size)
        print(f"{count} frames of {video.name} in {shown(folder / video.stem)}")


def check(
    dataset: tyro.conf.Positional[Literal["voc", "cityscapes", "camvid", "folder", "mini"]],
    root: Path | None = None,
    lists: Lists = (),
    sample: int | None = None,
    workers: int | None = None,
) -> int:
    """Look at every file of a dataset; say what is wrong and how to mend it. Exit code 1 on FAIL.

    Args:
        dataset: which one.
        root: the folder that holds it; unset: SEMISEG_DATA, else datasets/ in the work folder.
        lists: a further list of names to check with it; may be given several times.
        sample: look into so many images a list only.
        workers: threads; unset: up to 4.
    """
    if dataset == "mini":
        pools = Common().pipeline().data
        layout = voc_layout(root or pools.folder, pools.classes, lists)
    else:
        layout = open_layout(dataset, reading_root(root), lists)
    report = check_layout(layout, sample, workers, progress=True)
    print(as_text(report))
    return int(report.failed)


def as_text(report: Report) -> str:
    """A report to read in a terminal: what the masks hold, the findings, the verdict."""
    parts = [report.title]
    for name, found in report.histograms.items():
        parts.append(f"{name}: {found.masks} masks\n{markdown_table(found.rows())}")
    worst_last = reversed(report.findings)
    parts.append("\n".join(str(finding) for finding in worst_last))
    counts = Counter(finding.severity for finding in report.findings)
    parts.append(
        f"{counts['FAIL']} FAIL, {counts['NOTE']} NOTE: "
        + ("mend what FAILs before you train." if report.failed else "ready to train on.")
    )
    return "\n\n".join(parts)


def split(
    dataset: tyro.conf.Positional[Literal["voc", "cityscapes", "camvid", "folder", "minivoc"]],
    labelled: int,
    out: Path,
    seed: int = 0,
    root: Path | None = None,
    candidates: str = "",
    keep: tuple[str, ...] = (),
) -> None:
    """Draw a list of labelled images in which every class occurs, and write it.

    Args:
        dataset: which one.
        labelled: how many images.
        out: the list to write, one name a line.
        seed: the same seed gives the same list.
        root: the folder that holds it; unset: SEMISEG_DATA, else datasets/ in the work folder.
        candidates: the list to draw from; unset: the dataset's own.
        keep: the classes that must occur, background included; unset: all.
    """
    config = PhotoConfig(dataset, candidates=candidates, keep=keep)
    source = open_source(config, reading_root(root), seed)
    names = draw_labelled(source, labelled, seed)
    write_list(names, out)
    print(f"{labelled} of {len(source.names('candidates'))} images, seed {seed}, "
          f"all {len(source.classes)} classes occur\nlist:    {shown(out)}\n"
          f"sha256:  {list_digest(names)} (of the sorted names)")


def _get(name: str, get: Callable[[Path], list[obtain.Count]], root: Path | None) -> int:
    """Get a dataset and show the counts; exit code 1 where some of it is missing."""
    root = root or work_root() / "datasets"
    print(f"Terms: {obtain.TERMS[name]}", flush=True)
    counts = get(root)
    print(markdown_table([
        {"files": one.what, "found": str(one.found), "whole": str(one.expected),
         "": "" if one.whole else "← not whole"} for one in counts
    ]))
    whole = all(one.whole for one in counts)
    print("All there." if whole else "Some of it is missing: if no subset was meant, move the "
          "folder away and run the same command again.")
    if name != "cifar10":  # its hash has told that it is whole, and it has no masks to look into
        print(f"Next: semiseg data check {'voc' if name == 'sbd' else name} --root {shown(root)}")
    print(f"(SEMISEG_DATA={shown(root)} names the folder once and for all.)")
    return int(not whole)
