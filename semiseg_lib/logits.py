"""The ancillary-logits store: what the ancillary thinks of every weak picture, written once.

Logits are kept at head resolution in half precision, in files of 256 pictures each. An index ties
them to the run that made them and to the pictures they belong to, and holds each file's SHA-256:
logits of another model, of other pictures, or damaged ones are refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from semiseg_lib.paths import atomic_write, shown

PICTURES_PER_FILE = 256


class StaleLogits(RuntimeError):
    """Stored logits that do not belong to this ancillary or these pictures, or are damaged."""


@dataclass(frozen=True)
class LogitsStore:
    """Stored logits of a list of pictures.

    Attributes:
        folder: ``index.json`` and ``NNNN.safetensors``.
        source: fingerprint of the run whose logits these are.
        names: the pictures, in order.
    """

    folder: Path
    source: str
    names: tuple[str, ...]

    def write(self, logits_of: Callable[[Sequence[int]], Tensor], title: str = "logits") -> None:
        """Compute and store what is still missing; files that are there and whole are kept.

        Args:
            logits_of: given picture numbers, their logits (n, C, h, w).
            title: what the progress bar calls it.
        """
        files = self._read_index(self._blank())["files"]
        starts = range(0, len(self.names), PICTURES_PER_FILE)
        for start in tqdm(starts, desc=title, unit="file"):
            path = self.folder / f"{start // PICTURES_PER_FILE:04d}.safetensors"
            if path.name in files and files[path.name] == _sha256(path):
                continue
            numbers = range(start, min(start + PICTURES_PER_FILE, len(self.names)))
            logits = logits_of(numbers).half().contiguous()
            with atomic_write(path) as temporary:
                named = zip((self.names[i] for i in numbers), logits, strict=True)
                temporary.write_bytes(save({name: one.clone() for name, one in named}))
            files[path.name] = _sha256(path)
            self._write_index(files)

    def read(self) -> Tensor:
        """All logits, float16 (N, C, h, w), in the order of ``names``.

        Raises:
            StaleLogits: another model's, another picture list's, incomplete or damaged.
        """
        files = self._read_index(None)["files"]
        expected = -(-len(self.names) // PICTURES_PER_FILE)
        if len(files) != expected:
            raise StaleLogits(self._mend(f"{len(files)} of {expected} files are written"))
        logits: dict[str, Tensor] = {}
        for name, digest in sorted(files.items()):
            path = self.folder / name
            if _sha256(path) != digest:
                raise StaleLogits(self._mend(f"{name} is missing or not what was written"))
            logits.update(load_file(path))
        return torch.stack([logits[name] for name in self.names])

    @property
    def complete(self) -> bool:
        """Whether every file is written; :meth:`read` also checks that they are whole."""
        try:
            files = self._read_index(self._blank())["files"]
        except StaleLogits:
            return False
        return len(files) == -(-len(self.names) // PICTURES_PER_FILE)

    @property
    def bytes_per_picture(self) -> float:
        """Size on disk, in bytes a picture."""
        sizes = (path.stat().st_size for path in self.folder.glob("*.safetensors"))
        return sum(sizes) / len(self.names)

    def _blank(self) -> dict:
        digest = hashlib.sha256("\n".join(self.names).encode()).hexdigest()
        return {"source": self.source, "pictures": digest, "count": len(self.names), "files": {}}

    def _read_index(self, default: dict | None) -> dict:
        path = self.folder / "index.json"
        if not path.is_file():
            if default is not None:
                return default
            raise StaleLogits(self._mend("there are none"))
        expected = self._blank()
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            damaged = not expected.keys() <= index.keys()
        except (ValueError, AttributeError):
            damaged = True
        if damaged:
            raise StaleLogits(self._mend("its index is damaged"))
        if index["source"] != expected["source"]:
            raise StaleLogits(self._mend(f"they are those of run {index['source']}"))
        if index["pictures"] != expected["pictures"]:
            raise StaleLogits(self._mend("they belong to other pictures, or in another order"))
        return index

    def _write_index(self, files: dict[str, str]) -> None:
        with atomic_write(self.folder / "index.json") as temporary:
            temporary.write_text(
                json.dumps({**self._blank(), "files": files}, indent=1), encoding="utf-8"
            )

    def _mend(self, problem: str) -> str:
        return (
            f"the logits in {shown(self.folder)} cannot be used for run {self.source}: {problem}. "
            "Delete the folder and store them again (semiseg logits)."
        )


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
