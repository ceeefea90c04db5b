"""From a data configuration to image sets: who is labelled, unlabelled, held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import SerializeAsAny, TypeAdapter, ValidationInfo, WrapValidator
from tqdm import tqdm

from semiseg_lib import datasets
from semiseg_lib.batches.image_set import ImageSet, Masks, joined
from semiseg_lib.core.durable import Damaged, read_json, write_json
from semiseg_lib.core.fingerprint import Configuration, Schema, digest, plain
from semiseg_lib.core.paths import reading_root, work_root
from semiseg_lib.datasets.as_hashed import files_as_hashed
from semiseg_lib.datasets.cached import Cached
from semiseg_lib.datasets.dataset import DatasetOptions, Reader, Source
from semiseg_lib.datasets.digest import image_set_digest
from semiseg_lib.datasets.lists import read_published_list
from semiseg_lib.datasets.splits import check_disjoint, choose_labelled

LISTS = ("labelled", "unlabelled", "val", "test")


def _read_options(value: Any, handler: Any, info: ValidationInfo) -> DatasetOptions:
    """Stored options as those of the dataset that is named before them."""
    if isinstance(value, DatasetOptions):
        return value
    kind = datasets.find(info.data["dataset"]).options
    return TypeAdapter(kind).validate_python(value)


@dataclass(frozen=True)
class DataConfig(Configuration):
    """Which images, and how many of them have masks.

    Attributes:
        dataset: the name of a dataset.
        labelled: how many of the ``candidates`` have masks; drawn by the run's seed so that every
            class occurs. 0 for all.
        published: a published list of the labelled images, a file, in place of drawing them. Where
            it lies decides nothing; the images that it names do.
        candidates, unlabelled, val, test: lists of the dataset; "" for its own default. Unlabelled
            images that are labelled or held out are left out.
        keep: the classes to tell apart, background included; () for all. Others become void.
        at_most: use only so many unlabelled, val and test images; 0 for all.
        unboxed: what an image that nobody looked through for boxes means: ``unknown``, anything may
            be on it, or ``empty``, no object is.
        options: what the dataset itself offers; None for its defaults.
    """

    SCHEMA = Schema(aside=frozenset({"published"}))

    dataset: str = "minivoc"
    labelled: int = 0
    published: str = ""
    candidates: str = ""
    unlabelled: str = ""
    val: str = ""
    test: str = ""
    keep: tuple[str, ...] = ()
    at_most: int = 0
    unboxed: Literal["unknown", "empty"] = "unknown"
    options: Annotated[SerializeAsAny[DatasetOptions], WrapValidator(_read_options)] = None

    def __post_init__(self) -> None:
        kind = datasets.find(self.dataset).options
        if self.options is None:
            object.__setattr__(self, "options", kind())
        if type(self.options) is not kind:
            raise ValueError(
                f"data.options is {self.options!r}; the options of {self.dataset} are a "
                f"{kind.__name__}."
            )

    def with_options(self, **changes: Any) -> DataConfig:
        """Return the same configuration with other options of its dataset.

        Raises:
            ValueError: the dataset has no such option.
        """
        known = {one.name for one in fields(self.options)}
        if unknown := sorted(changes.keys() - known):
            has = ", ".join(sorted(known)) or "none"
            raise ValueError(
                f"the dataset {self.dataset} has no option {unknown[0]!r}; it has {has}."
            )
        return replace(self, options=replace(self.options, **changes))

    def count_unlabelled(self) -> int | None:
        """Return how many unlabelled images there are, None where only the files can tell.

        With ``at_most`` there are no more than that; where only the files can tell, there may be
        fewer.
        """
        known = [n for n in (self.at_most, self.options.counts().get("unlabelled")) if n]
        return min(known, default=None)


class Data:
    """The image sets of one configuration and seed, opened when first asked for.

    Args:
        config: which images.
        seed: draws the labelled ones.
        root: the folder that holds the datasets; None asks ``SEMISEG_DATA``, and failing that looks
            where ``semiseg data`` downloads to.

    Raises:
        FileNotFoundError: the dataset is not there.
        ValueError: a list is empty or not one of the dataset's, or an image is in two lists.
    """

    def __init__(self, config: DataConfig, seed: int, root: Path | None = None) -> None:
        self.config, self.seed = config, seed
        self._declared = datasets.find(config.dataset)
        self.source = self._declared.open(config, reading_root(root), seed)
        self.classes = self.source.classes

    @cached_property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The image names of each list; val and test may be the same list."""
        source, most = self.source, self.config.at_most or None
        held_out = {name: tuple(source.names(name))[:most] for name in ("val", "test")}
        labelled = self._labelled_names()
        taken = {*labelled, *source.names("val"), *source.names("test")}
        unlabelled = tuple(name for name in source.names("unlabelled") if name not in taken)[:most]
        for name in ("val", "test"):
            check_disjoint(
                {"labelled": labelled, "unlabelled": unlabelled, name: source.names(name)}
            )
        return {"labelled": labelled, "unlabelled": unlabelled, **held_out}

    @cached_property
    def digests(self) -> dict[str, str]:
        """The digest of each image set: of all that it is read from, and its class names."""
        return {name: getattr(self, name).digest for name in LISTS}

    @cached_property
    def digest_of_all(self) -> str:
        """The digest of the dataset's whole lists with all masks and boxes that are there.

        It is the same however many of their images are labelled or used.
        """
        config = replace(self.config, labelled=0, published="", at_most=0)
        published = self._labelled_names() if self.config.published else ()
        boxed = self.source.boxed
        lists = {}
        for which in ("candidates", "hidden", "val", "test"):
            reader = self.source.reader(which, True, bool(boxed.any()))
            lists[which] = image_set_digest(
                _AsFarAsThere(reader), range(len(reader)), extra=(reader.decoding,),
                note=files_as_hashed().note,
            )
        return digest({"data": plain(config), "decode": self._declared.decode, "lists": lists,
                       "published": list(published), "boxed": boxed.tolist()})

    @cached_property
    def labelled(self) -> ImageSet:
        """The images with masks, and boxes where somebody drew them."""
        return self._images("labelled", "candidates")

    @cached_property
    def halves(self) -> tuple[ImageSet, ImageSet]:
        """The labelled images in two halves, drawn by the seed; the first has at least one."""
        order = np.random.default_rng([self.seed, 2]).permutation(len(self.labelled)).tolist()
        middle = max(len(order) // 2, 1)
        return tuple(self.labelled.take(sorted(half))
                     for half in (order[:middle], order[middle:]))

    @cached_property
    def unlabelled(self) -> ImageSet:
        """The images without masks, with boxes or without; their hidden masks are not read."""
        return self._images("unlabelled", "unlabelled", masks=False)

    @cached_property
    def boxed(self) -> ImageSet:
        """The unlabelled images whose boxes are known."""
        known = [i for i, name in enumerate(self.unlabelled.names) if self.knows_boxes(name)]
        return self.unlabelled.take(known)

    def knows_boxes(self, name: str) -> bool:
        """Return whether an image has boxes, or may be taken for one without objects."""
        is_empty = self.config.unboxed == "empty" and bool(self.source.boxed.any())
        return is_empty or self.source.has_boxes(name)

    @cached_property
    def unlabelled_truth(self) -> Masks:
        """Hidden masks of the unlabelled images: to measure labels, not to learn."""
        return self.truth_of(self.unlabelled)

    def truth_of(self, images: ImageSet) -> Masks:
        """Return the hidden masks of some of the unlabelled images."""
        return Masks(self._hidden.named(images.names))

    @property
    def everything(self) -> ImageSet:
        """Labelled and unlabelled images, all with their masks: an upper bound learns from them."""
        return joined(self.labelled, self._hidden)

    @cached_property
    def val(self) -> ImageSet:
        """Images to make choices on."""
        return self._images("val", "val")

    @cached_property
    def test(self) -> ImageSet:
        """Images to report on."""
        return self._images("test", "test")

    @cached_property
    def _hidden(self) -> ImageSet:
        return self._images("unlabelled", "hidden", boxes=False)

    def _images(self, name: str, which: str, masks: bool = True, boxes: bool = True) -> ImageSet:
        """The images of one of our lists, read as the dataset reads one of its own."""
        return _image_set(self._declared, self.config, self.source, which, masks, boxes).named(
            self.names[name]
        )

    def _labelled_names(self) -> tuple[str, ...]:
        config = self.config
        if config.published:
            return self._published(Path(config.published))
        candidates = tuple(self.source.names("candidates"))
        if config.labelled in (0, len(candidates)):
            return candidates
        images = _image_set(self._declared, config, self.source, "candidates", boxes=False)
        drawn_from = {"candidates": images.digest, "count": config.labelled, "seed": self.seed,
                      "classes": list(images.classes), "options": plain(config.options)}
        key = hashlib.sha256(json.dumps(drawn_from).encode()).hexdigest()[:16]
        path = work_root() / "splits" / f"{config.dataset}-{config.labelled}-{key}.json"
        if (names := _stored_names(path, drawn_from)) is None:
            names = choose_names(images, config.labelled, self.seed)
            with suppress(OSError):  # a work folder that is only read: it is drawn again next time
                write_json(path, {**drawn_from, "names": list(names)})
        return names

    def _published(self, path: Path) -> tuple[str, ...]:
        known = set(self.source.names("candidates"))
        names = read_published_list(path, known)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"{self.config.published} names {len(unknown)} images that are not among the "
                f"{self.config.dataset} images that could be labelled, such as {unknown[0]}. "
                "Name the list that holds them (data.candidates), or complete the dataset."
            )
        return tuple(names)


class _AsFarAsThere:
    """What the images of a reader are read from, where a file may be missing."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.names, self.classes, self.canonical = reader.names, reader.classes, reader.canonical

    def content(self, index: int) -> list[Path | bytes | str]:
        """Return what is there, and a word for each file that is not."""
        try:
            contents = list(self.reader.content(index))
        except FileNotFoundError:
            return ["missing"]
        return ["missing" if isinstance(one, Path) and not one.is_file() else one
                for one in contents]


def _stored_names(path: Path, drawn_from: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of a draw that is on disk; None where it is not, is damaged, or of other images."""
    try:
        stored = read_json(path)
    except (FileNotFoundError, Damaged):
        return None
    names = stored.pop("names", None)
    return tuple(names) if stored == drawn_from and names else None


def draw_labelled(
    config: DataConfig, count: int, seed: int, root: Path | None = None
) -> tuple[tuple[str, ...], ImageSet]:
    """Draw ``count`` names from a dataset's candidates, so that every class occurs.

    Returns:
        the names, and all candidates.

    Raises:
        FileNotFoundError: the dataset is not there.
        ValueError: see :func:`~semiseg_lib.datasets.splits.choose_labelled`.
    """
    declared = datasets.find(config.dataset)
    source = declared.open(config, reading_root(root), seed)
    images = _image_set(declared, config, source, "candidates", boxes=False)
    return choose_names(images, count, seed), images


def choose_names(candidates: ImageSet, count: int, seed: int) -> tuple[str, ...]:
    """Return the names of ``count`` candidates, drawn so that every class occurs."""
    masks = tqdm(Masks(candidates), desc="which classes occur", unit="mask", leave=False)
    chosen = choose_labelled(masks, count, len(candidates.classes), seed)
    return tuple(candidates.names[i] for i in chosen)


def _image_set(
    declared: datasets.Dataset, config: DataConfig, source: Source, which: str,
    masks: bool = True, boxes: bool = True,
) -> ImageSet:
    """All images of one of a dataset's lists."""
    reader = source.reader(which, masks, boxes and bool(source.boxed.any()))
    if tuple(reader.classes) != tuple(source.classes):
        raise ValueError(
            f"the classes of {declared.name} have changed since it was opened: "
            f"{', '.join(reader.classes)} instead of {', '.join(source.classes)}. Run the same "
            "command again (in a notebook: the same cell); it takes what is there now."
        )
    if declared.cached:
        reader = Cached(reader, f"{declared.name} {declared.decode} {plain(config.options)}")
    indices = tuple(range(len(reader)))
    return ImageSet(reader, indices, source.boxed, config.unboxed, decode=declared.decode)
