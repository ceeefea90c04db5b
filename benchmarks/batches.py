"""What views and loading cost: as ratios, in alternating blocks of one process.

    OMP_NUM_THREADS=1 python benchmarks/batches.py [--blocks 15]

1. Strong views: training steps of the methods that use them against the same steps without.
2. The loader: training steps on mini-VOC that read their batches against steps on batches that are
   ready in memory.
3. The loader of photographs against a minimal one of torchvision's transforms (v2), on JPEGs and
   palette PNGs of 500 x 375 pixels, made up and in the page cache.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from tqdm import tqdm

from semiseg_lib import methods, recipes
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.loader import Loader
from semiseg_lib.batches.options import ViewConfig
from semiseg_lib.batches.part import Batch
from semiseg_lib.batches.weak_view import PADDING_COLOUR
from semiseg_lib.core.compat import make_torchvision_importable
from semiseg_lib.datasets.devkit.layout import VOCDataset
from semiseg_lib.datasets.labels import VOID, write_mask
from semiseg_lib.datasets.voc import VOC_CLASSES
from semiseg_lib.methods import MeanTeacherConfig, MethodConfig, S4MCConfig
from semiseg_lib.notebook.tables import markdown_table
from semiseg_lib.recipes import Profile
from semiseg_lib.training.optimizer import make_optimizer

make_torchvision_importable()
from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

TARGETS = {"strong": 0.15, "loader": 1.05, "photographs": 1.2}
SIZE, PHOTOGRAPHS = (500, 375), 32


def main() -> None:
    """Measure and print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--steps", type=int, default=8, help="of each contestant in a block")
    options = parser.parse_args()
    profile = recipes.load("laptop")
    data = Data(profile.data, seed=0)
    for images in (data.labelled, data.unlabelled):
        for number in range(len(images)):
            images.sample(number)  # read once, as in the first epoch of a training
    print(strong_views(profile, data, options))
    print(loading(profile, data, options))
    with tempfile.TemporaryDirectory() as folder:
        print(photographs(write_photographs(Path(folder)), options))


@dataclass
class Stepper:
    """Training steps of a method on batches that a function hands out by number."""

    config: MethodConfig
    profile: Profile
    batch: Callable[[int], Batch]

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.method = methods.build(self.config, self.profile.model, 5).train()
        self.optimizer = make_optimizer(self.method, self.profile.train_unlabelled)
        self.method = self.method.to(memory_format=torch.channels_last)
        self.done = 0

    def step(self) -> None:
        """Read a batch and learn from it, as :func:`semiseg_lib.training.loop.fit` does."""
        losses = self.method.losses(self.batch(self.done), 0.5)
        sum(losses.values()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.method.after_step(self.done)
        self.done += 1


def loader_of(profile: Profile, labelled: ImageSet, unlabelled: ImageSet | None) -> Loader:
    """Batches of the profile's size; all of it labelled where there is nothing else."""
    train = profile.train_unlabelled
    sizes = (train.batch_labelled, train.batch_unlabelled)
    if unlabelled is None:
        sizes = (sum(sizes), 0)
    return Loader(labelled, unlabelled, *sizes, profile.augment, seed=0)


def ready(loader: Loader, count: int = 16) -> Callable[[int], Batch]:
    """Hand out batches that are in memory already."""
    batches = [loader.batch(step) for step in range(count)]
    return lambda step: replace(batches[step % count], seed=step)


def strong_views(profile: Profile, data: Data, options: argparse.Namespace) -> str:
    """The share of a step that its strong views take."""
    labelled, unlabelled = data.labelled.without_boxes(), data.unlabelled.without_boxes()
    batch = ready(loader_of(profile, labelled, unlabelled))
    rows = []
    for name in ("mean-teacher", "fixmatch", "s4mc"):
        config = profile.unlabelled[name]
        unchanged = replace(config, strong=replace(config.strong, jitter=0.0, grey=0.0, blur=0.0))
        if isinstance(config, MeanTeacherConfig | S4MCConfig):
            unchanged = replace(config, strong=None)
        found = in_turns({
            "with": Stepper(config, profile, batch).step,
            "without": Stepper(unchanged, profile, batch).step,
        }, options)
        ratios = found["with"] / found["without"]
        rows.append({
            "method": name, "ms a step": f"{1e3 * np.median(found['with']):.1f}",
            "with / without": f"{np.median(ratios):.3f}",
            "share of a step": f"{100 * (1 - 1 / np.median(ratios)):.1f} %",
            "target": f"at most {100 * TARGETS['strong']:.0f} %",
        })
    return f"Strong views, mini-VOC at laptop size\n\n{markdown_table(rows)}\n"


def loading(profile: Profile, data: Data, options: argparse.Namespace) -> str:
    """Steps that read their batches against steps on ready ones."""
    labelled, unlabelled = data.labelled.without_boxes(), data.unlabelled.without_boxes()
    generator = torch.Generator().manual_seed(0)
    stored = [torch.randn(5, 32, 32, generator=generator).half() for _ in unlabelled.names]
    entries = {
        "supervised": (profile.supervised, loader_of(profile, labelled, None)),
        "linear": (profile.primary, loader_of(profile, labelled, unlabelled.with_logits(stored))),
    }
    rows = []
    for name, (config, loader) in entries.items():
        found = in_turns({
            "loader": Stepper(config, profile, loader.batch).step,
            "memory": Stepper(config, profile, ready(loader)).step,
            "alone": Counter(loader.batch),
        }, options)
        rows.append({
            "method": name, "ms a step": f"{1e3 * np.median(found['loader']):.1f}",
            "loader / memory": f"{np.median(found['loader'] / found['memory']):.3f}",
            "ms a batch": f"{1e3 * np.median(found['alone']):.2f}",
            "target": f"at most {TARGETS['loader']}",
        })
    return f"The loader, mini-VOC at laptop size\n\n{markdown_table(rows)}\n"


def photographs(images: ImageSet, options: argparse.Namespace) -> str:
    """The loader of photographs against a minimal one, per batch of eight."""
    rows = []
    for crop, scale in ((192, (0.5, 1.2)), (320, (0.5, 2.0))):
        for colours in (0.0, 0.3):
            config = ViewConfig(
                crop=crop, scale=scale, brightness=colours, contrast=colours, saturation=colours
            )
            found = in_turns({
                "ours": Counter(Loader(images, None, 8, 0, config, seed=0).batch),
                "minimal": Counter(Minimal(images, config).batch),
            }, options)
            rows.append({
                "views": f"{crop} px, scale {scale[0]:g} to {scale[1]:g}"
                         + (", colours" if colours else ""),
                "ms an image": f"{1e3 * np.median(found['ours']) / 8:.1f}",
                "ours / minimal": f"{np.median(found['ours'] / found['minimal']):.2f}",
                "target": f"at most {TARGETS['photographs']}",
            })
    return f"The loader of photographs\n\n{markdown_table(rows)}\n"


class Counter:
    """A function of a step's number as one without arguments."""

    def __init__(self, of_step: Callable[[int], object]) -> None:
        self.of_step, self.done = of_step, 0

    def __call__(self) -> None:
        self.of_step(self.done)
        self.done += 1


class Minimal:
    """The shortest loader of torchvision's transforms that makes such views."""

    def __init__(self, images: ImageSet, config: ViewConfig) -> None:
        self.files = [tuple(images.reader.content(i)) for i in images.indices]
        self.config, self.generator = config, np.random.default_rng(0)
        self.cut = v2.Compose([
            v2.RandomCrop(config.crop, pad_if_needed=True, fill={
                tv_tensors.Image: PADDING_COLOUR.ravel().tolist(), tv_tensors.Mask: VOID,
            }),
            v2.RandomHorizontalFlip(),
        ])
        reach = config.brightness
        self.recolour = v2.ColorJitter(reach, reach, reach) if reach else v2.Identity()

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Eight images and masks."""
        pairs = [self.view(*self.files[(8 * step + i) % len(self.files)]) for i in range(8)]
        return tuple(map(torch.stack, zip(*pairs, strict=True)))

    def view(self, image_path: Path, mask_path: Path) -> tuple[torch.Tensor, torch.Tensor]:
        """One view of an image and its mask."""
        image = tv_tensors.Image(v2.functional.pil_to_tensor(Image.open(image_path).convert("RGB")))
        mask = tv_tensors.Mask(torch.from_numpy(np.asarray(Image.open(mask_path))))
        factor = self.generator.uniform(*self.config.scale)
        size = [round(side * factor) for side in image.shape[-2:]]
        image, mask = (v2.functional.resize(one, size) for one in (image, mask))
        image, mask = self.cut(image, mask)
        return self.recolour(image.float().div(255)), mask.long()


def write_photographs(folder: Path) -> ImageSet:
    """Made-up photographs and masks in VOC's layout."""
    generator = np.random.default_rng(0)
    names = [f"2007_{number:06d}" for number in range(PHOTOGRAPHS)]
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / part).mkdir(parents=True)
    for name in names:
        coarse = generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC)
        image.filter(ImageFilter.DETAIL).save(folder / "JPEGImages" / f"{name}.jpg", quality=90)
        mask = generator.integers(0, len(VOC_CLASSES), (6, 8), dtype=np.uint8)
        enlarged = Image.fromarray(mask).resize(SIZE, Image.Resampling.NEAREST)
        write_mask(np.asarray(enlarged), folder / "SegmentationClass" / f"{name}.png")
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text(
        "\n".join(names) + "\n", encoding="utf-8"
    )
    reader = VOCDataset(folder, "train", VOC_CLASSES, boxes=False)
    return ImageSet(reader, tuple(range(len(names))), np.zeros(len(VOC_CLASSES), bool))


def in_turns(
    contestants: Mapping[str, Callable[[], None]], options: argparse.Namespace
) -> dict[str, np.ndarray]:
    """Seconds of one call of each contestant, a mean per block; they take turns in every block."""
    order, times = np.random.default_rng(0), {name: [] for name in contestants}
    for call in contestants.values():
        for _ in range(options.steps):
            call()  # not counted: caches fill
    for _ in tqdm(range(options.blocks), desc="blocks", leave=False):
        for name in order.permutation(list(contestants)).tolist():
            start = time.perf_counter()
            for _ in range(options.steps):
                contestants[name]()
            times[name].append((time.perf_counter() - start) / options.steps)
    return {name: np.array(found) for name, found in times.items()}


if __name__ == "__main__":
    main()
