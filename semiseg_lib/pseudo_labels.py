"""The store of pseudo-labels: hard labels of unlabelled images, written once as palette PNGs.

Each image has its file, as in the published layout ``train_pseudoIt1/NAME.png``, that any viewer
opens: pixel values are class ids, 255 where no label was kept. An index ties the files to the run
that made them and to the images they belong to, and holds each file's SHA-256: labels of another
run, of other images, or damaged ones are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from tqdm import tqdm

from semiseg_lib.datasets.labels import VOID, write_mask
from semiseg_lib.paths import atomic_write, held, shown

IMAGES_PER_GROUP = 64
INDEX_WRITES = 100  # of tens of thousands of files, the index is too long to write every time
LITTLE_MEMORY = 2**28  # bytes, one per pixel


class StalePseudoLabels(RuntimeError):
    """Stored labels that do not belong to this run or these images, or are damaged."""


@dataclass(frozen=True)
class PseudoLabelStore:
    """Stored labels of a list of images: ``store[i]`` reads those of one, uint8 (H, W).

    Attributes:
        folder: ``index.json`` and ``NAME.png``; names may hold slashes.
        source: fingerprint of what made the labels.
        names: the images, in order.
        num_classes: C; the labels are 0 .. C - 1, or 255 where none was kept.

    Raises:
        ValueError: a name leads out of the folder, or occurs twice.
    """

    folder: Path
    source: str
    names: tuple[str, ...]
    num_classes: int

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError("an image is named twice; its labels need a file of their own.")
        for name in self.names:
            path = PurePosixPath(name)
            if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ValueError(f"{name!r} cannot be the name of a file in {shown(self.folder)}.")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        """The labels of one image, uint8 (H, W), checked against their SHA-256.

        Raises:
            IndexError: there is no such image.
            StalePseudoLabels: another run's, another image list's, incomplete or damaged.
        """
        name = self.names[range(len(self))[index]]
        expected = self._files[name]["sha256"]
        path = self._path(name)
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != expected:
            raise StalePseudoLabels(self._mend(f"{path.name} is missing or not what was written"))
        return np.array(Image.open(BytesIO(content)), dtype=np.uint8)

    def write(
        self,
        labels_of: Callable[[Sequence[int]], Iterable[np.ndarray]],
        title: str = "pseudo-labels",
    ) -> None:
        """Compute and store what is still missing; files that are there and whole are kept.

        Of several processes that ask for it one does the work, and the others wait.

        Args:
            labels_of: given image numbers (64 at most), the labels (H, W) of each, in this order.
            title: what the progress bar calls it.

        Raises:
            StalePseudoLabels: the folder holds labels of another run or of other images.
            ValueError: too few or too many labels, or ids that are no class.
        """
        with held(self.folder):
            self._write(labels_of, title)

    def _write(
        self, labels_of: Callable[[Sequence[int]], Iterable[np.ndarray]], title: str
    ) -> None:
        files = self._read_index()
        self.__dict__.pop("_files", None)
        groups = range(0, len(self), IMAGES_PER_GROUP)
        every = -(-len(groups) // INDEX_WRITES)
        unsaved = 0
        with tqdm(total=len(self), desc=title, unit="image") as bar:
            for start in groups:
                numbers = range(start, min(start + IMAGES_PER_GROUP, len(self)))
                missing = [i for i in numbers if not self._is_whole(self.names[i], files)]
                bar.update(len(numbers) - len(missing))
                if not missing:
                    continue
                for number, labels in zip(missing, labels_of(missing), strict=True):
                    files[self.names[number]] = self._write_one(self.names[number], labels)
                    bar.update()
                unsaved += 1
                if unsaved % every == 0:
                    self._write_index(files)
        if unsaved:
            self._write_index(files)

    @property
    def complete(self) -> bool:
        """Whether every file is written; reading also checks that they are whole."""
        try:
            return self._read_index().keys() == set(self.names)
        except StalePseudoLabels:
            return False

    def in_memory(self) -> Sequence[np.ndarray]:
        """Return the labels one by one: all of them read, where they take little memory.

        Raises:
            StalePseudoLabels: as for reading an image.
        """
        pixels = sum(one["pixels"] for one in self._files.values())
        return [self[i] for i in range(len(self))] if pixels <= LITTLE_MEMORY else self

    @property
    def kept(self) -> float:
        """The share of all pixels that carry a label, 0 to 1.

        Raises:
            StalePseudoLabels: as for reading an image.
        """
        counts = [(one["kept"], one["pixels"]) for one in self._files.values()]
        kept, pixels = np.sum(counts, axis=0)
        return float(kept / pixels)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.png"

    @cached_property
    def _files(self) -> dict[str, dict]:
        """SHA-256 and pixel counts of every file of a complete store."""
        files = self._read_index()
        if files.keys() != set(self.names):
            raise StalePseudoLabels(
                self._mend(f"{len(files)} of {len(self)} images are labelled")
            )
        return files

    def _is_whole(self, name: str, files: dict[str, dict]) -> bool:
        path = self._path(name)
        if name not in files or not path.is_file():
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() == files[name]["sha256"]

    def _write_one(self, name: str, labels: np.ndarray) -> dict:
        """Write one image's labels; return what the index says of them."""
        labels = np.asarray(labels)
        if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"the labels of {name} are {labels.dtype} {labels.shape}, not whole numbers (H, W)."
            )
        void = labels == VOID
        if ((labels < 0) | (labels >= self.num_classes))[~void].any():
            raise ValueError(
                f"the labels of {name} run from {labels[~void].min()} to {labels[~void].max()}, "
                f"but there are {self.num_classes} classes (and {VOID} for void)."
            )
        path = self._path(name)
        write_mask(labels, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"sha256": digest, "kept": int((~void).sum()), "pixels": labels.size}

    def _blank(self) -> dict:
        digest = hashlib.sha256("\n".join(self.names).encode()).hexdigest()
        return {"source": self.source, "images": digest, "count": len(self),
                "classes": self.num_classes}

    def _read_index(self) -> dict[str, dict]:
        """What the index says of each file; nothing where there is no index."""
        path = self.folder / "index.json"
        if not path.is_file():
            return {}
        expected = self._blank()
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            found = {key: index[key] for key in expected}
            files = {name: {key: one[key] for key in ("sha256", "kept", "pixels")}
                     for name, one in index["files"].items()}
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise StalePseudoLabels(self._mend("its index.json is damaged")) from error
        if found["source"] != expected["source"]:
            raise StalePseudoLabels(self._mend(f"they are those of {found['source']}"))
        if found["classes"] != expected["classes"]:
            raise StalePseudoLabels(
                self._mend(f"they tell {found['classes']} classes apart, not {self.num_classes}")
            )
        if found != expected:
            raise StalePseudoLabels(
                self._mend("they belong to other images, or in another order")
            )
        return files

    def _write_index(self, files: dict[str, dict]) -> None:
        with atomic_write(self.folder / "index.json") as temporary:
            text = json.dumps({**self._blank(), "files": files}, indent=0)
            temporary.write_text(text, encoding="utf-8")

    def _mend(self, problem: str) -> str:
        return (
            f"the pseudo-labels in {shown(self.folder)} cannot be used for {self.source}: "
            f"{problem}. Delete the folder and run the same command again: it makes them anew."
        )
