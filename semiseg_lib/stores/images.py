"""Base class of the stores of labels and logits: files tied to a list of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from semiseg_lib.core.durable import Damaged, locked, sha256
from semiseg_lib.core.paths import shown
from semiseg_lib.core.terminal import say

from .store import Stale, Store

Item = TypeVar("Item")


@dataclass(frozen=True)
class ImageStore(Generic[Item]):
    """A store of one item per image of a list.

    A subclass defines the error with its fix (:meth:`_stale`), and its own entry of the description
    (``OWN``: the key, which says what is counted, and the attribute with the number).

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
    OWN: ClassVar[Mapping[str, str]]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Item:
        """Return the item of one image."""
        raise NotImplementedError

    @cached_property
    def store(self) -> Store:
        """Return the files with their manifest.

        Raises:
            ValueError: ``description`` uses a key that the store reserves.
        """
        described = {
            "source": self.source, **{key: getattr(self, name) for key, name in self.OWN.items()},
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
        """Return whether every file is written; their content is verified on reading."""
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
        self, give: Callable[[Sequence[int]], Iterable[Item]], title: str = "", lock: bool = True
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
            self.begin()
            self.__dict__.pop("_entries", None)
            self._write(give, title or self.KIND)
            if not self.store.finished:
                self.store.finish()

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

    @property
    def _file_count(self) -> int:
        return len(self)

    @cached_property
    def _entries(self) -> Mapping[str, dict[str, Any]]:
        """Return the manifest entry of each file of a complete store."""
        members = self._members()
        if len(members) != self._file_count:
            raise self._stale(f"{len(members)} of {self._file_count} files are written")
        return dict(members)

    def _members(self) -> Mapping[str, dict[str, Any]]:
        """Return the manifest entry of each file; empty without a manifest."""
        try:
            return self.store.members
        except Damaged as error:
            raise self._stale("its manifest.json is damaged") from error
        except Stale as error:
            raise self._stale(self._difference(error)) from error

    def _difference(self, error: Stale) -> str:
        """Return in a few words how the stored files differ from those requested."""
        key = error.key.removeprefix("description.")
        if key in ("images", "count"):
            return "they belong to other images, or in another order"
        if key == "source":
            return f"they are those of {error.stored}"
        if key in self.OWN:
            return f"they have {error.stored} {key}, not {error.asked}"
        return f"{error.key} is {error.stored!r}, not {error.asked!r}"

    def _write(self, give: Callable[[Sequence[int]], Iterable[Item]], title: str) -> None:
        """Write what is missing; the caller has locked the folder."""
        raise NotImplementedError

    def _stale(self, problem: str) -> Stale:
        """Return the error that names the store, the problem and the fix."""
        raise NotImplementedError
