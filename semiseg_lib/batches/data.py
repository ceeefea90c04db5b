"""From a data configuration to image sets: labelled, unlabelled, val and test."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from semiseg_lib import datasets
from semiseg_lib.batches.image_set import ImageSet, Masks, joined
from semiseg_lib.batches.options import DataConfig
from semiseg_lib.core.durable import Damaged, read_json, write_json
from semiseg_lib.core.escaping import listed, visible
from semiseg_lib.core.fingerprint import digest, plain
from semiseg_lib.core.paths import reading_root, work_root
from semiseg_lib.core.seeds import check_seed
from semiseg_lib.core.terminal import progress_bar
from semiseg_lib.datasets.cached import Cached
from semiseg_lib.datasets.dataset import Reader
from semiseg_lib.datasets.digest import image_set_digest
from semiseg_lib.datasets.frozen_files import frozen_files
from semiseg_lib.datasets.lists import read_published_list
from semiseg_lib.datasets.splits import check_disjoint, choose_labelled

LISTS = ("labelled", "unlabelled", "val", "test")


class Data:
    """The image sets of one configuration and seed, opened on first access.

    Args:
        config: selects the images.
        seed: samples the labelled ones.
        root: the folder that holds the datasets; None for ``SEMISEG_DATA``, else the folder that
            ``semiseg data`` downloads to.

    Raises:
        FileNotFoundError: the dataset is missing.
        ValueError: a list is empty or unknown to the dataset, or an image is in two lists.
    """

    def __init__(self, config: DataConfig, seed: int, root: Path | None = None) -> None:
        check_seed(seed)
        self.config, self.seed = config, seed
        self._declared = datasets.find(config.dataset)
        self.source = self._declared.source(config, reading_root(root), seed)
        self.classes = self.source.classes

    @cached_property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Return the image names of each list; val and test may be the same list."""
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
        """Return the digest of each list's image set, over all files read and the class names."""
        return {name: getattr(self, name).digest for name in LISTS}

    @cached_property
    def digest_of_all(self) -> str:
        """Return the digest of the complete lists with all available masks and boxes.

        It does not depend on how many of their images are labelled or used.
        """
        config = replace(self.config, labelled=0, published="", at_most=0)
        published = self._labelled_names() if self.config.published else ()
        boxed = self.source.boxed
        lists = {}
        for which in ("candidates", "hidden", "val", "test"):
            reader = self.source.reader(which, True, bool(boxed.any()))
            lists[which] = image_set_digest(
                _AvailableFiles(reader), range(len(reader)), extra=(reader.decoding,),
                note=frozen_files().note,
            )
        return digest({"data": plain(config), "decode": self._declared.decode, "lists": lists,
                       "published": list(published), "boxed": boxed.tolist()})

    @cached_property
    def candidates(self) -> ImageSet:
        """Return the images with masks that the labelled ones are sampled from, without boxes."""
        return self._all("candidates", boxes=False)

    @cached_property
    def labelled(self) -> ImageSet:
        """Return the images with masks, and with boxes where available."""
        return self._images("labelled", "candidates")

    @cached_property
    def halves(self) -> tuple[ImageSet, ImageSet]:
        """Return two halves of the labelled images, split by the seed; the first is not empty."""
        order = np.random.default_rng([self.seed, 2]).permutation(len(self.labelled)).tolist()
        middle = max(len(order) // 2, 1)
        first, second = sorted(order[:middle]), sorted(order[middle:])
        return self.labelled.take(first), self.labelled.take(second)

    @cached_property
    def unlabelled(self) -> ImageSet:
        """Return the images without masks, with or without boxes; hidden masks are not read."""
        return self._images("unlabelled", "unlabelled", masks=False)

    @cached_property
    def boxed(self) -> ImageSet:
        """Return the unlabelled images whose boxes are known."""
        known = [i for i, name in enumerate(self.unlabelled.names) if self.knows_boxes(name)]
        return self.unlabelled.take(known)

    def knows_boxes(self, name: str) -> bool:
        """Return whether an image has boxes, or counts as one without objects.

        Args:
            name: the image's name.
        """
        is_empty = self.config.unboxed == "empty" and bool(self.source.boxed.any())
        return is_empty or self.source.has_boxes(name)

    @cached_property
    def unlabelled_truth(self) -> Masks:
        """Return the hidden masks of the unlabelled images, for evaluating labels only."""
        return self.truth_of(self.unlabelled)

    def truth_of(self, images: ImageSet) -> Masks:
        """Return the hidden masks of some of the unlabelled images."""
        return Masks(self._hidden.named(images.names))

    @property
    def everything(self) -> ImageSet:
        """Return all images of both kinds with masks, hidden ones included."""
        return joined(self.labelled, self._hidden)

    @cached_property
    def val(self) -> ImageSet:
        """Return the images for model selection."""
        return self._images("val", "val")

    @cached_property
    def test(self) -> ImageSet:
        """Return the images for the reported scores."""
        return self._images("test", "test")

    @cached_property
    def _hidden(self) -> ImageSet:
        return self._images("unlabelled", "hidden", boxes=False)

    def _images(self, name: str, which: str, masks: bool = True, boxes: bool = True) -> ImageSet:
        """Return the images of list ``name``, read as list ``which`` of the dataset."""
        return self._all(which, masks, boxes).named(self.names[name])

    def _all(self, which: str, masks: bool = True, boxes: bool = True) -> ImageSet:
        """Return all images of one of the dataset's lists."""
        source, declared = self.source, self._declared
        reader = source.reader(which, masks, boxes and bool(source.boxed.any()))
        if tuple(reader.classes) != tuple(source.classes):
            raise ValueError(
                f"the classes of {declared.name} have changed since it was opened: "
                f"{listed(reader.classes)} instead of {listed(source.classes)}. Run the same "
                "command again (in a notebook: the same cell) to read the current files."
            )
        if declared.cached:
            options = plain(self.config.options)
            reader = Cached(reader, f"{declared.name} {declared.decode} {options}")
        indices = tuple(range(len(reader)))
        return ImageSet(
            reader, indices, source.boxed, self.config.unboxed, decode=declared.decode
        )

    def _labelled_names(self) -> tuple[str, ...]:
        config = self.config
        if config.published:
            return self._published(Path(config.published).expanduser())
        candidates = tuple(self.source.names("candidates"))
        if config.labelled in (0, len(candidates)):
            return candidates
        images = self.candidates
        sampled_from = {"candidates": images.digest, "count": config.labelled, "seed": self.seed,
                      "classes": list(images.classes), "options": plain(config.options)}
        key = hashlib.sha256(json.dumps(sampled_from).encode()).hexdigest()[:16]
        path = work_root() / "splits" / f"{config.dataset}-{config.labelled}-{key}.json"
        if (names := _stored_names(path, sampled_from)) is None:
            names = choose_names(images, config.labelled, self.seed)
            with suppress(OSError):  # a read-only work folder: sampled again next time
                write_json(path, {**sampled_from, "names": list(names)})
        return names

    def _published(self, path: Path) -> tuple[str, ...]:
        known = set(self.source.names("candidates"))
        names = read_published_list(path, known)
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"{visible(self.config.published)} names {len(unknown)} images that are not among "
                f"the {self.config.dataset} candidates, such as {visible(unknown[0])}. Set "
                "data.candidates to the list that holds them, or complete the dataset."
            )
        return tuple(names)


class _AvailableFiles:
    """The content of a reader's images, of which files may be missing."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.names, self.classes, self.canonical = reader.names, reader.classes, reader.canonical

    def content(self, index: int) -> list[Path | bytes | str]:
        """Return the content of an image, with ``"missing"`` for each missing file."""
        try:
            contents = list(self.reader.content(index))
        except FileNotFoundError:
            return ["missing"]
        return ["missing" if isinstance(one, Path) and not one.is_file() else one
                for one in contents]


def _stored_names(path: Path, sampled_from: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the sampled names stored at ``path``; None if missing, damaged or of other images."""
    try:
        stored = read_json(path)
    except (FileNotFoundError, Damaged):
        return None
    names = stored.pop("names", None)
    return tuple(names) if stored == sampled_from and names else None


def choose_names(candidates: ImageSet, count: int, seed: int) -> tuple[str, ...]:
    """Return the names of ``count`` candidates, sampled so that every class occurs."""
    masks = progress_bar(Masks(candidates), desc="classes per mask", unit="mask", leave=False)
    chosen = choose_labelled(masks, count, len(candidates.classes), seed)
    return tuple(candidates.names[i] for i in chosen)
