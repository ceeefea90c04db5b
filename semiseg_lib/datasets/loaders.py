"""Batches of labelled and unlabelled images side by side, the same ones whenever a step is asked for.

Every draw depends on (seed, step) alone. So a run that was interrupted continues with the batches
it would have had, and several processes can each take their share of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from semiseg_lib.datasets.augment import (
    AugmentConfig,
    Geometry,
    draw_colours,
    draw_geometry,
    move,
    recolour,
)
from semiseg_lib.datasets.boxes import class_maps


@dataclass(frozen=True)
class Part:
    """One part of a batch, labelled or unlabelled.

    Attributes:
        names: B image names.
        images: float32 (B, 3, H, W) in [0, 1].
        masks: int64 (B, H, W) class ids, 255 = void; None for unlabelled images.
        box_maps: float32 (B, C, H, W) of zeros and ones; None where not asked for.
        logits_ancillary: float32 (B, C, h, w) at head resolution; None where not asked for.
        inside: bool (B, H, W), False where a view shows padding instead of its image; None where
            there is no padding. Masks are void there.
    """

    names: tuple[str, ...]
    images: Tensor
    masks: Tensor | None = None
    box_maps: Tensor | None = None
    logits_ancillary: Tensor | None = None
    inside: Tensor | None = None

    def to(self, device: torch.device) -> Part:
        """The same part with its tensors on ``device``."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Part:
        """The same part in page-locked memory, from which a GPU copies faster."""
        return self._changed(Tensor.pin_memory)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Part:
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "names"}
        return replace(self, **{k: change(v) for k, v in tensors.items() if v is not None})


@dataclass(frozen=True)
class Batch:
    """What a method learns from in one step.

    Attributes:
        labelled: images with masks.
        unlabelled: images with boxes only, or with nothing at all; None for methods that see none.
        seed: of this step and process, for what a method draws by itself, such as strong views.
    """

    labelled: Part
    unlabelled: Part | None = None
    seed: int = 0

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on ``device``."""
        return self._changed(lambda part: part.to(device))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory."""
        return self._changed(Part.pin_memory)

    def _changed(self, change: Callable[[Part], Part]) -> Batch:
        return replace(self, labelled=change(self.labelled), unlabelled=self.unlabelled and change(self.unlabelled))


@dataclass(frozen=True)
class Pool:
    """Images of one size, held in memory: uint8 tensors, logits in half precision."""

    names: tuple[str, ...]
    images: Tensor
    masks: Tensor | None = None
    box_maps: Tensor | None = None
    logits_ancillary: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    def take(self, numbers: Sequence[int]) -> Pool:
        """Some of the images, without their logits."""
        chosen = list(numbers)
        return Pool(
            tuple(self.names[i] for i in chosen),
            self.images[chosen],
            None if self.masks is None else self.masks[chosen],
            None if self.box_maps is None else self.box_maps[chosen],
        )

    def without_boxes(self) -> Pool:
        """The same images for a model that reads no boxes."""
        return replace(self, box_maps=None)

    def with_logits(self, logits: Tensor | None) -> Pool:
        """The same images with stored logits (N, C, h, w), and without box maps."""
        return replace(self, box_maps=None, logits_ancillary=logits)

    def with_masks(self, masks: Sequence[np.ndarray]) -> Pool:
        """The same images with these masks, uint8 (H, W) each, and nothing else.

        Raises:
            ValueError: too many or too few masks, or one that does not fit its image.
        """
        return Pool(self.names, self.images, torch.from_numpy(_fitting(masks, self)))

    def part(self, indices: Sequence[int]) -> Part:
        """The images at ``indices`` as they are, in the number formats that networks read."""
        chosen = torch.as_tensor(indices)
        return Part(
            names=tuple(self.names[i] for i in indices),
            images=self.images[chosen].float() / 255,
            masks=None if self.masks is None else self.masks[chosen].long(),
            box_maps=None if self.box_maps is None else self.box_maps[chosen].float(),
            logits_ancillary=(
                None if self.logits_ancillary is None else self.logits_ancillary[chosen].float()
            ),
        )


def _fitting(masks: Sequence[np.ndarray], pool: Pool) -> np.ndarray:
    """A mask for each image of a pool, uint8 (N, H, W), checked for number and size."""
    if len(masks) != len(pool):
        raise ValueError(f"{len(masks)} masks do not fit {len(pool)} images.")
    fitting = np.empty((len(pool), *pool.images.shape[-2:]), np.uint8)
    for number, name in enumerate(pool.names):
        mask = masks[number]
        if mask.shape != fitting.shape[1:]:
            raise ValueError(
                f"the mask for {name} has {mask.shape} rows and columns, but the image "
                f"{fitting.shape[1:]}. Make the labels of these images again."
            )
        fitting[number] = mask
    return fitting


def load_pool(dataset, indices: Sequence[int] | None = None, boxes: bool = False) -> Pool:
    """Read images of one size into memory.

    Args:
        dataset: anything that yields :class:`Sample` by index and has ``classes``.
        indices: which images; None for all.
        boxes: also make the box maps (needs ``Sample.boxes``).

    Raises:
        ValueError: two images differ in size.
    """
    samples = [dataset[i] for i in (range(len(dataset)) if indices is None else indices)]
    sizes = {sample.image.shape[1:] for sample in samples}
    if len(sizes) > 1:
        raise ValueError(
            f"the images come in {len(sizes)} sizes, such as {sorted(sizes)[:3]} (rows, "
            "columns); held in memory they must share one. Resize or crop them first."
        )
    num_classes = len(dataset.classes)
    with_masks = samples[0].mask is not None
    return Pool(
        names=tuple(sample.name for sample in samples),
        images=torch.from_numpy(np.stack([sample.image for sample in samples])),
        masks=torch.from_numpy(np.stack([s.mask for s in samples])) if with_masks else None,
        box_maps=torch.from_numpy(np.stack(
            [class_maps(s.boxes, num_classes, s.image.shape[1:]) for s in samples]
        )) if boxes else None,
    )


def drawn_indices(pool_size: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Which images step ``step`` (from 0) shows: epoch after epoch, each in a fresh order."""
    places = range(step * batch_size, (step + 1) * batch_size)
    return [int(_order(pool_size, p // pool_size, seed)[p % pool_size]) for p in places]


def drawn_seed(*numbers: int) -> int:
    """A seed of 32 bits that follows from all these numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


@lru_cache(maxsize=8)
def _order(pool_size: int, epoch: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, pool_size]).permutation(pool_size)


Images, Views = TypeVar("Images"), TypeVar("Views")


class Loader(Generic[Images, Views]):
    """Augmented batches with a fixed number of labelled and of unlabelled images.

    Args:
        labelled, unlabelled: the pools; ``unlabelled`` None for supervised training.
        batch_labelled, batch_unlabelled: images of each in one step, over all processes together.
        augment: how views differ from their images.
        seed: with the step it decides every draw.
        process, processes: this process takes every ``processes``-th image of each batch.
    """

    def __init__(
        self,
        labelled: Images,
        unlabelled: Images | None,
        batch_labelled: int,
        batch_unlabelled: int,
        augment: Views,
        seed: int,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if not len(labelled) or (unlabelled is not None and not len(unlabelled)):
            raise ValueError("there are no images to learn from; add some, or name other lists.")
        self.pools = (labelled, unlabelled)
        self.batch_sizes = (batch_labelled, batch_unlabelled)
        self.augment = augment
        self.seed = seed
        self.process, self.processes = process, processes

    def batch(self, step: int) -> Batch:
        """The batch of step ``step``, counted from 0."""
        parts = [
            self._part(pool, size, step, number) if pool is not None else None
            for number, (pool, size) in enumerate(zip(self.pools, self.batch_sizes, strict=True))
        ]
        return Batch(*parts, seed=drawn_seed(self.seed, step, len(parts), self.process))

    def _part(self, pool: Images, size: int, step: int, number: int) -> Part:
        """This process's share of ``size`` images; ``number`` 0 is the labelled part, 1 unlabelled."""
        raise NotImplementedError


class TrainingLoader(Loader[Pool, AugmentConfig]):
    """Batches of images that are held in memory."""

    def _part(self, pool: Pool, size: int, step: int, number: int) -> Part:
        generator = torch.Generator().manual_seed(drawn_seed(self.seed, step, number))
        indices = drawn_indices(len(pool), size, step, seed=2 * self.seed + number)
        stride = _stride(pool)
        geometry = draw_geometry(size, self.augment, stride, generator)
        colours = draw_colours(size, generator)
        mine = torch.arange(self.process, size, self.processes)
        part = pool.part([indices[i] for i in mine])
        return _view(part, geometry.select(mine), colours[mine], self.augment, stride)


def _view(
    part: Part, geometry: Geometry, colours: Tensor, augment: AugmentConfig, stride: int
) -> Part:
    def moved(maps: Tensor | None, at: int = 1) -> Tensor | None:
        return None if maps is None else move(maps, geometry, at)

    return replace(
        part,
        images=recolour(moved(part.images), colours, augment),
        masks=moved(part.masks),
        box_maps=moved(part.box_maps),
        logits_ancillary=moved(part.logits_ancillary, stride),
    )


def _stride(pool: Pool) -> int:
    """How many image pixels one stored logit covers."""
    if pool.logits_ancillary is None:
        return 1
    return pool.images.shape[-1] // pool.logits_ancillary.shape[-1]
