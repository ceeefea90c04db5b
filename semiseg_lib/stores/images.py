"""Base class of the stores of labels and logits: files tied to a list of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from semiseg_lib.core.durable import Damaged, locked, sha256
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import say

from .store import Stale, Store


@dataclass(frozen=True)
class ImageStore:
    """A store of one item per image of a list.

    A subclass defines its own description (:meth:`_own`), the messages for files that differ from
    it (:meth:`_differs`), and the error with its fix (:meth:`_stale`).

    Attributes:
        folder: ``manifest.json`` and the files.
        source: fingerprint of the run that the files were made from.
        names: the images, in order.
        description: further JSON entries that must match.
        parents: {input of the files: its digest}.
    """

    folder: Path
    source: str
    names: tuple[str, ...]
    description: Mapping[str, Any] = field(default_factory=dict, hash=False, kw_only=True)
    parents: Mapping[str, str] = field(default_factory=dict, hash=False, kw_only=True)

    KIND: ClassVar[str]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def store(self) -> Store:
        """The files with their manifest.

        Raises:
            ValueError: ``description`` uses a key that the store reserves.
        """
        described = {
            "source": self.source, **self._own(),
            "images": sha256("\n".join(self.names).encode("utf-8")), "count": len(self),
        }
        if taken := sorted(described.keys() & self.description.keys()):
            raise ValueError(
                f"the description of {shown(self.folder)} has entries of the store's own: "
                f"{', '.join(taken)}. Rename them."
            )
        return Store(self.folder, self.KIND, {**described, **self.description}, self.parents)

    @property
    def complete(self) -> bool:
        """Whether every file is written; their content is verified on reading."""
        return self.store.finished

    def check_images(self, images: Sequence[str]) -> None:
        """Raise ValueError unless these images, in this order, are those of the store.

        Raises:
            ValueError: they differ; the message names the first difference.
        """
        place = shown(self.folder)
        for number, (one, other) in enumerate(zip(self.names, images, strict=False)):
            if one != other:
                raise ValueError(
                    f"{place} does not fit these images: number {number} is {one!r} in the store, "
                    f"but {other!r} among the images. Take the images in the store's order: "
                    "images.named(store.names)."
                )
        if len(self) != len(images):
            raise ValueError(
                f"{place} holds {len(self)} images and does not fit {len(images)}. Take the images "
                "of the store: images.named(store.names)."
            )

    def write(
        self, give: Callable[[Sequence[int]], Iterable[Any]], title: str = "", lock: bool = True
    ) -> None:
        """Compute and store what is missing; intact files are kept.

        Of several concurrent processes one does the work and the others wait.

        Args:
            give: maps image numbers to the item of each, in the same order.
            title: label of the progress bar; "" for the kind of the store.
            lock: False if the caller has locked the folder.

        Raises:
            Stale: the folder belongs to another run or to other images (the kind's subclass).
            ValueError: the number of items differs from the number of images, or an item is
                invalid.
        """
        with locked(self.folder) if lock else nullcontext():
            self._write(give, title or self.KIND)

    def begin(self) -> None:
        """Reload the manifest; set the folder aside if it is damaged, so that it is recreated.

        Raises:
            Stale: the store holds something else (the kind's subclass).
        """
        self.store.reload()
        try:
            _ = self.store.members
        except Stale:
            self._members()
        except Damaged as error:
            aside = self.store.set_aside()
            say(f"{error}\nThe folder was set aside as {shown(aside)} and is recreated.")

    def delete(self) -> None:
        """Delete the stored files."""
        with locked(self.folder):
            self.store.delete()

    def _members(self) -> Mapping[str, dict[str, Any]]:
        """Return the manifest entry of each file; empty without a manifest."""
        try:
            return self.store.members
        except Damaged as error:
            raise self._stale(reason(error)) from error
        except Stale as error:
            raise self._stale(self._differs(error).get(error.key, reason(error))) from error

    def _write(self, give: Callable[[Sequence[int]], Iterable[Any]], title: str) -> None:
        """Write what is missing; the caller has locked the folder."""
        raise NotImplementedError

    def _own(self) -> dict[str, Any]:
        """Return the description of this kind of store, without source and images."""
        raise NotImplementedError

    def _differs(self, error: Stale) -> dict[str, str]:
        """Return {key: message} for differences in the kind's own description."""
        raise NotImplementedError

    def _stale(self, problem: str) -> Stale:
        """Return the error that names the store, the problem and the fix."""
        raise NotImplementedError


def reason(error: Damaged | Stale) -> str:
    """Return a short reason why a store of images cannot be used."""
    if isinstance(error, Damaged):
        return "its manifest.json is damaged"
    if error.key in ("description.images", "description.count"):
        return "they belong to other images, or in another order"
    return f"{error.key} is {error.stored!r}, not {error.asked!r}"
