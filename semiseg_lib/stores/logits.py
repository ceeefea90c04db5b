"""The store of ancillary logits: the ancillary model's output for every unlabelled image.

Logits are kept at head resolution in half precision or in 8 bits, in files of 256 images each.
Images may differ in size. A manifest ties the logits to the run that made them and to the images
they belong to, and holds each file's SHA-256: logits of another model, of other images, or
damaged files raise :class:`StaleLogits`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from semiseg_lib.core.escaping import visible
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import progress_bar

from .images import ImageStore
from .store import Stale, status_of

IMAGES_PER_FILE = 256
LEVELS = 255  # quantization steps between the lowest and the highest logit in 8 bits
LITTLE_MEMORY = 2**28  # bytes
GRID = ":grid"  # suffix of the key of an image's lowest logits and step sizes


class StaleLogits(Stale):
    """Error for stored logits that belong to another ancillary or other images, or are damaged.

    Args:
        message, key, stored, asked: as for :class:`Stale`.
    """


@dataclass(frozen=True)
class LogitsStore(ImageStore[Tensor]):
    """Stored logits of a list of images: ``store[i]`` reads one, ``read()`` all of them.

    Reading one image loads no other. A file is checked against its SHA-256 before the first of its
    images is read, and again if its size, inode or change time differs; processes forked later
    rely on the check of their parent (see :meth:`verify`).

    Attributes:
        folder: ``manifest.json`` and ``NNNN.safetensors``.
        source: fingerprint of the run that computed the logits.
        names: the images, in order.
        bits: 16 for half precision; 8 for 256 even levels between the lowest and the highest logit
            of each class in each image, which takes half the space.
        description: further JSON entries that must match.
        parents: {input of the logits: its digest}.
    """

    bits: Literal[8, 16] = 16

    KIND = "logits"
    OWN: ClassVar[Mapping[str, str]] = {"bits": "bits"}

    def __getitem__(self, index: int) -> Tensor:
        """Return the logits of one image, float16 (C, h, w).

        Raises:
            IndexError: the index is out of range.
            StaleLogits: another model's, another image list's, incomplete or damaged.
        """
        number = range(len(self))[index]
        return self._one(self.names[number], self._file_name(number))

    def _write(self, logits_of: Callable[[Sequence[int]], Iterable[Tensor]], title: str) -> None:
        """Write the files that are missing.

        Args:
            logits_of: maps image numbers to the logits (C, h, w) of each, in the same order, or to
                a tensor (n, C, h, w) if they share one size. They must be finite in float16.
            title: label of the progress bar.
        """
        store = self.store
        _forget()
        for start in progress_bar(range(0, len(self), IMAGES_PER_FILE), desc=title, unit="file"):
            name = self._file_name(start)
            if store.holds(name):
                continue
            numbers = range(start, min(start + IMAGES_PER_FILE, len(self)))
            stored: dict[str, Tensor] = {}
            for number, logits in zip(numbers, logits_of(numbers), strict=True):
                stored.update(self._packed(self.names[number], logits))
            store.put(name, save(stored))

    def read(self) -> Tensor:
        """Return all logits, float16 (N, C, h, w), in the order of ``names``.

        Raises:
            StaleLogits: another model's, another image list's, incomplete or damaged.
            ValueError: the images differ in size.
        """
        self.verify()
        logits = [self[i] for i in range(len(self))]
        if len(sizes := {tuple(one.shape) for one in logits}) > 1:
            raise ValueError(
                f"the logits in {shown(self.folder)} have {len(sizes)} different sizes, such as "
                f"{sorted(sizes)[:2]}; read them one by one: store[i]."
            )
        return torch.stack(logits)

    def in_memory(self) -> Sequence[Tensor]:
        """Return a sequence of the logits: a list in memory if they are small (<= 256 MiB on disk).

        Otherwise the store itself, after its files are verified, so that worker processes forked
        from this one need not.

        Raises:
            StaleLogits: as for :meth:`read`.
        """
        self.verify()
        return [self[i] for i in range(len(self))] if self._size <= LITTLE_MEMORY else self

    def verify(self) -> None:
        """Check every file now, so that worker processes forked later need not.

        Raises:
            StaleLogits: as for :meth:`read`.
        """
        self.__dict__.pop("_entries", None)
        _forget()
        for name, entry in self._entries.items():
            self._check(name, entry["sha256"])

    @property
    def bytes_per_image(self) -> float:
        """Return the mean size on disk, in bytes per image."""
        return self._size / len(self)

    @property
    def _size(self) -> int:
        """Return the size on disk, in bytes."""
        return sum(path.stat().st_size for path in self.folder.glob("[0-9]*.safetensors"))

    @property
    def _file_count(self) -> int:
        return -(-len(self) // IMAGES_PER_FILE)

    @staticmethod
    def _file_name(number: int) -> str:
        return f"{number // IMAGES_PER_FILE:04d}.safetensors"

    def _check(self, name: str, digest: str) -> None:
        if not _is_whole(self.folder / name, digest, status_of(self.folder / name)):
            raise self._stale(f"{visible(name)} is missing or not what was written")

    def _one(self, name: str, file_name: str) -> Tensor:
        digest = self._entries[file_name]["sha256"]
        self._check(file_name, digest)
        try:
            path = self.folder / file_name
            file = _opened(path, digest, status_of(path), os.getpid())
            stored = file.get_tensor(name)
            if stored.dtype == torch.float16:
                return stored
            lowest, step = file.get_tensor(name + GRID)[:, :, None, None]
        except (SafetensorError, OSError, ValueError) as error:
            raise self._stale(f"{file_name} cannot be decoded ({error})") from error
        return (lowest + step * stored).half()

    def _packed(self, name: str, logits: Tensor) -> dict[str, Tensor]:
        """Return the tensors to store for the logits (C, h, w) of one image."""
        half = logits.half()
        if not half.isfinite().all():
            raise ValueError(
                f"the logits of {visible(name)} are not finite: did the training diverge?"
            )
        if self.bits == 16:
            return {name: half.contiguous().clone()}
        lowest, highest = logits.float().flatten(1).aminmax(dim=1)
        step = (highest - lowest) / LEVELS
        even = (logits.float() - lowest[:, None, None]) / step.clamp(min=1e-12)[:, None, None]
        return {name: even.round().to(torch.uint8), name + GRID: torch.stack([lowest, step])}

    def _stale(self, problem: str) -> StaleLogits:
        return StaleLogits(
            f"the logits in {shown(self.folder)} cannot be used for run {self.source}: {problem}. "
            "Delete the folder and store them again (semiseg logits)."
        )


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _is_whole(path: Path, digest: str, status: tuple[int, ...]) -> bool:
    return _sha256(path) == digest


@cache
def _opened(path: Path, digest: str, status: tuple[int, ...], process: int) -> safe_open:
    """Return the open file, one per process: a handle from before a fork is not reused."""
    return safe_open(path, framework="pt")


def _forget() -> None:
    """Clear the caches: files may have been replaced, so check and open them again."""
    _is_whole.cache_clear()
    _opened.cache_clear()
