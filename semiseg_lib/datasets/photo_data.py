"""From the name of a real dataset to its pools: who is labelled, unlabelled, held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from semiseg_lib.datasets import sources
from semiseg_lib.datasets.photographs import Masks, PhotoPool, joined
from semiseg_lib.datasets.published_lists import read_published_list
from semiseg_lib.datasets.splits import check_disjoint, choose_labelled
from semiseg_lib.options import plain
from semiseg_lib.paths import atomic_write, reading_root, work_root

LISTS = ("labelled", "unlabelled", "val", "test")


@dataclass(frozen=True)
class PhotoConfig:
    """Which real images, and how many of them have masks.

    Attributes:
        dataset: ``minivoc`` reads the drawn images from disk as if they were photographs.
        labelled: how many of the ``candidates`` have masks; drawn by the run's seed so that every
            class occurs. 0 for all.
        published: a published list of the labelled images, a file, in place of drawing them.
        candidates, unlabelled, val, test: lists of the dataset; "" for its own default. Weak images
            that are labelled or held out are left out. CamVid takes ``frames`` for ``unlabelled``: the
            rest of train, and the frames of its videos; a folder takes ``unlabelled``: also the
            images with neither mask nor boxes.
        keep: the classes to tell apart, background included; () for all. Others become void.
        at_most: use only so many unlabelled, val and test images; 0 for all.
        recipe: for the original CamVid: ``merged`` or ``exact`` reading of its 32 colours.
    """

    dataset: Literal["voc", "cityscapes", "camvid", "folder", "minivoc"]
    labelled: int = 0
    published: str = ""
    candidates: str = ""
    unlabelled: str = ""
    val: str = ""
    test: str = ""
    keep: tuple[str, ...] = ()
    at_most: int = 0
    recipe: Literal["merged", "exact"] = "merged"


class PhotoData:
    """The pools of one configuration and seed.

    Args:
        config: which images.
        seed: draws the labelled ones.
        root: the folder that holds the datasets; None asks ``SEMISEG_DATA``, and failing that looks
            where ``semiseg data`` downloads to.

    Raises:
        FileNotFoundError: the dataset is not there.
        ValueError: a list is empty, or an image is in two lists.
    """

    def __init__(self, config: PhotoConfig, seed: int, root: Path | None = None) -> None:
        self.config, self.seed = config, seed
        self.source = sources.open_source(config, reading_root(root), seed)
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
            check_disjoint({"labelled": labelled, "unlabelled": unlabelled, name: source.names(name)})
        return {"labelled": labelled, "unlabelled": unlabelled, **held_out}

    @cached_property
    def digest(self) -> str:
        """Ten hexadecimal digits that change with any name in any list."""
        text = "\n\n".join("\n".join(self.names[name]) for name in LISTS)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    @cached_property
    def labelled(self) -> PhotoPool:
        """The images with masks and boxes."""
        return self._pool("labelled", masks=True, boxes=True)

    @cached_property
    def unlabelled(self) -> PhotoPool:
        """The images with boxes only, or with nothing; their masks are not read."""
        return self._pool("unlabelled", masks=False, boxes=True)

    @cached_property
    def unlabelled_truth(self) -> Masks:
        """Hidden masks of the unlabelled images: to measure labels, not to learn."""
        return Masks(self._unlabelled_with_masks)

    @property
    def everything(self) -> PhotoPool:
        """Labelled and unlabelled images, all with their masks: the upper bound learns from these."""
        return joined(self.labelled, self._unlabelled_with_masks)

    @cached_property
    def val(self) -> PhotoPool:
        """Images to make choices on."""
        return self._pool("val", masks=True, boxes=True)

    @cached_property
    def test(self) -> PhotoPool:
        """Images to report on."""
        return self._pool("test", masks=True, boxes=True)

    @cached_property
    def _unlabelled_with_masks(self) -> PhotoPool:
        return self._pool("unlabelled", masks=True, boxes=False, hidden=True)

    def _pool(self, name: str, masks: bool, boxes: bool, hidden: bool = False) -> PhotoPool:
        dataset = self.source.reader(name, masks, boxes and self.source.has_boxes, hidden)
        places = {image: number for number, image in enumerate(dataset.names)}
        return PhotoPool(dataset, tuple(places[image] for image in self.names[name]))

    def _labelled_names(self) -> tuple[str, ...]:
        config = self.config
        if config.published:
            return self._published(Path(config.published))
        candidates = tuple(self.source.names("candidates"))
        if config.labelled in (0, len(candidates)):
            return candidates
        key = hashlib.sha256(f"{plain(config)} {self.seed} {candidates}".encode()).hexdigest()[:16]
        path = work_root() / "splits" / f"{config.dataset}-{config.labelled}-{key}.txt"
        if not path.is_file():
            names = draw_labelled(self.source, config.labelled, self.seed)
            with atomic_write(path) as temporary:
                temporary.write_text("\n".join(names) + "\n", encoding="utf-8")
        return tuple(path.read_text(encoding="utf-8").splitlines())

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


def draw_labelled(source: sources.Source, count: int, seed: int) -> tuple[str, ...]:
    """Draw ``count`` names from a dataset's candidates, so that every class occurs.

    Raises:
        ValueError: see :func:`choose_labelled`.
    """
    reader = source.reader("candidates", masks=True, boxes=False, hidden=False)
    masks = Masks(PhotoPool(reader, tuple(range(len(reader)))))  # read one by one
    masks = tqdm(masks, desc="which classes occur", unit="mask", leave=False)
    chosen = choose_labelled(masks, count, len(source.classes), seed)
    return tuple(reader.names[i] for i in chosen)
