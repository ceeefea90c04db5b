"""What the logits store costs and saves: size, labels, speed.

    python benchmarks/logits_store.py [--steps 150] [--images 64] [--speed-images 1024]

Sizes are those of VOC: 10,582 images of 500 x 375 with 21 classes. Labels come from a DeepLabv3+
(EfficientNet-Lite0) that is trained here for a few steps: on real VOC where SEMISEG_DATA holds it,
else on mini-VOC. Speed is measured on smooth random logits of VOC's size.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from tqdm import tqdm

from semiseg_lib import methods
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.core.paths import dataset_root
from semiseg_lib.datasets.devkit.layout import VOCDataset
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.minivoc import WORLDS, Sizes, prepare
from semiseg_lib.datasets.voc import VOC_CLASSES
from semiseg_lib.evaluation.metrics import evaluate_labels
from semiseg_lib.evaluation.predict import predict_logits
from semiseg_lib.methods import SupervisedConfig
from semiseg_lib.methods.base import Method
from semiseg_lib.models import ModelConfig
from semiseg_lib.notebook.tables import markdown_table
from semiseg_lib.stores.logits import LogitsStore

CLASSES, HEIGHT, WIDTH, COUNT = 21, 375, 500, 10_582  # VOC's train_aug
KEPT = ("background", "cat", "cow", "dog", "horse", "person", "sheep")  # frequent in our part
RAW = {
    "float32, squashed to 256 x 256": 4 * CLASSES * 256 * 256,
    "float32, full size": 4 * CLASSES * HEIGHT * WIDTH,
}


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=150, help="of training")
    parser.add_argument("--images", type=int, default=64, help="whose labels are compared")
    parser.add_argument("--speed-images", type=int, default=1024)
    options = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        tables = [
            sizes(),
            labels(options.steps, options.images, Path(folder)),
            speeds(options.speed_images, Path(folder)),
        ]
    print("\n\n".join(tables))


def sizes() -> str:
    """Bytes an image and in total, from shapes alone; headers are counted as 200 bytes."""
    rows = [{"what": name, "kB an image": f"{size / 1e3:,.0f}", "GB in total":
             f"{size * COUNT / 1e9:.1f}"} for name, size in RAW.items()]
    for stride, bits in itertools.product((4, 8), (16, 8)):
        logits = CLASSES * math.ceil(HEIGHT / stride) * math.ceil(WIDTH / stride)
        size = logits * bits // 8 + 200 + (8 * CLASSES if bits == 8 else 0)
        rows.append({
            "what": f"store, stride {stride}, {bits} bits", "kB an image": f"{size / 1e3:,.0f}",
            "GB in total": f"{size * COUNT / 1e9:.1f}",
            **{f"smaller than {name}": f"{raw / size:.1f} x" for name, raw in RAW.items()},
        })
    empty = dict.fromkeys(rows[-1], "")
    return markdown_table([empty | row for row in rows])


def labels(steps: int, images: int, folder: Path) -> str:
    """Labels from stored logits against those from the same model's float32 logits at full size."""
    name, training, testing = datasets()
    config = ModelConfig("deeplab", encoder="tf_efficientnet_lite0", weights="package",
                         decoder_width=64, encoder_lr=0.1)
    method = methods.build(SupervisedConfig(), config, len(training.classes))
    train(method, training, steps)
    unboxed = np.zeros(len(testing.classes), bool)
    pool = ImageSet(testing, tuple(range(min(images, len(testing)))), unboxed)
    truth = [pool.sample(i).mask for i in range(len(pool))]
    head = list(predict_logits(method, pool))
    kept = {
        "float32, full size": head,
        **{f"store, stride {method.network.stride}, {bits} bits":
           through_store(head, pool.names, bits, folder) for bits in (16, 8)},
        f"store, stride {2 * method.network.stride}, 16 bits":
            [avg_pool2d(one[None], 2, ceil_mode=True, count_include_pad=False)[0].half()
             for one in head],
    }
    found = {what: [label(*pair) for pair in zip(logits, truth, strict=True)]
             for what, logits in kept.items()}
    exact = found["float32, full size"]
    rows = []
    for what, answers in found.items():
        same = np.mean([np.mean(a == b) for a, b in zip(answers, exact, strict=True)])
        score = [100 * evaluate_labels(truth, one, training.classes).mean_iou
                 for one in (answers, exact)]
        rows.append({
            "logits": what, "mIoU (%)": f"{score[0]:.3f}",
            "difference": f"{score[0] - score[1]:+.3f}", "same label (%)": f"{100 * same:.3f}",
        })
    return f"{name}, {len(pool)} images, {steps} steps of training\n\n" + markdown_table(rows)


def datasets() -> tuple[str, VOCDataset, VOCDataset]:
    """Real VOC where it is, else mini-VOC: its name, the labelled images, others to test on."""
    root = dataset_root()
    if root is not None and (folder := root / "VOCdevkit" / "VOC2012").is_dir():
        return f"PASCAL VOC 2012, {len(KEPT)} classes", *(
            VOCDataset(folder, one, VOC_CLASSES, keep=KEPT, boxes=False)
            for one in ("train", "val")
        )
    world = WORLDS["hurried"]
    folder, classes = prepare(world, Sizes()), ("background", *world.classes)
    return "mini-VOC", *(VOCDataset(folder, one, classes, boxes=False)
                         for one in ("labelled", "test"))


def train(method: Method, dataset: VOCDataset, steps: int, batch: int = 4, crop: int = 192) -> None:
    """A plain loop: random crops, AdamW, a rate that falls to 0."""
    generator = np.random.default_rng(0)
    groups = [{"params": g["params"], "lr": 2e-3 * g["lr_scale"]}
              for g in method.parameter_groups()]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: (1 - t / steps) ** 0.9)
    for step in tqdm(range(steps), desc="training", unit="step"):
        views = [view(dataset[i], crop, generator)
                 for i in generator.choice(len(dataset), batch, replace=False)]
        images, masks = (torch.from_numpy(np.stack(one)) for one in zip(*views, strict=True))
        part = Part(("",) * batch, images.float() / 255, masks.long())
        loss = sum(method.train().losses(Batch(part), step / steps).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        method.after_step(step)


def view(sample, crop: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random square of an image and its mask; where the image ends, black and void."""
    height, width = sample.mask.shape
    image = np.zeros((3, crop, crop), np.uint8)
    mask = np.full((crop, crop), VOID, np.uint8)
    top, left = (generator.integers(max(0, side - crop) + 1) for side in (height, width))
    piece = np.s_[top:top + crop, left:left + crop]
    rows, columns = sample.mask[piece].shape
    image[:, :rows, :columns] = sample.image[:, *piece]
    mask[:rows, :columns] = sample.mask[piece]
    return image, mask


def through_store(
    logits: list[Tensor], names: tuple[str, ...], bits: int, folder: Path
) -> list[Tensor]:
    """The logits as they come back from a store."""
    store = LogitsStore(folder / f"labels{bits}", "benchmark", names, bits)
    store.write(lambda numbers: [logits[i] for i in numbers])
    return [store[i] for i in range(len(store))]


def label(logits: Tensor, truth: np.ndarray) -> np.ndarray:
    """The label (H, W) that logits (C, h, w) of any stride yield."""
    height, width = truth.shape
    factor = 2 ** round(math.log2(height / logits.shape[1]))
    full = interpolate(logits[None].float(), scale_factor=factor, mode="bilinear")
    return full.argmax(dim=1)[0, :height, :width].numpy()


def speeds(images: int, folder: Path) -> str:
    """Writing, reading and checking, on logits that cost nothing to make."""
    generator = torch.Generator().manual_seed(0)
    size = (math.ceil(HEIGHT / 4), math.ceil(WIDTH / 4))
    few = [6 * interpolate(torch.randn(1, CLASSES, 7, 8, generator=generator), size,
                           mode="bicubic")[0] for _ in range(8)]
    names = tuple(f"{i:06d}" for i in range(images))
    rows = [
        {"bits": str(bits), **speed(LogitsStore(folder / f"speed{bits}", "benchmark", names, bits),
                                    few)}
        for bits in (16, 8)
    ]
    return f"Speed on {images} images of {WIDTH} x {HEIGHT}\n\n" + markdown_table(rows)


def speed(store: LogitsStore, few: list[Tensor]) -> dict[str, str]:
    """One store's row of the table."""
    writing = seconds(lambda: store.write(lambda numbers: endless(few, len(numbers))))
    again = LogitsStore(store.folder, store.source, store.names, store.bits)
    checking = seconds(again.verify)
    order = np.random.default_rng(0).permutation(len(store)).tolist()
    reading = seconds(lambda: [again[i].sum() for i in order])
    return {
        "kB an image": f"{store.bytes_per_image / 1e3:.1f}",
        "written / s": f"{len(store) / writing:.0f}",
        "read / s, any order": f"{len(store) / reading:.0f}",
        "ms an image": f"{1e3 * reading / len(store):.2f}",
        "hash, s / GB": f"{1e9 * checking / len(store) / store.bytes_per_image:.2f}",
    }


def endless(few: list[Tensor], count: int) -> Iterator[Tensor]:
    """``count`` tensors, the same few over and over."""
    return itertools.islice(itertools.cycle(few), count)


def seconds(work) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
