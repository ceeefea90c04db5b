"""From a data configuration to pools of images: who is labelled, unlabelled, held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from semiseg_lib.datasets.loaders import Pool, load_pool
from semiseg_lib.datasets.minivoc import WORLDS, BoxStyle, Sizes, World, prepare
from semiseg_lib.datasets.photo_data import PhotoConfig, PhotoData
from semiseg_lib.datasets.splits import check_disjoint, choose_labelled
from semiseg_lib.datasets.voc import VOCDataset
from semiseg_lib.datasets.whole_images import WholeImageConfig, WholeImageData


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how many have masks.

    Attributes:
        world: the mini-VOC world.
        labelled: how many images have masks; which ones is drawn by the run's seed.
        sizes: how many images each list holds.
        labelled_boxes, unlabelled_boxes: how boxes are drawn, where not as the world says.
    """

    world: Literal["tight", "hurried"] = "hurried"
    labelled: int = 24
    sizes: Sizes = Sizes()
    labelled_boxes: BoxStyle | None = None
    unlabelled_boxes: BoxStyle | None = None

    def drawn_world(self) -> World:
        """The world with this configuration's box styles."""
        changed = {"labelled_boxes": self.labelled_boxes, "unlabelled_boxes": self.unlabelled_boxes}
        return replace(WORLDS[self.world], **{k: v for k, v in changed.items() if v is not None})


class Data:
    """The pools of one configuration and seed, read when first asked for.

    Args:
        config: which images.
        seed: draws the labelled ones.
    """

    def __init__(self, config: DataConfig, seed: int) -> None:
        self.config, self.seed = config, seed
        self.world = config.drawn_world()
        self.classes = ("background", *self.world.classes)
        self.folder = prepare(self.world, config.sizes)
        names = {s: _read_names(self.folder, s) for s in ("labelled", "unlabelled", "val", "test")}
        check_disjoint(names)

    @cached_property
    def labelled(self) -> Pool:
        """The images with masks and boxes; every class occurs in them."""
        everything = self._pool("labelled", "SegmentationClass")
        chosen = choose_labelled(
            list(everything.masks.numpy()), self.config.labelled, len(self.classes), self.seed
        )
        return everything.take(chosen)

    @cached_property
    def unlabelled(self) -> Pool:
        """The images with boxes only; their masks are not read."""
        return self._pool("unlabelled", None)

    @cached_property
    def unlabelled_truth(self) -> np.ndarray:
        """Hidden masks of the unlabelled images, uint8 (N, H, W): to measure labels, not to learn."""
        return self._pool("unlabelled", "SegmentationClassAug").masks.numpy()

    @property
    def everything(self) -> Pool:
        """Labelled and unlabelled images, all with their masks: the upper bound learns from these."""
        return Pool(
            names=self.labelled.names + self.unlabelled.names,
            images=torch.cat([self.labelled.images, self.unlabelled.images]),
            masks=torch.cat([self.labelled.masks, torch.from_numpy(self.unlabelled_truth)]),
        )

    @cached_property
    def val(self) -> Pool:
        """Images to make choices on."""
        return self._pool("val", "SegmentationClass")

    @cached_property
    def test(self) -> Pool:
        """Images to report on."""
        return self._pool("test", "SegmentationClass")

    def dataset(self, image_set: str) -> VOCDataset:
        """The images of one list, one by one, boxes and all."""
        masks = "SegmentationClassAug" if image_set == "unlabelled" else "SegmentationClass"
        return VOCDataset(self.folder, image_set, self.classes, masks=masks)

    def _pool(self, image_set: str, masks: str | None) -> Pool:
        return _read_pool(self.folder, image_set, self.classes, masks)


def open_data(
    config: DataConfig | PhotoConfig | WholeImageConfig, seed: int, root: Path | None = None
) -> Data | PhotoData | WholeImageData:
    """The images of a configuration: drawn ones, or photographs or whole ones under ``root``."""
    if isinstance(config, PhotoConfig):
        return PhotoData(config, seed, root)
    if isinstance(config, WholeImageConfig):
        return WholeImageData(config, seed, root)
    return Data(config, seed)


@lru_cache(maxsize=16)
def _read_pool(folder: Path, image_set: str, classes: tuple[str, ...], masks: str | None) -> Pool:
    return load_pool(VOCDataset(folder, image_set, classes, masks=masks), boxes=True)


def _read_names(folder: Path, image_set: str) -> list[str]:
    return VOCDataset(folder, image_set, boxes=False, masks=None).names
