"""The declaration of a dataset, and the registry of known datasets.

A dataset is one file: a reader, a function that opens the folder, and a :class:`Dataset`, its
declaration. Those of this package are listed in :data:`SHIPPED`; other packages name theirs as an
entry point of the group ``semiseg_lib.datasets``, and scripts or notebooks call :func:`register`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from semiseg_lib.core import looked_for
from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.core.paths import reading_root, shown
from semiseg_lib.datasets.sample import Sample

if TYPE_CHECKING:
    from semiseg_lib.datasets.acquire import Download
    from semiseg_lib.datasets.audit import Layout

GROUP = "semiseg_lib.datasets"
SHIPPED = ("minivoc", "voc", "cityscapes", "camvid", "folder", "digits", "cifar10")
"""Modules of this package with a ``DATASET``."""

LISTS = ("candidates", "unlabelled", "val", "test")
"""The lists of every dataset; the labelled images are sampled from ``candidates``."""


@dataclass(frozen=True)
class DatasetOptions(Configuration):
    """Base class for the options of a dataset beyond the common ones; it has none."""

    def counts(self) -> Mapping[str, int]:
        """Return {list: number of images} for the lists whose length the options determine."""
        return {}


class Request(Protocol):
    """The part of a data configuration that determines which files are read."""

    @property
    def dataset(self) -> str: ...

    @property
    def candidates(self) -> str: ...

    @property
    def unlabelled(self) -> str: ...

    @property
    def val(self) -> str: ...

    @property
    def test(self) -> str: ...

    @property
    def keep(self) -> tuple[str, ...]: ...

    @property
    def options(self) -> DatasetOptions: ...


class Content(Protocol):
    """What the samples of a reader are read from; it decides the digest of its images."""

    @property
    def names(self) -> Sequence[str]:
        """Return the N image names."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the C class names."""
        ...

    @property
    def canonical(self) -> Mapping[str, str]:
        """Return the SHA-256 of sources by that of their files, usually none.

        It is for files whose bytes differ between encoders.
        """
        ...

    def content(self, index: int) -> Iterable[Path | bytes | str]:
        """Yield the content of an image: files, bytes, or SHA-256 of either."""
        ...


class Reader(Content, Protocol):
    """Samples by index.

    Attributes:
        masks: which masks are read; None (set on a copy) for none.
        boxes: whether boxes are read; False may be set on a copy.
    """

    masks: object
    boxes: bool

    @property
    def decoding(self) -> str:
        """Return what determines the samples besides the bytes, usually "".

        Such as an option, or the order of the classes in the files.
        """
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class Source(Protocol):
    """An opened dataset.

    Attributes:
        classes: C class names, in the order of their ids.
        boxed: bool (C,), which classes have a box around each of their objects.
        folder: its folder; None for images that come with a package.
    """

    classes: tuple[str, ...]
    boxed: np.ndarray
    folder: Path | None

    def names(self, which: str) -> Sequence[str]:
        """Return the image names of one of :data:`LISTS`."""
        ...

    def reader(self, which: str, masks: bool, boxes: bool) -> Reader:
        """Return the reader of a list, or of ``hidden``: the unlabelled images with hidden masks.

        Hidden masks are the ground truth of unlabelled images, for evaluating labels only.
        """
        ...

    def has_boxes(self, name: str) -> bool:
        """Return whether the image was annotated with boxes, possibly with none."""
        ...


@dataclass(frozen=True)
class Dataset:
    """The declaration of a dataset.

    Attributes:
        name: its name in commands and configurations.
        title: its name for readers.
        open: ``open(request, folder, seed) -> Source``; ``folder`` is that of the dataset, ``seed``
            samples what the files do not specify. Called by :meth:`source`.
        options: the frozen dataclass of its own options.
        lists: the lists of :data:`LISTS` that a request may replace by another list.
        needs_root: whether it needs a folder from the user.
        place: its path below such a folder.
        marks: files or folders of which at least one exists in every copy of the dataset.
        decode: the version of its reader, from 1; increased when any file is read differently. It
            enters the digest of every image set, which otherwise covers only the bytes.
        cached: images are small, share one size and are cached in memory.
        licence: its terms, in a sentence; shown by ``semiseg data audit``.
        downloads: commands ``semiseg data NAME`` that fetch it or a part of it.
        audit: ``audit(folder, lists) -> Layout``, the files and their expected content; ``folder``
            is None if no root is needed. None if there is nothing to audit.
    """

    name: str
    title: str
    open: Callable[[Any, Path | None, int], Source]
    options: type[DatasetOptions] = DatasetOptions
    lists: tuple[str, ...] = ()
    needs_root: bool = True
    place: str = ""
    marks: tuple[str, ...] = ()
    decode: int = 1
    cached: bool = False
    licence: str = ""
    downloads: Mapping[str, Download] = field(default_factory=dict)
    audit: Callable[[Path | None, Sequence[Path]], Layout] | None = None

    def source(self, request: Request, root: Path | None, seed: int) -> Source:
        """Return the opened dataset.

        Args:
            request: its lists, classes and options.
            root: the folder of the dataset or a parent folder.
            seed: samples what the files do not specify.

        Raises:
            FileNotFoundError: the dataset, or a file of it, is missing.
            ValueError: a fixed list or an unknown class is named, or a file is invalid.
        """
        self.refuse_lists(request)
        return self.open(request, self.folder(root), seed)

    def folder(self, root: Path | None) -> Path | None:
        """Return the folder of the dataset: ``place`` below ``root``, or ``root`` itself.

        Raises:
            FileNotFoundError: a folder is needed, but none is given or it lacks the dataset.
        """
        root = None if root is None else Path(root).expanduser()
        if not self.needs_root:
            return root
        named = "" if root in (None, reading_root()) else f" {root.absolute()}"
        looked_for.note("dataset", self.name + named)
        hint = f"; `semiseg data {self.name}` gets it or says how" if self.downloads else ""
        if root is None or not root.is_dir():
            where = "no folder was named" if root is None else f"{shown(root)} is not a folder"
            raise FileNotFoundError(
                f"the dataset {self.name} was not found: {where}. Pass --root, or set "
                f"SEMISEG_DATA to the folder that holds it{hint}."
            )
        for folder in dict.fromkeys((root / self.place, root)):
            if not self.marks or any((folder / mark).exists() for mark in self.marks):
                looked_for.note("folder", str(folder.resolve()))
                return folder
        raise FileNotFoundError(
            f"the dataset {self.name} was not found: {shown(root)} holds neither {self.place} nor "
            f"{' or '.join(self.marks)}. Pass --root, or set SEMISEG_DATA to the folder that holds "
            f"it{hint}."
        )

    def refuse_lists(self, request: Request) -> None:
        """Raise ValueError if the request names a list that is fixed in this dataset."""
        fixed = [name for name in LISTS if name not in self.lists and getattr(request, name)]
        if fixed:
            raise ValueError(
                f"{self.name} does not support data.{fixed[0]}: this list is fixed; leave it empty."
            )


_registered: dict[str, Dataset] = {}


def register(dataset: Dataset) -> None:
    """Register a dataset for this process.

    Registering a name again, as by re-running a notebook cell, replaces it.

    Raises:
        ValueError: the declaration is invalid, or the name is a shipped dataset's.
    """
    if not isinstance(dataset, Dataset):
        raise ValueError(f"{dataset!r} is not a Dataset (semiseg_lib.datasets.dataset).")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", dataset.name):
        raise ValueError(
            f"the name of the dataset is {dataset.name!r}; use lower-case letters, digits, hyphens."
        )
    if dataset.name in SHIPPED:
        raise ValueError(f"{dataset.name!r} is the name of a shipped dataset; choose another.")
    if not (is_dataclass(dataset.options) and issubclass(dataset.options, DatasetOptions)):
        raise ValueError(
            f"the options of {dataset.name!r} are {dataset.options!r}; derive a frozen dataclass "
            "from DatasetOptions."
        )
    _registered[dataset.name] = dataset


def find(name: str) -> Dataset:
    """Return the declaration of a dataset.

    Args:
        name: its name, shipped or registered.

    Raises:
        ValueError: the dataset is unknown.
    """
    if name in _registered:
        return _registered[name]
    if name in SHIPPED:
        return import_module(f"{__package__}.{name}").DATASET
    if name in _installed():
        register(_loaded(_installed()[name]))
        return _registered[name]
    raise ValueError(f"unknown dataset {name!r}; choose from {', '.join(names())}.")


def names() -> tuple[str, ...]:
    """Return the names of all known datasets, the shipped ones first."""
    return tuple(dict.fromkeys((*SHIPPED, *sorted(_installed()), *_registered)))


def usable() -> tuple[Dataset, ...]:
    """Return the declarations of all known datasets; those of broken packages are left out."""
    found = []
    for name in names():
        with suppress(ValueError):
            found.append(find(name))
    return tuple(found)


def _loaded(point: EntryPoint) -> Dataset:
    """Return the declaration named by an entry point of another package."""
    try:
        dataset = point.load()
    except Exception as error:
        raise ValueError(
            f"the dataset {point.name} cannot be imported from {point.value} ({error!r}). Repair "
            "or uninstall its package."
        ) from error
    if not isinstance(dataset, Dataset) or dataset.name != point.name:
        raise ValueError(
            f"{point.value} is the entry point of the dataset {point.name!r}, but not a Dataset "
            "of this name. Give both the same name."
        )
    return dataset


@cache
def _installed() -> Mapping[str, EntryPoint]:
    """Return the entry points of other packages by name, which is that of the dataset."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in SHIPPED}
