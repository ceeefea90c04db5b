"""``semiseg data``: get a dataset, check it, draw a labelled list from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from semiseg_lib import datasets
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.cli.flags import (
    Common,
    CommonFlags,
    DatasetArgument,
    VideoArguments,
    command,
    parsed,
    typed,
)
from semiseg_lib.core import escaping
from semiseg_lib.core.paths import reading_root, shown, work_root
from semiseg_lib.core.seeds import check_seed
from semiseg_lib.core.terminal import give, say
from semiseg_lib.datasets.acquire import Download, extract_frames
from semiseg_lib.datasets.audit import Report, audit_dataset
from semiseg_lib.datasets.camvid import FRAMES
from semiseg_lib.datasets.lists import list_digest, write_list

Lists = Annotated[tuple[Path, ...], tyro.conf.arg(name="list"), tyro.conf.UseAppendAction]


def run(arguments: Sequence[str]) -> int:
    """Get a dataset, check its labels, draw a list of labelled images; minivoc by default."""
    arguments = list(arguments)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["minivoc", *arguments]
    return parsed(commands(), arguments, "semiseg data",
                  "Get a dataset, check it, draw a labelled list from it.")() or 0


def commands() -> dict[str, Callable[..., int | None]]:
    """Return every command after ``semiseg data``, by name."""
    return {"minivoc": minivoc, **_downloads(), "frames": frames, "audit": audit, "split": split}


@command
def minivoc(common: CommonFlags = Common()) -> None:
    """Generate the images of mini-VOC, unless they are stored, and show a summary."""
    config = common.chosen().data
    from semiseg_lib.batches.data import Data
    from semiseg_lib.notebook.tables import results_table

    data = Data(config, common.seed, common.machine.root)
    has_boxes = {
        name: all(map(data.source.has_boxes, members)) for name, members in data.names.items()
    }
    rows = [
        {"list": name, "images": len(members),
         "masks": "hidden" if name == "unlabelled" else "yes",
         "boxes": "yes" if has_boxes[name] else "no"}
        for name, members in data.names.items()
    ]
    folder = data.source.folder
    table = results_table([{**row, "images": str(row["images"])} for row in rows])
    text = f"{table}\nclasses: {escaping.listed(data.classes)}"
    give({"lists": rows, "classes": list(data.classes), "path": folder},
         text if folder is None else f"{text}\nfolder:  {shown(folder)}")


def _downloads() -> dict[str, Callable[..., int]]:
    """Return a command for each download that a dataset declares."""
    return {
        name: _command(dataset, download)
        for dataset in datasets.usable()
        for name, download in dataset.downloads.items()
    }


def _command(dataset: datasets.Dataset, download: Download) -> Callable[..., int]:
    """Return a command that gets a dataset and shows the counts; exit code 1 if some is missing."""
    def get(root: Path | None = None) -> int:
        from semiseg_lib.notebook.tables import results_table

        root = root or work_root() / "datasets"
        say(f"Terms: {download.terms}")
        counts = download.get(root, True)
        table = results_table([
            {"files": one.what, "found": str(one.found), "whole": str(one.expected),
             "": "" if one.complete else "← not whole"} for one in counts
        ])
        whole = all(one.complete for one in counts)
        give({"path": root, "whole": whole, "counts": [
            {"files": one.what, "found": one.found, "whole": one.expected} for one in counts
        ]}, f"{table}\n" + ("All there." if whole else "Some of it is missing: if no subset was "
                            "meant, move the folder away and run the same command again."))
        if dataset.audit is not None:
            say(f"Next: semiseg data audit {dataset.name} --root {escaping.shell(shown(root))}")
        say(f"(SEMISEG_DATA={escaping.shell(shown(root))} names the folder once and for all.)")
        return int(not whole)

    get.__doc__ = (
        f"{download.text}\n\n"
        "Args:\n    root: the folder to put it in; unset: datasets/ in the work folder.\n"
    )
    return command(get)


@command
def frames(
    videos: VideoArguments,
    root: Path | None = None,
    every: int = 1,
    size: tuple[int, int] | None = None,
) -> None:
    """Extract frames of CamVid's videos as further unlabelled images (data.unlabelled = frames).

    Args:
        videos: the files, such as 0006R0.MXF and 0016E5.MXF, named like the sequences.
        root: the folder that holds camvid; unset: datasets/ in the work folder.
        every: keep the frames 0, every, 2 every ...
        size: width and height to resize to, as the labelled images have; unset: the video's own.
    """
    with typed():
        if not videos:
            raise ValueError("name at least one video, such as 0006R0.MXF.")
        if every < 1:
            raise ValueError(f"--every is {every}; keep every 1st, 2nd ... frame.")
        if size is not None and min(size) < 1:
            raise ValueError(f"--size is {size}; width and height must be >= 1 pixel.")
    folder = (root or work_root() / "datasets") / "camvid" / FRAMES
    counts = {
        video: extract_frames(video, folder / video.stem, every, size) for video in videos
    }
    give({"videos": [{"video": video, "frames": count, "path": folder / video.stem}
                     for video, count in counts.items()]},
         "\n".join(f"{count} frames of {escaping.visible(video.name)} in "
                   f"{shown(folder / video.stem)}" for video, count in counts.items()))


@command
def audit(
    dataset: DatasetArgument,
    root: Path | None = None,
    lists: Lists = (),
    sample: int | None = None,
    workers: int | None = None,
) -> int:
    """Check every file of a dataset; say what is wrong and how to fix it. Exit code 1 on FAIL.

    Args:
        dataset: name of the dataset.
        root: the folder that holds it; unset: SEMISEG_DATA, else datasets/ in the work folder.
        lists: a further list of names to check with it; may be given several times.
        sample: number of images to check per list; unset: all.
        workers: threads; unset: up to 4.
    """
    with typed():
        if sample is not None and sample < 1:
            raise ValueError(f"--sample is {sample}; check at least one image per list.")
        if workers is not None and workers < 1:
            raise ValueError(f"--workers is {workers}; at least one thread reads the files.")
        declared = datasets.find(dataset)
    if declared.needs_root:
        root = reading_root(root)
    report = audit_dataset(dataset, root, lists, sample, workers, progress=True)
    give({"dataset": dataset, "failed": report.failed,
          "findings": [asdict(one) for one in report.findings]}, as_text(report))
    if declared.licence:
        say(f"Terms: {declared.licence}")
    return int(report.failed)


def as_text(report: Report) -> str:
    """Return a report for the terminal: histograms of the masks, findings, verdict."""
    from semiseg_lib.notebook.tables import results_table

    parts = [report.title]
    for name, found in report.histograms.items():
        title = f"{escaping.visible(name)}: {found.masks} masks"
        parts.append(f"{title}\n{results_table(found.rows())}")
    worst_last = reversed(report.findings)
    parts.append("\n".join(str(finding) for finding in worst_last))
    counts = Counter(finding.severity for finding in report.findings)
    parts.append(
        f"{counts['FAIL']} FAIL, {counts['NOTE']} NOTE: "
        + ("fix what FAILs before you train." if report.failed else "ready to train on.")
    )
    return "\n\n".join(parts)


@command
def split(
    dataset: DatasetArgument,
    labelled: int,
    out: Path,
    seed: int = 0,
    root: Path | None = None,
    candidates: str = "",
    keep: tuple[str, ...] = (),
) -> None:
    """Draw a list of labelled images in which every class occurs, and write it.

    Args:
        dataset: name of the dataset.
        labelled: number of images.
        out: the list to write, one name per line.
        seed: the same seed gives the same list.
        root: the folder that holds it; unset: SEMISEG_DATA, else datasets/ in the work folder.
        candidates: the list to draw from; unset: the dataset's own.
        keep: the classes that must occur, background included; unset: all.

    Raises:
        ValueError: ``out`` is there and names other images.
    """
    with typed():
        config = DataConfig(dataset, candidates=candidates, keep=keep)
        if labelled < 1:
            raise ValueError(f"--labelled is {labelled}; at least one image needs a mask.")
        check_seed(seed)
        if out.is_dir():
            raise ValueError(f"{shown(out)} is a folder; name a file for the list.")
    from semiseg_lib.batches.data import Data, choose_names

    images = Data(config, seed, root).candidates
    names = choose_names(images, labelled, seed)
    if out.exists() and out.read_bytes().split() != " ".join(names).encode().split():
        raise ValueError(
            f"{shown(out)} is there and names other images, which would be lost. Choose another "
            "name, or move it away."
        )
    write_list(names, out)
    digest = list_digest(names)
    give({"list": out, "labelled": labelled, "of": len(images), "seed": seed, "sha256": digest},
         f"{labelled} of {len(images)} images, seed {seed}, "
         f"all {len(images.classes)} classes occur\nlist:    {shown(out)}\n"
         f"sha256:  {digest} (of the sorted names)")
