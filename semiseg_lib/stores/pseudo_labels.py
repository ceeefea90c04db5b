"""The store of pseudo-labels: hard labels of unlabelled images, written once as palette PNGs.

One file per image, as in the published layout ``train_pseudoIt1/NAME.png``, readable by any
viewer: pixel values are class ids, 255 where no label was kept. A manifest ties the files to the
run that made them and to the images they belong to, and holds each file's SHA-256: labels of
another run, of other images, or damaged files raise :class:`StalePseudoLabels`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar

import numpy as np
from PIL import Image

from semiseg_lib.core.durable import Damaged
from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import progress_bar
from semiseg_lib.datasets.labels import VOID, mask_png

from .images import ImageStore
from .store import Stale, member_path

IMAGES_PER_GROUP = 64
MANIFEST_WRITES = 100  # at most: that of tens of thousands of files is long
LITTLE_MEMORY = 2**28  # bytes, one per pixel


class StalePseudoLabels(Stale):
    """Stored labels that do not belong to this run or these images, or are damaged."""


@dataclass(frozen=True)
class PseudoLabelStore(ImageStore[np.ndarray]):
    """Stored labels of a list of images: ``store[i]`` reads those of one, uint8 (H, W).

    Attributes:
        folder: ``manifest.json`` and ``NAME.png``; names may hold slashes.
        source: fingerprint of the run that made the labels.
        names: the images, in order.
        num_classes: C; the labels are 0 .. C - 1, or 255 where none was kept.
        description: further JSON entries that must match.
        parents: {input of the labels: its digest}.

    Raises:
        ValueError: a name points outside the folder, or occurs twice.
    """

    num_classes: int

    KIND = "pseudo-labels"
    OWN: ClassVar[Mapping[str, str]] = {"classes": "num_classes"}

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise ValueError("an image is named twice; each needs its own file of labels.")
        for name in self.names:
            member_path(self.folder, name)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the labels of one image, uint8 (H, W), checked against their SHA-256.

        Raises:
            IndexError: the index is out of range.
            StalePseudoLabels: another run's, another image list's, incomplete or damaged.
        """
        name = self.names[range(len(self))[index]]
        pixels, path = self._entries[_file(name)]["pixels"], self.folder / _file(name)
        try:
            content = self.store.read(_file(name))
        except Damaged as error:
            raise self._stale(f"{visible(path.name)} is missing or not what was written") from error
        try:
            with Image.open(BytesIO(content)) as image:
                if image.width * image.height != pixels or image.mode != "P":
                    raise ValueError(f"{image.width} x {image.height} pixels, mode {image.mode}")
                return np.array(image, dtype=np.uint8)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise self._stale(f"{visible(path.name)} cannot be decoded ({error})") from error

    def _write(
        self, labels_of: Callable[[Sequence[int]], Iterable[np.ndarray]], title: str
    ) -> None:
        """Write the files that are missing.

        Args:
            labels_of: maps up to 64 image numbers to the labels (H, W) of each, in the same order.
            title: label of the progress bar.
        """
        store = self.store
        groups = range(0, len(self), IMAGES_PER_GROUP)
        every = -(-len(groups) // MANIFEST_WRITES)
        unsaved = 0
        with progress_bar(total=len(self), desc=title, unit="image") as bar:
            for start in groups:
                numbers = range(start, min(start + IMAGES_PER_GROUP, len(self)))
                missing = [i for i in numbers if not store.holds(_file(self.names[i]))]
                bar.update(len(numbers) - len(missing))
                if not missing:
                    continue
                for number, labels in zip(missing, labels_of(missing), strict=True):
                    self._put(self.names[number], labels)
                    bar.update()
                unsaved += 1
                if unsaved % every == 0:
                    store.save()

    def in_memory(self) -> Sequence[np.ndarray]:
        """Return a sequence of the labels: a list in memory if they are small (<= 256 MiB).

        Raises:
            StalePseudoLabels: as for reading an image.
        """
        pixels = sum(one["pixels"] for one in self._entries.values())
        return [self[i] for i in range(len(self))] if pixels <= LITTLE_MEMORY else self

    @property
    def kept(self) -> float:
        """Return the fraction of all pixels that have a label, in [0, 1].

        Raises:
            StalePseudoLabels: as for reading an image.
        """
        counts = [(one["kept"], one["pixels"]) for one in self._entries.values()]
        kept, pixels = np.sum(counts, axis=0)
        return float(kept / pixels)

    def _put(self, name: str, labels: np.ndarray) -> None:
        """Write one image's labels."""
        labels = np.asarray(labels)
        if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(
                f"the labels of {visible(name)} are {labels.dtype} {labels.shape}, not integers "
                "(H, W)."
            )
        void = labels == VOID
        if ((labels < 0) | (labels >= self.num_classes))[~void].any():
            raise ValueError(
                f"the labels of {visible(name)} range from {labels[~void].min()} to "
                f"{labels[~void].max()}, but there are {self.num_classes} classes (and {VOID} for "
                "void)."
            )
        self.store.put(
            _file(name), mask_png(labels), save=False,
            kept=int((~void).sum()), pixels=labels.size,
        )

    def _stale(self, problem: str) -> StalePseudoLabels:
        return StalePseudoLabels(
            f"the pseudo-labels in {shown(self.folder)} cannot be used for {self.source}: "
            f"{problem}. Delete the folder and run the same command again to recreate them."
        )


def _file(name: str) -> str:
    """Return the name of the store member that holds the labels of an image."""
    return f"{name}.png"
