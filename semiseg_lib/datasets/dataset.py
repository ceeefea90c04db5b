"""What a dataset declares, and the registry of all that are known.

A dataset is one file: a reader, a function that opens the folder, and a :class:`Dataset` that says
the rest. Those of this package are listed in :data:`SHIPPED`; a package of your own names its
declaration as an entry point of the group ``semiseg_lib.datasets``, and a script or a notebook
calls :func:`register`.
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

from semiseg_lib.core.fingerprint import Configuration
from semiseg_lib.datasets.sample import Sample

if TYPE_CHECKING:
    from semiseg_lib.datasets.acquire import Download
    from semiseg_lib.datasets.audit import Layout

GROUP = "semiseg_lib.datasets"
SHIPPED = ("minivoc", "voc", "cityscapes", "camvid", "folder", "digits", "cifar10")
"""Modules of this package that hold a ``DATASET``."""

LISTS = ("candidates", "unlabelled", "val", "test")
"""The lists of every dataset. ``candidates`` are the images that could be labelled."""


@dataclass(frozen=True)
class DatasetOptions(Configuration):
    """Options that a dataset adds to those of every dataset; this base adds none."""

    def counts(self) -> Mapping[str, int]:
        """Return how many images each list holds, where the options decide it."""
        return {}


class Request(Protocol):
    """The part of a data configuration that decides which files are read."""

    dataset: str
    candidates: str
    unlabelled: str
    val: str
    test: str
    keep: tuple[str, ...]
    options: DatasetOptions


class Reader(Protocol):
    """Samples by index.

    Attributes:
        names: N image names.
        classes: C class names.
        masks: which masks are read; set to None on a copy, none are.
        boxes: whether boxes are read; set to False on a copy, none are.
        canonical: {SHA-256 of a file: SHA-256 of what it was made from}, for files whose bytes
            differ between encoders; mostly empty.
        decoding: what beside the bytes decides the samples, such as an option or the order of the
            classes in the files; mostly empty.
    """

    names: Sequence[str]
    classes: tuple[str, ...]
    masks: object
    boxes: bool
    canonical: Mapping[str, str]
    decoding: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def content(self, index: int) -> Iterable[Path | bytes | str]:
        """Yield what ``self[index]`` is read from: files, bytes, or SHA-256 of either."""
        ...


class Source(Protocol):
    """A dataset on disk, opened.

    Attributes:
        classes: C class names, in the order of their ids.
        boxed: bool (C,), which classes have a box around each of their objects.
        folder: where it lies; None for images that come with a package.
    """

    classes: tuple[str, ...]
    boxed: np.ndarray
    folder: Path | None

    def names(self, which: str) -> Sequence[str]:
        """Return the image names of one of :data:`LISTS`."""
        ...

    def reader(self, which: str, masks: bool, boxes: bool) -> Reader:
        """Return the reader of a list; of ``hidden``, the unlabelled images with hidden masks.

        Hidden masks are the true ones of unlabelled images: to measure labels, not to learn.
        """
        ...

    def has_boxes(self, name: str) -> bool:
        """Return whether somebody looked through this image for boxes."""
        ...


@dataclass(frozen=True)
class Dataset:
    """The declaration of a dataset.

    Attributes:
        name: what commands and configurations call it.
        title: what people call it.
        open: ``open(request, root, seed) -> Source``; ``root`` is the folder that holds the dataset
            or the folder below which it lies, ``seed`` draws what the files leave open.
        options: the frozen dataclass of the options that it adds.
        lists: the lists of :data:`LISTS` for which a request may name another list.
        needs_root: it lies in a folder that somebody must name.
        place: where it lies below such a folder.
        marks: files or folders of which one is there wherever the dataset is.
        decode: the version of its reader, from 1; raised when any file would be read differently.
            It enters the digest of every image set, for the files' bytes alone do not tell.
        cached: images are small, share one size and are kept in memory once they are read.
        palette: uint8 (256, 3), the colours that the audit expects of palette masks; None for any.
        licence: its terms, in a sentence; ``semiseg data check`` says them.
        downloads: commands ``semiseg data NAME`` that fetch it or a part of it.
        audit: ``audit(folder, lists) -> Layout``, the files and what they should hold; ``folder``
            is None where no root is needed. None where there is nothing to look into.
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
    palette: np.ndarray | None = field(default=None, repr=False, compare=False)
    licence: str = ""
    downloads: Mapping[str, Download] = field(default_factory=dict)
    audit: Callable[[Path | None, Sequence[Path]], Layout] | None = None

    def folder(self, root: Path | None) -> Path | None:
        """Return the folder that holds the dataset: its place below ``root``, or ``root`` itself.

        Raises:
            FileNotFoundError: a folder is needed, but none is named or it holds no such dataset.
        """
        if not self.needs_root:
            return root
        hint = f"; `semiseg data {self.name}` gets it or says how" if self.downloads else ""
        if root is None or not Path(root).is_dir():
            where = "no folder was named" if root is None else f"{root} is no folder"
            raise FileNotFoundError(
                f"the dataset {self.name} is not there: {where}. Pass --root, or set "
                f"SEMISEG_DATA to the folder that holds it{hint}."
            )
        for folder in dict.fromkeys((Path(root) / self.place, Path(root))):
            if not self.marks or any((folder / mark).exists() for mark in self.marks):
                return folder
        raise FileNotFoundError(
            f"the dataset {self.name} is not there: {root} holds neither {self.place} nor "
            f"{' or '.join(self.marks)}. Pass --root, or set SEMISEG_DATA to the folder that holds "
            f"it{hint}."
        )

    def refuse_lists(self, request: Request) -> None:
        """Raise ValueError where a list is named that this dataset has fixed."""
        fixed = [name for name in LISTS if name not in self.lists and getattr(request, name)]
        if fixed:
            raise ValueError(
                f"{self.name} takes no list by the name data.{fixed[0]}; its lists are its own."
            )


_registered: dict[str, Dataset] = {}


def register(dataset: Dataset) -> None:
    """Make a dataset known for as long as this process lives.

    A notebook cell that is run again replaces what it had registered.

    Raises:
        ValueError: the declaration is not as described, or the name is a shipped dataset's.
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

    Raises:
        ValueError: there is no such dataset.
    """
    if name in _registered:
        return _registered[name]
    if name in SHIPPED:
        return import_module(f"{__package__}.{name}").DATASET
    if name in _installed():
        register(_loaded(_installed()[name]))
        return _registered[name]
    raise ValueError(f"there is no dataset {name!r}; there are {', '.join(names())}.")


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
    """The declaration that another package names."""
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
    """The entry points of other packages, by name; the name of one is its dataset's."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in SHIPPED}
