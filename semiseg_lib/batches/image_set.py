"""Image sets: images of a dataset with their labels, read on access."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from semiseg_lib.batches.boxes import Allowed, allowed_by_boxes
from semiseg_lib.batches.part import Part
from semiseg_lib.batches.weak_view import View
from semiseg_lib.core.escaping import visible
from semiseg_lib.datasets.dataset import Reader
from semiseg_lib.datasets.digest import image_set_digest
from semiseg_lib.datasets.frozen_files import FrozenFiles, frozen_files
from semiseg_lib.datasets.sample import Boxes, Sample


@dataclass(frozen=True)
class ImageSet:
    """Some images of a dataset.

    Attributes:
        reader: reads the samples, from disk or memory.
        indices: indices of the images in ``reader``.
        boxed: bool (C,), which classes have a box around each of their objects.
        unboxed: meaning of an image without boxes; see
            :func:`~semiseg_lib.batches.boxes.allowed_by_boxes`.
        fields: fields of a part in addition to images and masks: ``box_maps``, ``allowed``.
        stored: ancillary logits, float16 (C, h, w) per image, in the order of ``indices``.
        decode: the decode version of the dataset, see
            :class:`~semiseg_lib.datasets.dataset.Dataset`; None if ``reader.decoding`` includes
            it, as for a set derived from others.
        files: the hashes of the files at the digest; shared by all sets derived from this one.
    """

    reader: Reader
    indices: tuple[int, ...]
    boxed: np.ndarray = field(compare=False)
    unboxed: Literal["unknown", "empty"] = "unknown"
    fields: frozenset[str] = frozenset({"box_maps"})
    stored: Sequence[Tensor] | None = field(default=None, compare=False)
    decode: int | None = None
    files: FrozenFiles = field(default_factory=frozen_files, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.indices)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of the images, in order."""
        return tuple(self.reader.names[i] for i in self.indices)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the C classes."""
        return self.reader.classes

    @cached_property
    def digest(self) -> str:
        """Return the digest, 64 hex digits, of all content that these images are read from."""
        extra = (self.decoding, *([self._boxed_classes] if self._boxed_classes else []))
        return image_set_digest(self.reader, self.indices, extra=extra, note=self.files.note)

    @property
    def _boxed_classes(self) -> str:
        """Return what the boxes of the whole dataset decide of these images; "" for the usual.

        Boxes of images outside of this set count: without any box of a class, its boxes say nothing
        of where the class is not. Usually every class but the background has boxes.
        """
        foreground = np.arange(len(self.boxed)) > 0
        if not self.fields or np.array_equal(self.boxed, foreground):
            return ""
        return f"boxed {np.flatnonzero(self.boxed).tolist()}"

    @property
    def decoding(self) -> str:
        """Return what determines the samples besides the bytes, decode version and options."""
        said = self.reader.decoding
        return said if self.decode is None else f"decode {self.decode}\n{said}"

    @property
    def images(self) -> Tensor:
        """Return all images, uint8 (N, 3, H, W).

        Raises:
            ValueError: they differ in size.
        """
        return self._stacked(lambda sample: sample.image)

    @property
    def masks(self) -> Tensor:
        """Return all masks, uint8 (N, H, W).

        Raises:
            ValueError: they differ in size, or an image has none.
        """
        return self._stacked(_mask_of)

    def sample(self, number: int) -> Sample:
        """Return an image with its labels, as stored.

        Args:
            number: its index in this set.

        Raises:
            ValueError: one of its files has changed since the digest was computed.
        """
        index = self.indices[number]
        with self.files.reading(self.reader.content(index)):
            return self.reader[index]

    def allowed(self, number: int) -> Allowed:
        """Return the classes that the boxes of an image allow in each pixel.

        Args:
            number: its index in this set.

        Raises:
            ValueError: this set does not read boxes.
        """
        self._require_boxes()
        return allowed_by_boxes(self.sample(number).boxes, self.boxed, self.unboxed)

    def take(self, numbers: Sequence[int]) -> ImageSet:
        """Return the images at ``numbers``, with their stored logits."""
        stored = None if self.stored is None else [self.stored[i] for i in numbers]
        return replace(self, indices=tuple(self.indices[i] for i in numbers), stored=stored)

    def named(self, names: Sequence[str]) -> ImageSet:
        """Return the images of these names, in this order.

        Raises:
            ValueError: an image is not in the set.
        """
        places = {name: number for number, name in enumerate(self.names)}
        if unknown := [name for name in names if name not in places]:
            raise ValueError(
                f"{len(unknown)} images are not in this set, such as {visible(unknown[0])}."
            )
        return self.take([places[name] for name in names])

    def with_fields(self, *fields: str) -> ImageSet:
        """Return the same images, whose parts hold these fields besides images and masks.

        Without fields no boxes are read.

        Raises:
            ValueError: a field is requested, but this set does not read boxes.
        """
        if fields:
            self._require_boxes()
        reader = copy(self.reader)
        reader.boxes = self.reader.boxes and bool(fields)
        return replace(self, reader=reader, fields=frozenset(fields))

    def without_boxes(self) -> ImageSet:
        """Return the same images without boxes."""
        return self.with_fields()

    def without_labels(self) -> ImageSet:
        """Return the same images without masks and boxes."""
        reader = copy(self.reader)
        reader.masks, reader.boxes = None, False
        return replace(self, reader=reader, fields=frozenset(), stored=None)

    def with_logits(self, stored: Sequence[Tensor] | None) -> ImageSet:
        """Return the same images with stored logits.

        Raises:
            ValueError: the number of logits differs from the number of images.
        """
        if stored is not None and len(stored) != len(self):
            raise ValueError(f"{len(stored)} stored logits do not fit {len(self)} images.")
        return replace(self, stored=stored)

    def with_masks(self, masks: Sequence[np.ndarray]) -> ImageSet:
        """Return the same images with these masks, uint8 (H, W) each, read on access.

        The images' own masks and boxes are not read.

        Raises:
            ValueError: the number of masks differs from the number of images; on reading, the size
                of a mask differs from its image.
        """
        if len(masks) != len(self):
            raise ValueError(f"{len(masks)} masks do not fit {len(self)} images.")
        return self._from_reader(Relabelled(self, masks))

    def part(
        self, numbers: Sequence[int], view: Callable[[int, Sample], View] | None = None
    ) -> Part:
        """Return the images at ``numbers`` with their labels.

        Args:
            numbers: indices in this set.
            view: ``view(place, sample)`` returns the view of the image at a place in ``numbers``;
                None for the whole image.

        Raises:
            ValueError: the views differ in size; only some images have masks; or box maps are
                requested of an image without boxes.
        """
        samples = [self.sample(number) for number in numbers]
        views = [view(place, sample) for place, sample in enumerate(samples)] if view else None
        return self.assemble(numbers, samples, views)

    def assemble(
        self, numbers: Sequence[int], samples: Sequence[Sample], views: Sequence[View] | None = None
    ) -> Part:
        """Return :meth:`part` from samples that were read before.

        Args:
            numbers: indices in this set.
            samples: what :meth:`sample` returned for each of them.
            views: a view of each; None for the whole images.

        Raises:
            ValueError: as for :meth:`part`.
        """
        may_be_padded = views is not None
        if views is None:
            views = [View.whole(sample.image.shape[1:]) for sample in samples]
        pairs = list(zip(views, samples, strict=True))
        if len(sizes := {one.size for one in views}) > 1:
            raise ValueError(
                f"images of {len(sizes)} sizes, such as {sorted(sizes)[:2]} (rows, columns), do "
                "not fit into one batch. Crop them to one size (augment.crop)."
            )
        has_masks = any(sample.mask is not None for sample in samples)
        fields = self.fields if self.reader.boxes else frozenset()
        return Part(
            names=tuple(sample.name for sample in samples),
            images=_tensor([one.image(s.image) for one, s in pairs]).float().div_(255),
            masks=_tensor([one.mask(_mask_of(s)) for one, s in pairs]).long()
            if has_masks else None,
            box_maps=_tensor([
                one.box_maps(self._boxes_of(s), len(self.classes)) for one, s in pairs
            ]).float() if "box_maps" in fields else None,
            allowed=_tensor([
                one.allowed(allowed_by_boxes(s.boxes, self.boxed, self.unboxed)) for one, s in pairs
            ]) if "allowed" in self.fields else None,
            logits_ancillary=_tensor([
                one.logits(self.stored[number].numpy())
                for one, number in zip(views, numbers, strict=True)
            ]).float() if self.stored is not None else None,
            inside=_tensor([one.inside() for one in views]) if may_be_padded else None,
        )

    def _require_boxes(self) -> None:
        if not self.reader.boxes and self.boxed.any():
            raise ValueError("these images are read without boxes; use the set that reads them.")

    def _boxes_of(self, sample: Sample) -> Boxes:
        if sample.boxes is None and self.unboxed == "unknown":
            raise ValueError(
                f"{visible(sample.name)} has no boxes. Draw them, leave the image out, or declare "
                "that images without boxes show no object (data.unboxed = 'empty'; for a single "
                "training --data.unboxed empty)."
            )
        return sample.boxes or Boxes()

    def _stacked(self, of: Callable[[Sample], np.ndarray]) -> Tensor:
        arrays = [of(self.sample(number)) for number in range(len(self))]
        if len(sizes := {array.shape[-2:] for array in arrays}) > 1:
            raise ValueError(
                f"the images have {len(sizes)} different sizes, such as {sorted(sizes)[:3]} (rows, "
                "columns); read them one by one: sample(number)."
            )
        return _tensor(arrays)

    def _from_reader(self, reader: Reader) -> ImageSet:
        """Return all images of a reader that is derived from this set."""
        indices = tuple(range(len(reader)))
        return ImageSet(reader, indices, self.boxed, self.unboxed, fields=frozenset())


class Masks:
    """The masks of an image set, uint8 (H, W) each, read on access.

    ``numpy.asarray(masks)`` returns all of them, uint8 (N, H, W), if they share one size.
    """

    def __init__(self, images: ImageSet) -> None:
        self.images = images.without_boxes()

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> np.ndarray:
        if not 0 <= number < len(self.images):
            raise IndexError(number)
        return _mask_of(self.images.sample(number))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.images.masks.numpy(), dtype=dtype)


class Joined:
    """The concatenation of several image sets as one reader without boxes."""

    def __init__(self, sets: Sequence[ImageSet]) -> None:
        self.places = [(images, number) for images in sets for number in range(len(images))]
        self.names = tuple(name for images in sets for name in images.names)
        self.classes = sets[0].classes
        self.boxes = False
        self.masks: object = "own"
        self.decoding = "\n".join(dict.fromkeys(images.decoding for images in sets))
        self.canonical = {
            key: value for images in sets for key, value in images.reader.canonical.items()
        }

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        images, number = self.places[index]
        images = images if self.masks is not None else images.without_labels()
        return replace(images.sample(number), boxes=None)

    def content(self, index: int) -> Iterator[Path | bytes | str]:
        """Yield the content of the image in its own set."""
        images, number = self.places[index]
        images = images if self.masks is not None else images.without_labels()
        yield from images.reader.content(images.indices[number])


class Relabelled(Joined):
    """A reader of the images of a set with other masks; their own labels are not read."""

    def __init__(self, images: ImageSet, masks: Sequence[np.ndarray]) -> None:
        super().__init__([images.without_labels()])
        self.relabelled = masks

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        if self.masks is None:
            return sample
        mask, size = self.relabelled[index], sample.image.shape[1:]
        if mask.shape != size:
            raise ValueError(
                f"the mask for {visible(sample.name)} has {mask.shape} rows and columns, but the "
                f"image {size}. Recreate the labels of these images."
            )
        return replace(sample, mask=mask)

    def content(self, index: int) -> Iterator[Path | bytes | str]:
        """Yield the content of the image, and the bytes of its mask."""
        yield from super().content(index)
        if self.masks is not None:
            yield np.ascontiguousarray(self.relabelled[index]).tobytes()


def joined(*sets: ImageSet) -> ImageSet:
    """Return the concatenation of image sets, with masks and without boxes and logits."""
    reader = Joined([images.without_boxes() for images in sets])
    return sets[0]._from_reader(reader)


def _mask_of(sample: Sample) -> np.ndarray:
    if sample.mask is None:
        raise ValueError(f"{visible(sample.name)} has no mask. Draw it, or leave the image out.")
    return sample.mask


def _tensor(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
