"""What the digest of an image set costs: the first time, and every later time.

    OMP_NUM_THREADS=1 python benchmarks/digest.py [--images 10000] [--repeats 5]

Files of random bytes, of the sizes of VOC's images and masks, are written to a temporary folder
and deleted afterwards. They were just written, so they lie in the page cache: a disk's own speed is
not measured. The first time reads and hashes every file and writes the table; a later time reads
the table and asks for the stat of every file.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from semiseg_lib.datasets import digest
from semiseg_lib.datasets.digest import FileHashes, image_set_digest
from semiseg_lib.notebook.tables import markdown_table

IMAGE_BYTES, MASK_BYTES = (50_000, 70_000), (4_000, 6_000)  # drawn evenly from these
BLOCK = 4096  # a file takes whole blocks of the disk


@dataclass(frozen=True)
class Files:
    """A reader of images and masks that are never opened as such."""

    folder: Path
    names: tuple[str, ...]
    classes: tuple[str, ...] = ("background", "thing")
    masks: object = "masks"
    boxes: bool = False
    canonical: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    def content(self, index: int) -> Iterator[Path]:
        """Yield the image and the mask."""
        yield self.folder / "images" / f"{self.names[index]}.jpg"
        yield self.folder / "masks" / f"{self.names[index]}.png"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5, help="of either time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        needed = options.images * (IMAGE_BYTES[1] + MASK_BYTES[1] + 2 * BLOCK)
        free = shutil.disk_usage(folder).free
        if free < 2 * needed:
            raise SystemExit(f"{folder} has {free / 1e9:.1f} GB left; {2 * needed / 1e9:.1f} are "
                             "needed. Set TMPDIR to a folder on another disk.")
        os.environ["SEMISEG_WORK"] = str(Path(folder) / "work")
        reader = Files(Path(folder) / "set", tuple(f"{i:06d}" for i in range(options.images)))
        size = write(reader)
        time.sleep(2 * digest.GRANULARITY_NS / 1e9)  # until no time stamp leaves a doubt
        print(table(reader, size, options.repeats))


def write(reader: Files) -> int:
    """Write all files and return their size in bytes."""
    generator = np.random.default_rng(0)
    total = 0
    for index in tqdm(range(len(reader)), desc="writing", unit="image"):
        for path, sizes in zip(reader.content(index), (IMAGE_BYTES, MASK_BYTES), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            size = int(generator.integers(*sizes))
            path.write_bytes(generator.bytes(size))
            total += size
    return total


def table(reader: Files, size: int, repeats: int) -> str:
    """Median and range of either time, and what the table takes on the disk."""
    tables = Path(os.environ["SEMISEG_WORK"]) / "digests"
    first, later, found = [], [], set()
    for _ in range(repeats):
        shutil.rmtree(tables, ignore_errors=True)
        for times in (first, later):
            start = time.perf_counter()
            found.add(image_set_digest(reader, range(len(reader)), FileHashes(reader.folder)))
            times.append(time.perf_counter() - start)
    assert len(found) == 1, "the digest depends on what is remembered"
    kept = sum(path.stat().st_size for path in tables.iterdir())
    rows = [
        {"what": what, "s": f"{statistics.median(times):.2f}",
         "least to most": f"{min(times):.2f} to {max(times):.2f}",
         "ms an image": f"{1e3 * statistics.median(times) / len(reader):.3f}",
         "share of the first (%)":
             f"{100 * statistics.median(times) / statistics.median(first):.1f}"}
        for what, times in (("first time", first), ("later time", later))
    ]
    return (f"{len(reader):,} images and masks, {size / 1e6:.0f} MB in the page cache, "
            f"{digest.THREADS} threads, {repeats} repeats; the table takes {kept / 1e6:.1f} MB\n\n"
            + markdown_table(rows))


if __name__ == "__main__":
    main()
