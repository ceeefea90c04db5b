"""What the stores of labels and logits share: their tie to a list of images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from semiseg_lib.core.durable import Damaged, held, sha256
from semiseg_lib.core.paths import shown

from .store import Stale, Store


@dataclass(frozen=True)
class ImageStore:
    """Something that is stored of each of a list of images; base of the stores of one kind.

    A kind says what describes it beside source and images (:meth:`_own`), what to say of another
    one's files (:meth:`_differs`), and which error and fix its user reads (:meth:`_stale`).

    Attributes:
        folder: ``manifest.json`` and the files.
        source: fingerprint of what the files were made from.
        names: the images, in order.
        description: what else the store is tied to, JSON.
        parents: {what the files were made from: its digest}.
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
            ValueError: ``description`` has an entry of the store's own.
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
        """Whether every file is written; reading also checks that they are whole."""
        return self.store.finished

    def check_images(self, images: Sequence[str]) -> None:
        """Check that these images, in this order, are those of the store.

        Raises:
            ValueError: they are not; the message names the first difference.
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
        """Compute and store what is still missing; files that are there and whole are kept.

        Of several processes that ask for it one does the work, and the others wait.

        Args:
            give: given image numbers, what is stored of each, in this order.
            title: what the progress bar calls it; "" for the name of the kind.
            lock: False for a caller that holds the folder itself.

        Raises:
            Stale: the folder holds that of another run or of other images; the error of the kind.
            ValueError: too much or too little is given, or something that cannot be stored.
        """
        with held(self.folder) if lock else nullcontext():
            self._write(give, title or self.KIND)

    def begin(self) -> None:
        """Read the manifest again; set the folder aside where it is damaged, so it is made anew.

        Raises:
            Stale: the store holds something else; the error of the kind.
        """
        self.store.reload()
        try:
            _ = self.store.members
        except Stale:
            self._members()
        except Damaged as error:
            aside = self.store.set_aside()
            print(f"{error}\nThe folder was set aside as {shown(aside)} and is made anew.")

    def delete(self) -> None:
        """Delete what is stored, to be written anew."""
        with held(self.folder):
            self.store.delete()

    def _members(self) -> Mapping[str, dict[str, Any]]:
        """Return what the manifest says of each file; nothing where there is no manifest."""
        try:
            return self.store.members
        except Damaged as error:
            raise self._stale(reason(error)) from error
        except Stale as error:
            raise self._stale(self._differs(error).get(error.key, reason(error))) from error

    def _write(self, give: Callable[[Sequence[int]], Iterable[Any]], title: str) -> None:
        """Write what is missing; the folder is held."""
        raise NotImplementedError

    def _own(self) -> dict[str, Any]:
        """Return what describes every store of this kind, beside source and images."""
        raise NotImplementedError

    def _differs(self, error: Stale) -> dict[str, str]:
        """Return what to say of a difference in the kind's own description, by key."""
        raise NotImplementedError

    def _stale(self, problem: str) -> Stale:
        """Return the error that names the store, the problem and the fix."""
        raise NotImplementedError


def reason(error: Damaged | Stale) -> str:
    """Return in a few words why a store of images cannot be used."""
    if isinstance(error, Damaged):
        return "its manifest.json is damaged"
    if error.key in ("description.images", "description.count"):
        return "they belong to other images, or in another order"
    return f"{error.key} is {error.stored!r}, not {error.asked!r}"
