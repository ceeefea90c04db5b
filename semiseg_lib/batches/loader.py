"""Batches of labelled and unlabelled images, deterministic in seed and step.

Every random number depends only on (seed, step, place in the batch). So an interrupted run
continues with the same batches, and several processes can each load their share of one batch.
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
        labelled, unlabelled: the images; ``unlabelled`` is None for supervised training.
        batch_labelled, batch_unlabelled: images of each per step, over all processes together.
        augment: augmentation of the weak views.
        seed: with the step it determines all randomness.
        process, processes: rank and world size; this process loads every ``processes``-th image of
            each batch.

    Raises:
        ValueError: an image set is empty.
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
            raise ValueError("there are no images to learn from; add some, or choose other lists.")
        self.sets = (labelled, unlabelled)
        self._strides = tuple(map(_stride, self.sets))
        self.batch_sizes = (batch_labelled, batch_unlabelled)
        self.augment = augment
        self.seed = seed
        self.process, self.processes = process, processes

    def batch(self, step: int) -> Batch:
        """Return this process's share of the batch of step ``step``, counted from 0."""
        labelled, unlabelled = self.sets
        return Batch(
            self._part(labelled, step, 0),
            None if unlabelled is None else self._part(unlabelled, step, 1),
            derived_seed(self.seed, step, len(self.sets), self.process),
        )

    def __getitem__(self, step: int) -> Batch:
        return self.batch(step)

    def _part(self, images: ImageSet, step: int, number: int) -> Part:
        """Return this process's share of the images; ``number``: 0 labelled, 1 unlabelled."""
        size = self.batch_sizes[number]
        indices = sampled_indices(len(images), size, step, seed=2 * self.seed + number)
        draws = np.random.default_rng([self.seed, step, number]).random((size, DRAWS))
        mine = slice(self.process, size, self.processes)
        indices, draws = indices[mine], draws[mine]

        rows, stride = draws.tolist(), self._strides[number]

        def view(place: int, sample: Sample) -> View:
            return draw_view(sample.image.shape[1:], self.augment, rows[place], stride)

        part = images.part(indices, view)
        return replace(part, images=recolour(part.images, self.augment, draws[:, -4:]))


def sampled_indices(count: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Return the indices, 0 to ``count`` - 1, of the batch of step ``step``, counted from 0.

    Each epoch is a new permutation; batches may span two epochs.

    Args:
        count: number of images.
        batch_size: images per batch.
        step: the index of the step, from 0.
        seed: of the permutations.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    return [int(_order(count, p // count, seed)[p % count]) for p in places]


def derived_seed(*numbers: int) -> int:
    """Return a 32-bit seed derived from all these numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _stride(images: ImageSet | None) -> int:
    """Return the stride, in pixels, of the stored logits of these images; 1 if there are none."""
    if images is None or images.stored is None:
        return 1
    return stored_stride(images.sample(0).image.shape[1:], images.stored[0].shape[-2:])


@lru_cache(maxsize=8)
def _order(count: int, epoch: int, seed: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, count]).permutation(count)
