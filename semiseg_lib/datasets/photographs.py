"""Photographs: images of any size, read from disk when a batch needs them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from semiseg_lib.datasets.boxes import class_maps
from semiseg_lib.datasets.crop import CropConfig, colour_view, draw_view
from semiseg_lib.datasets.loaders import Loader, Part, drawn_indices, drawn_seed
from semiseg_lib.datasets.sample import Sample


class Reader(Protocol):
    """What every dataset is: samples by index, with their names and class names."""

    names: Sequence[str]
    classes: tuple[str, ...]
    boxes: bool
    """Whether boxes are read; may be switched off on a copy."""
    masks: object
    """Which masks are read; None on a copy reads none."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class PhotoPool:
    """Some images of a dataset; nothing is held in memory.

    Attributes:
        dataset: where they are read.
        indices: which of them.
        logits: stored ancillary logits, float16 (C, h, w) an image, in the order of ``indices``.
    """

    dataset: Reader
    indices: tuple[int, ...]
    logits: Sequence[Tensor] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The images' names, in order."""
        return tuple(self.dataset.names[i] for i in self.indices)

    def sample(self, number: int) -> Sample:
        """One image with its labels, as it lies on disk."""
        return self.dataset[self.indices[number]]

    def take(self, numbers: Sequence[int]) -> PhotoPool:
        """Some of the images, without their logits."""
        return PhotoPool(self.dataset, tuple(self.indices[i] for i in numbers))

    def without_boxes(self) -> PhotoPool:
        """The same images for a model that reads no boxes: none are read from disk either."""
        dataset = copy(self.dataset)
        dataset.boxes = False
        return replace(self, dataset=dataset)

    def with_logits(self, logits: Sequence[Tensor] | None) -> PhotoPool:
        """The same images with stored logits."""
        if logits is not None and len(logits) != len(self):
            raise ValueError(f"{len(logits)} stored logits do not fit {len(self)} images.")
        return replace(self, logits=logits)

    def with_masks(self, masks: Sequence[np.ndarray]) -> PhotoPool:
        """The same images with these masks, uint8 (H, W) each, read when asked for.

        The images' own masks and boxes are not read.

        Raises:
            ValueError: too many or too few masks; on reading, one that does not fit its image.
        """
        if len(masks) != len(self):
            raise ValueError(f"{len(masks)} masks do not fit {len(self)} images.")
        return PhotoPool(Relabelled(self, masks), tuple(range(len(self))))

    def part(self, numbers: Sequence[int]) -> Part:
        """The images at ``numbers`` as they are; they must share one size (one always does)."""
        samples = [self.sample(i) for i in numbers]
        masks, boxes = samples[0].mask is not None, samples[0].boxes is not None
        return Part(
            names=tuple(sample.name for sample in samples),
            images=torch.from_numpy(np.stack([s.image for s in samples])).float() / 255,
            masks=torch.from_numpy(np.stack([s.mask for s in samples])).long() if masks else None,
            box_maps=torch.from_numpy(np.stack([self._maps(s) for s in samples])).float()
            if boxes else None,
        )

    def _maps(self, sample: Sample) -> np.ndarray:
        return class_maps(sample.boxes, len(self.dataset.classes), sample.image.shape[1:])


class Masks(Sequence):
    """The masks of a pool, uint8 (H, W) each, read when asked for."""

    def __init__(self, pool: PhotoPool) -> None:
        self.pool = pool

    def __len__(self) -> int:
        return len(self.pool)

    def __getitem__(self, number: int) -> np.ndarray:
        if not 0 <= number < len(self.pool):
            raise IndexError(number)
        return self.pool.sample(number).mask


class PhotoLoader(Loader[PhotoPool, CropConfig]):
    """Batches of random views of photographs.

    Every image has its own generator, seeded by run, step and place in the batch.
    """

    def _part(self, pool: PhotoPool, size: int, step: int, number: int) -> Part:
        indices = drawn_indices(len(pool), size, step, seed=2 * self.seed + number)
        views = []
        for place in range(self.process, size, self.processes):
            draw = drawn_seed(self.seed, step, number, place)
            generator = torch.Generator().manual_seed(draw)
            views.append(view_of(pool, indices[place], self.augment, generator))
        return _stack(views)


def view_of(
    pool: PhotoPool, number: int, config: CropConfig, generator: torch.Generator
) -> Part:
    """A random view of one image and its labels: a part with B = 1."""
    sample = pool.sample(number)
    view = draw_view(sample.image.shape[1:], config, generator)
    image = view.image(torch.from_numpy(sample.image)).float() / 255
    maps, mask, logits = None, None, None
    if sample.mask is not None:
        mask = view.mask(torch.from_numpy(sample.mask)).long()[None]
    if sample.boxes is not None:
        classes, size = len(pool.dataset.classes), (view.crop, view.crop)
        maps = torch.from_numpy(class_maps(view.boxes(sample.boxes), classes, size)).float()[None]
    if pool.logits is not None:
        logits = view.logits(pool.logits[number])[None]
    return Part(
        names=(sample.name,), images=colour_view(image, config, generator)[None], masks=mask,
        box_maps=maps, logits_ancillary=logits, inside=view.inside()[None],
    )


class Joined:
    """Several pools as one dataset without boxes, image after image."""

    def __init__(self, pools: Sequence[PhotoPool]) -> None:
        self.places = [(pool, number) for pool in pools for number in range(len(pool))]
        self.names = tuple(name for pool in pools for name in pool.names)
        self.classes = pools[0].dataset.classes
        self.boxes = False  # some of the pools may have been read without
        self.masks: Literal["own"] | None = "own"

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        pool, number = self.places[index]
        pool = pool if self.masks else _unlabelled(pool)
        return replace(pool.sample(number), boxes=None)


class Relabelled:
    """The images of a pool with other masks; their own labels are never opened."""

    def __init__(self, pool: PhotoPool, masks: Sequence[np.ndarray]) -> None:
        self.pool = _unlabelled(pool)
        self.names, self.classes = pool.names, pool.dataset.classes
        self.masks: Sequence[np.ndarray] | None = masks
        self.boxes = False

    def __len__(self) -> int:
        return len(self.pool)

    def __getitem__(self, index: int) -> Sample:
        sample = self.pool.sample(index)
        if self.masks is None:
            return sample
        mask, size = self.masks[index], sample.image.shape[1:]
        if mask.shape != size:
            raise ValueError(
                f"the mask for {sample.name} has {mask.shape} rows and columns, but the image "
                f"{size}. Make the labels of these images again."
            )
        return replace(sample, mask=mask)


def _unlabelled(pool: PhotoPool) -> PhotoPool:
    """The same images; neither masks nor boxes are read from disk."""
    dataset = copy(pool.dataset)
    dataset.masks, dataset.boxes = None, False
    return PhotoPool(dataset, pool.indices)


def joined(*pools: PhotoPool) -> PhotoPool:
    """One pool of all their images, without boxes and logits."""
    dataset = Joined([pool.without_boxes() for pool in pools])
    return PhotoPool(dataset, tuple(range(len(dataset))))


def _stack(parts: Sequence[Part]) -> Part:
    """Parts of one view each as one part."""
    names = tuple(name for part in parts for name in part.names)
    columns = {
        key: torch.cat([getattr(part, key) for part in parts])
        for key, first in vars(parts[0]).items() if isinstance(first, Tensor)
    }
    return Part(names=names, **columns)
