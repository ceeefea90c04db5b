"""A small training on images of noise, for tests that start, stop and kill real processes.

The processes are forked from a server that has imported everything, so each starts at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.loader import Loader
from semiseg_lib.batches.options import ViewConfig
from semiseg_lib.batches.part import Batch
from semiseg_lib.datasets.sample import Boxes, Sample
from semiseg_lib.methods.base import AveragedMethod, Method
from semiseg_lib.methods.losses import cross_entropy
from semiseg_lib.training.loop import fit, make_accelerator
from semiseg_lib.training.options import TrainConfig
from semiseg_lib.training.run_folder import RunFolder

CONFIG = TrainConfig(
    steps=40, batch_labelled=4, batch_unlabelled=0, log_every=3, lr=3e-2, checkpoint_seconds=0.0
)
CLASSES = 3


class Network(nn.Sequential):
    """torch's compiler leaves a plain Sequential as it is, but not a module of ours."""

    def forward(self, images: Tensor) -> Tensor:
        for layer in self:
            images = layer(images)
        return images


class Tiny(AveragedMethod):
    """Two convolutions, without batch statistics; their average is deployed."""

    uses_all_weights = True

    def __init__(self) -> None:
        super().__init__(Network(
            nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, CLASSES, 1)
        ), ema_decay=0.9)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        part = batch.labelled
        return {"labelled": cross_entropy(self.network(part.images), part.masks)}


class Later(Tiny):
    """The same, with weights that come into the loss in the second half of the training."""

    uses_all_weights = False

    def __init__(self) -> None:
        super().__init__()
        self.later = nn.Conv2d(3, CLASSES, 1)

    def losses(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        terms, part = super().losses(batch, progress), batch.labelled
        if progress >= 0.5:
            return {**terms, "later": cross_entropy(self.later(part.images), part.masks)}
        return {**terms, "later": torch.zeros(())}


class InMemory:
    """A reader of images that are already there; see :class:`semiseg_lib.datasets.dataset.Reader`.

    Args:
        names: N names.
        images: uint8 (N, 3, H, W), or N images of their own sizes.
        labels: as many masks; None for images without.
        classes: C class names.
        boxes: as many :class:`Boxes`, None for an image that nobody looked through.
    """

    canonical: Mapping[str, str] = {}
    decoding = ""

    def __init__(
        self, names: Sequence[str], images: Sequence[np.ndarray],
        labels: Sequence[np.ndarray] | None, classes: Sequence[str],
        boxes: Sequence[Boxes | None] | None = None,
    ) -> None:
        self.names, self.classes = tuple(names), tuple(classes)
        self.masks: str | None = None if labels is None else "own"
        self.boxes = boxes is not None
        self._images, self._labels, self._boxes = images, labels, boxes

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return Sample(
            self.names[index], np.asarray(self._images[index]),
            np.asarray(self._labels[index]) if self.masks else None,
            self._boxes[index] if self.boxes else None,
        )

    def content(self, index: int) -> Iterator[bytes]:
        """Yield the bytes of the image, of its mask and of its boxes, as far as they are read."""
        sample = self[index]
        yield np.ascontiguousarray(sample.image).tobytes()
        if sample.mask is not None:
            yield np.ascontiguousarray(sample.mask).tobytes()
        if sample.boxes is not None:
            yield sample.boxes.coordinates.tobytes() + sample.boxes.classes.tobytes()


def image_set(
    images: Sequence[np.ndarray], labels: Sequence[np.ndarray] | None, classes: int = CLASSES,
    boxes: Sequence[Boxes | None] | None = None, names: Sequence[str] = (),
) -> ImageSet:
    """Return images that are already there, with boxes around each object where there are any."""
    names = names or [f"noise {number}" for number in range(len(images))]
    reader = InMemory(names, images, labels, [f"class {c}" for c in range(classes)], boxes)
    boxed = np.zeros(classes, bool) if boxes is None else np.arange(classes) > 0
    return ImageSet(reader, tuple(range(len(images))), boxed)


def pool(count: int = 10, size: int = 16) -> ImageSet:
    """Images of noise; the class of a pixel is its brightest colour. Nothing is void."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    return image_set(images.numpy(), images.argmax(dim=1).byte().numpy())


def built(kind: type[Tiny] = Tiny) -> Tiny:
    torch.manual_seed(3)
    return kind()


def loader(config: TrainConfig, process: int = 0, processes: int = 1, shift: int = 0):
    """The batches; views are not shifted where the test must not have void pixels."""
    return Loader(
        pool(), None, config.batch_labelled, config.batch_unlabelled, ViewConfig(shift=shift), 5,
        process, processes,
    )


def brightness(method: Method) -> float:
    """A score to select by: any number that follows from the weights."""
    return method(pool().part([0]).images).softmax(dim=1)[:, 0].mean().item() * 100


def train(folder: Path, config: TrainConfig = CONFIG, method: Method | None = None, **options):
    """Train in this process; return the method and its history."""
    method = method or built()
    accelerator = make_accelerator(config, "cpu")
    batches = loader(config, accelerator.process_index, accelerator.num_processes)
    history = fit(method, batches, config, RunFolder(folder), accelerator, **options)
    return method, history


def outcome(method: Method, history: list[dict]) -> dict[str, Any]:
    """What two equal runs share: weights and history, without the seconds."""
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in history]
    return {"history": rows, **{name: value.clone() for name, value in method.state_dict().items()}}


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    """Equal to the last bit."""
    return one.keys() == two.keys() and all(
        torch.equal(value, two[name]) if isinstance(value, Tensor) else value == two[name]
        for name, value in one.items()
    )


def process(folder: Path, config: TrainConfig, pause: float = 0.0, die_in: str = "",
            die_at: int = 0, **options) -> None:
    """What a started process does: train, slowly, perhaps kill itself, and store the outcome.

    Args:
        folder: the run's folder.
        config: how to train.
        pause: seconds to wait in each step.
        die_in: ``rename`` or ``best``: die before a checkpoint gets its name, or right after it
            has been written and before the best weights are.
        die_at: the step at which to die.
        options: of ``fit``.
    """
    os.setsid()
    multiprocessing.set_start_method("fork", force=True)  # processes that read ahead: at once
    method = built()
    after_step = method.after_step

    def slowly(step: int) -> None:
        after_step(step)
        time.sleep(pause)

    method.after_step = slowly
    if die_in == "rename":
        replace_file, calls = os.replace, []

        def rename(*names) -> None:
            calls.append(names)
            if len(calls) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            replace_file(*names)

        os.replace = rename
    if die_in == "best":
        RunFolder.write_best = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    method, history = train(folder, config, method, **options)
    RunFolder(folder).finish(method.state_dict(), {"history": history})


def one_of_two(
    rank: int, port: int, folder: Path, config: TrainConfig, fault: str = "",
    kind: type[Tiny] = Tiny,
) -> None:
    """One of two processes that train together over gloo; each stores its outcome.

    Args:
        rank: 0 or 1.
        port: where they meet.
        folder: the run's folder.
        config: how to train, with the batch of both together.
        fault: what goes wrong in process 1 at step 4: ``error``, ``nan`` or ``signal``.
        kind: what they train.
    """
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
    }
    method = built(kind)
    losses = method.losses

    def faulty(batch: Batch, progress: float) -> dict[str, Tensor]:
        if fault and rank == 1 and progress == 4 / config.steps:
            if fault == "error":
                raise OSError("the disk of process 1 is gone")
            if fault == "signal":
                os.kill(os.getpid(), signal.SIGTERM)
            if fault == "nan":
                images = torch.full_like(batch.labelled.images, float("nan"))
                batch = replace(batch, labelled=replace(batch.labelled, images=images))
        return losses(batch, progress)

    method.losses = faulty
    said = folder / f"said-{rank}.txt"
    try:
        scored = brightness if config.validate_every else None
        outcome_ = outcome(*train(folder, config, method, score=scored))
        torch.save(outcome_, folder / f"outcome-{rank}.pt")
        said.write_text("done", encoding="utf-8")
    except BaseException as error:
        said.write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise
    finally:
        if torch.distributed.is_initialized() and not fault:
            torch.distributed.destroy_process_group()


def start(target, *arguments, **options):
    """Start a process that runs ``target``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    here = Path(__file__).resolve().parent
    os.environ["PYTHONPATH"] = os.pathsep.join([str(here), str(here.parents[1])])  # the server's
    started = context.Process(target=target, args=arguments, kwargs=options)
    started.start()
    return started


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
