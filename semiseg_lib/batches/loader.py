"""Batches of labelled and unlabelled images side by side, the same whenever a step is asked for.

Every draw depends on (seed, step, place in the batch) alone. So a run that was interrupted
continues with the batches it would have had, and several processes can each take their share of
one batch.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.options import ViewConfig
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.batches.weak_view import DRAWS, View, draw_view, recolour, stored_stride
from semiseg_lib.datasets.sample import Sample


class Loader:
    """Weak views with a fixed number of labelled and of unlabelled images per batch.

    Args:
        labelled, unlabelled: the images; ``unlabelled`` None for supervised training.
        batch_labelled, batch_unlabelled: images of each in one step, over all processes together.
        augment: how far views differ from their images.
        seed: with the step it decides every draw.
        process, processes: this process takes every ``processes``-th image of each batch.

    Raises:
        ValueError: there are no images.
    """

    def __init__(
        self,
        labelled: ImageSet,
        unlabelled: ImageSet | None,
        batch_labelled: int,
        batch_unlabelled: int,
        augment: ViewConfig,
        seed: int,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if not len(labelled) or (unlabelled is not None and not len(unlabelled)):
            raise ValueError("there are no images to learn from; add some, or name other lists.")
        self.sets = (labelled, unlabelled)
        self._strides = tuple(map(_stride, self.sets))
        self.batch_sizes = (batch_labelled, batch_unlabelled)
        self.augment = augment
        self.seed = seed
        self.process, self.processes = process, processes

    def batch(self, step: int) -> Batch:
        """Return this process's share of the batch of step ``step``, counted from 0."""
        parts = [
            self._part(images, size, step, number) if images is not None else None
            for number, (images, size) in enumerate(zip(self.sets, self.batch_sizes, strict=True))
        ]
        return Batch(*parts, seed=drawn_seed(self.seed, step, len(parts), self.process))

    def _part(self, images: ImageSet, size: int, step: int, number: int) -> Part:
        """This process's share of ``size`` images; ``number`` is 0 for labelled, 1 for others."""
        indices = drawn_indices(len(images), size, step, seed=2 * self.seed + number)
        draws = np.random.default_rng([self.seed, step, number]).random((size, DRAWS))
        mine = slice(self.process, size, self.processes)
        indices, draws = indices[mine], draws[mine]

        rows, stride = draws.tolist(), self._strides[number]

        def view(place: int, sample: Sample) -> View:
            return draw_view(sample.image.shape[1:], self.augment, rows[place], stride)

        part = images.part(indices, view)
        return replace(part, images=recolour(part.images, self.augment, draws[:, -4:]))


def drawn_indices(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Return which of ``count`` images step ``step`` (from 0) shows, epoch after epoch.

    Each epoch has a fresh order.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    return [int(_order(count, p // count, seed)[p % count]) for p in places]


def drawn_seed(*numbers: int) -> int:
    """Return a seed of 32 bits that follows from all these numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _stride(images: ImageSet | None) -> int:
    """How many pixels one stored logit of these images covers; 1 where there are none."""
    if images is None or images.stored is None:
        return 1
    return stored_stride(images.sample(0).image.shape[1:], images.stored[0].shape[-2:])


@lru_cache(maxsize=8)
def _order(count: int, epoch: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, count]).permutation(count)
