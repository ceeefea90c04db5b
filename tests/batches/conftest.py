"""Made datasets: readers in memory, and small folders in the layouts of real datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import _color

from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.datasets.labels import write_mask
from semiseg_lib.datasets.sample import Boxes, Sample

MADE_CLASSES = ("background", "cat", "dog")


class MadeReader:
    """Samples in memory."""

    canonical: dict[str, str] = {}  # noqa: RUF012
    decoding = ""

    def __init__(
        self, samples: Sequence[Sample], classes: Sequence[str] = MADE_CLASSES, boxes: bool = True
    ) -> None:
        self.samples, self.classes = list(samples), tuple(classes)
        self.names = tuple(sample.name for sample in samples)
        self.masks, self.boxes = "made", boxes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        return Sample(
            sample.name, sample.image, sample.mask if self.masks else None,
            sample.boxes if self.boxes else None,
        )

    def content(self, index: int) -> Iterator[bytes]:
        sample = self[index]
        yield sample.image.tobytes()
        if sample.mask is not None:
            yield sample.mask.tobytes()
        if sample.boxes is not None:
            yield sample.boxes.coordinates.tobytes() + sample.boxes.classes.tobytes()


def made_samples(
    count: int, prefix: str = "made", masks: bool = True, size: tuple[int, int] = (16, 16),
    seed: int = 0,
) -> list[Sample]:
    """Noise with the image's number in its first row, a mask of rectangles and their boxes."""
    generator = np.random.default_rng([count, seed])
    found = []
    for number in range(count):
        image = generator.integers(0, 256, (3, *size), dtype=np.uint8)
        image[:, 0] = number
        mask, boxes = np.zeros(size, np.uint8), []
        for label in (1, 2):
            half = size[1] // 2  # one rectangle in either half, so that none hides the other
            x0 = (label - 1) * half + int(generator.integers(0, half - 2))
            y0 = int(generator.integers(0, size[0] - 2))
            x1 = int(generator.integers(x0 + 2, label * half + 1))
            y1 = int(generator.integers(y0 + 2, size[0] + 1))
            mask[y0:y1, x0:x1] = label
            boxes.append((x0, y0, x1, y1))
        found.append(Sample(
            f"{prefix}{number}", image, mask if masks else None,
            Boxes(np.array(boxes, np.float32), np.array([1, 2])),
        ))
    return found


def made_set(samples: Sequence[Sample], **options) -> ImageSet:
    """The samples as an image set."""
    boxed = np.arange(len(MADE_CLASSES)) > 0
    return ImageSet(MadeReader(samples), tuple(range(len(samples))), boxed, **options)


@pytest.fixture
def exact_hue() -> Callable[[torch.Tensor, float], torch.Tensor]:
    """torchvision's change of hue in double precision.

    ``v2.adjust_hue`` itself computes in single precision whatever it is given, so that its steps
    are taken one by one here.
    """

    def adjust(image: torch.Tensor, turn: float) -> torch.Tensor:
        hue, saturation, value = _color._rgb_to_hsv(image.double()).unbind(dim=-3)
        turned = torch.stack(((hue + turn).remainder(1.0), saturation, value), dim=-3)
        result = _color._hsv_to_rgb(turned)
        assert result.dtype == torch.float64
        return result

    return adjust


@pytest.fixture
def make_samples() -> Callable[..., list[Sample]]:
    return made_samples


@pytest.fixture
def make_set() -> Callable[..., ImageSet]:
    return made_set


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """A VOC of ten images of different sizes: five with masks, three unlabelled, two held out."""
    folder = tmp_path / "VOCdevkit" / "VOC2012"
    lists = {"train": range(5), "train_aug": range(8), "val": range(8, 10)}
    for kind in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "Annotations"):
        (folder / kind).mkdir(parents=True)
    for i in range(10):
        size = (40 + i, 60 - i)
        mask = np.zeros(size, np.uint8)
        mask[5:20, 10:30], mask[25:35, 5:25] = (8, 12)
        mask[24] = 255
        colours = np.stack([mask, 255 - mask, np.full(size, 20 * i, np.uint8)], axis=-1)
        Image.fromarray(colours).save(folder / "JPEGImages" / f"p{i}.jpg", quality=95)
        kind = "SegmentationClassAug" if i in (5, 6, 7) else "SegmentationClass"
        write_mask(mask, folder / kind / f"p{i}.png")
        boxes = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
            f"<ymax>{d}</ymax></bndbox></object>"
            for name, a, b, c, d in (("cat", 11, 6, 30, 20), ("dog", 6, 26, 25, 35))
        )
        (folder / "Annotations" / f"p{i}.xml").write_text(
            f"<annotation>{boxes}</annotation>", encoding="utf-8"
        )
    for name, numbers in lists.items():
        path = folder / "ImageSets" / "Segmentation" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"p{i}\n" for i in numbers), encoding="utf-8")
    return tmp_path


@pytest.fixture
def voc_with_all_masks(voc_root: Path) -> Path:
    """The same, with every mask in both folders."""
    folder = voc_root / "VOCdevkit" / "VOC2012"
    kinds = ("SegmentationClass", "SegmentationClassAug")
    for kind, other in (kinds, kinds[::-1]):
        for path in (folder / kind).iterdir():
            if not (folder / other / path.name).is_file():
                (folder / other / path.name).write_bytes(path.read_bytes())
    return voc_root


@pytest.fixture
def own_folder() -> Callable[..., Path]:
    """Make eight images whose names hold spaces, some with masks, some with boxes."""

    def make(root: Path, masks: int, boxed: Sequence[int]) -> Path:
        (root / "images").mkdir(parents=True)
        (root / "boxes").mkdir()
        (root / "classes.txt").write_text("background\ncat\n", encoding="utf-8")
        for i in range(8):
            image = Image.fromarray(np.full((32, 40, 3), 30 * i, np.uint8))
            image.save(root / f"images/my cat {i}.png")
            if i < masks:
                mask = np.zeros((32, 40), np.uint8)
                mask[4:20, 4:20] = 1
                write_mask(mask, root / f"masks/my cat {i}.png")
            if i in boxed:
                (root / f"boxes/my cat {i}.xml").write_text(
                    "<annotation><object><name>cat</name><bndbox><xmin>5</xmin><ymin>5</ymin>"
                    "<xmax>20</xmax><ymax>20</ymax></bndbox></object></annotation>",
                    encoding="utf-8",
                )
        return root

    return make


@pytest.fixture
def camvid_root(tmp_path: Path) -> Path:
    """A CamVid of ids: six train, two val and two test images of 11 classes."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2), ("test", 2)):
        for number in range(count):
            name = f"{split}_{number:05d}.png"
            for kind in (split, f"{split}_labels"):
                (tmp_path / "camvid" / kind).mkdir(parents=True, exist_ok=True)
            image = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / "camvid" / split / name)
            mask = np.resize(np.arange(12), (24, 32)).astype(np.uint8)
            Image.fromarray(mask).save(tmp_path / "camvid" / f"{split}_labels" / name)
    return tmp_path


@pytest.fixture
def city_root(tmp_path: Path) -> Path:
    """A Cityscapes of five train and two val images, each with one car and road around it."""
    for split, count in (("train", 5), ("val", 2)):
        for number in range(count):
            name = f"aachen_{number:06d}_000019" if split == "train" else f"ulm_{number:06d}_000019"
            city = name.split("_")[0]
            for kind in ("leftImg8bit", "gtFine"):
                (tmp_path / "cityscapes" / kind / split / city).mkdir(parents=True, exist_ok=True)
            where = tmp_path / "cityscapes"
            image = np.full((20, 40, 3), 10 * number, np.uint8)
            photograph = where / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
            Image.fromarray(image).save(photograph)
            ids = np.full((20, 40), 7, np.int32)  # road
            ids[:, 20:] = np.resize([7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 27, 28, 31,
                                     32, 33, 0], (20, 20))
            things = np.where(ids >= 24, 1000 * ids, ids)
            ids[4:10, 5:15], things[4:10, 5:15] = 26, 26000
            stem = where / f"gtFine/{split}/{city}/{name}_gtFine"
            Image.fromarray(ids.astype(np.uint8)).save(f"{stem}_labelIds.png")
            Image.fromarray(things.astype(np.uint16)).save(f"{stem}_instanceIds.png")
    return tmp_path
