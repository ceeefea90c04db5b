"""One training run from its configuration: load it, continue it, or run it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator

from semiseg_lib import methods
from semiseg_lib.batches.data import Data, DataConfig
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.loader import Loader, drawn_seed
from semiseg_lib.batches.weak_view import ViewConfig
from semiseg_lib.datasets.lists import list_digest
from semiseg_lib.durable import atomic_write, held
from semiseg_lib.memory import estimate, example_batch
from semiseg_lib.methods import AnyMethodConfig
from semiseg_lib.methods.base import Method
from semiseg_lib.models import ModelConfig
from semiseg_lib.options import added
from semiseg_lib.runs import RunFolder
from semiseg_lib.stores.logits import LogitsStore
from semiseg_lib.train import TrainConfig, fit, make_accelerator

PIXELS_WORTH_A_WARNING = 2**18
"""A batch of more pixels than this is announced with the memory that a step will take."""

Stores = Mapping[str, LogitsStore]
"""Stored ancillary logits by the part of a batch that they belong to."""


@dataclass(frozen=True)
class RunConfig:
    """All that decides the result of one training run, and with it the name of its folder.

    Attributes:
        labels_from: whose labels are learnt where they are not the seed's own masks: a logits
            store's source, or a word for other labelled images; "" for none.
        lists: digest of the image lists.
        starts_from: fingerprints of the runs whose weights this one starts with; "" for fresh ones.
        draw: a number for further draws of fresh weights; 0 draws the seed's own.
    """

    method: AnyMethodConfig
    data: DataConfig
    model: ModelConfig
    augment: ViewConfig
    train: TrainConfig
    seed: int
    labels_from: str = ""
    lists: str = added("")
    starts_from: str = added("")
    draw: int = added(0)


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        config: what was asked for.
        folder: where it lies.
        method: the trained method, in evaluation mode.
        record: ``history`` (rows), ``seconds``, ``classes``.
        which: the weights that the method holds: ``last`` or ``best``.
    """

    config: RunConfig
    folder: RunFolder
    method: Method
    record: dict
    which: str = "last"

    @property
    def history(self) -> list[dict[str, float]]:
        return self.record["history"]


@dataclass(frozen=True)
class Machine:
    """Where and how a run is computed; none of it decides the result.

    Attributes:
        device: "cpu" to stay on the CPU; None takes the best device there is.
        root: the folder that holds real datasets; None asks ``SEMISEG_DATA``.
        workers: processes that read batches ahead; 0 reads them in this one.
        trackers: names of experiment trackers, such as ``tensorboard``.
        resume: continue unfinished runs; False starts those again.
    """

    device: str | None = None
    root: Path | None = None
    workers: int = 0
    trackers: tuple[str, ...] = ()
    resume: bool = True


def open_run(
    folder: RunFolder, config: RunConfig, device: str | None = None, which: str = "last"
) -> Trained:
    """Load a finished run: its ``last`` weights, or the ``best`` on the validation images."""
    record = folder.read_record()
    # The run's own weights come next, so no other ones are fetched for any of its networks.
    networks = {name: replace(value, weights="") for name, value in vars(config.method).items()
                if isinstance(value, ModelConfig)}
    method = methods.build(
        replace(config.method, **networks), replace(config.model, weights=""),
        len(record["classes"]),
    )
    folder.load_weights(method, which)
    device = make_accelerator(config.train, device).device
    return Trained(config, folder, method.to(device).eval(), record, which)


def run(
    config: RunConfig,
    folder: RunFolder,
    data: Data,
    machine: Machine,
    labels: Stores,
    labelled: ImageSet | None = None,
    start: Sequence[Trained] = (),
    score: Callable[[Method], float] | None = None,
) -> None:
    """Train, from the folder's checkpoint where there is one, and store the result.

    Of several commands or chapters that ask for the same run, one trains it and the others wait.
    The processes of one distributed job are no such rivals: they train it together.

    Args:
        config: the run.
        folder: where it goes.
        data: the images.
        machine: what it is computed on.
        labels: stored logits, for methods that need them.
        labelled: images with masks, where not the seed's own choice.
        start: the runs whose weights to start with, one for each network that the method trains.
        score: the validation mIoU in percent, for runs that are validated on the way.

    Raises:
        ValueError: the method needs logits that were not passed.
    """
    accelerator = make_accelerator(
        config.train, machine.device, trackers=machine.trackers, folder=folder.path
    )
    alone = accelerator.num_processes == 1
    with held(folder.path) if alone else nullcontext():
        if not (alone and folder.finished):  # another command may have finished it meanwhile
            _run(accelerator, config, folder, data, machine, labels, labelled, start, score)


def _run(
    accelerator: Accelerator,
    config: RunConfig,
    folder: RunFolder,
    data: Data,
    machine: Machine,
    labels: Stores,
    labelled: ImageSet | None,
    start: Sequence[Trained],
    score: Callable[[Method], float] | None,
) -> None:
    if accelerator.is_main_process:
        if not machine.resume:
            folder.delete()
        folder.write_config(config)
        _write_lists(data, folder)
    accelerator.wait_for_everyone()
    torch.manual_seed(drawn_seed(config.seed, config.draw) if config.draw else config.seed)
    method = methods.build(config.method, config.model, len(data.classes))
    if start:
        method.begin_with([one.method for one in start])
    if ("unlabelled" in method.learns_from) != (config.train.batch_unlabelled > 0):
        kind = "learns from" if "unlabelled" in method.learns_from else "sees no"
        raise ValueError(
            f"{config.method.name} {kind} unlabelled images, but train.batch_unlabelled is "
            f"{config.train.batch_unlabelled}."
        )
    if "unlabelled" in method.learns_from and not len(data.unlabelled):
        raise ValueError(
            f"{config.method.name} learns from images without masks, but there are none: add "
            "some, name a list that holds some (data.unlabelled), or label fewer (data.labelled)."
        )
    if missing := set(method.needs_logits) - set(labels):
        raise ValueError(
            f"{config.method.name} learns from stored logits of the {' and '.join(missing)} "
            "images; pass them as labels."
        )
    labelled = data.labelled if labelled is None else labelled
    loader = make_loader(
        _for_method(labelled, method, labels.get("labelled")),
        _for_method(data.unlabelled, method, labels.get("unlabelled"))
        if "unlabelled" in method.learns_from else None,
        config, accelerator.process_index, accelerator.num_processes,
    )
    if accelerator.is_main_process:
        _announce_memory(method, loader, config, len(data.classes))
    if accelerator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(accelerator.device)
    title = f"{config.method.name} (seed {config.seed})"
    history = fit(
        method, loader, config.train, folder, accelerator, title,
        score=score, workers=machine.workers,
    )
    if accelerator.is_main_process:
        folder.finish(method.state_dict(), {
            "history": history, "seconds": history[-1]["seconds"], "classes": data.classes,
            "memory_gb": _memory(accelerator.device),
        })
    accelerator.wait_for_everyone()


def _write_lists(data: Data, folder: RunFolder) -> None:
    """Leave the names of all images, and the digest of each list, beside the run."""
    digests = {name: list_digest(members) for name, members in data.names.items()}
    with atomic_write(folder.path / "lists.json") as temporary:
        text = json.dumps({"digests": digests, **data.names}, indent=1)
        temporary.write_text(text, encoding="utf-8")


def _memory(device: torch.device) -> float:
    """Gigabytes: the peak that was allocated on a CUDA device, elsewhere the process's own size."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return psutil.Process().memory_info().rss / 1e9


def make_loader(
    labelled: ImageSet, unlabelled: ImageSet | None, config: RunConfig,
    process: int = 0, processes: int = 1,
) -> Loader:
    """Return the batches of a run, for this process's share of each."""
    train = config.train
    return Loader(
        labelled, unlabelled, train.batch_labelled, train.batch_unlabelled, config.augment,
        config.seed, process, processes,
    )


def _announce_memory(
    method: Method, loader: Loader, config: RunConfig, num_classes: int
) -> None:
    """Print what a large step will take."""
    labelled, unlabelled = (size // loader.processes for size in loader.batch_sizes)
    size = (config.augment.crop,) * 2
    if not config.augment.crop:
        size = loader.sets[0].sample(0).image.shape[1:]
    if (labelled + unlabelled) * math.prod(size) > PIXELS_WORTH_A_WARNING:
        batch = example_batch(method, num_classes, labelled, unlabelled, size)
        print(estimate(method, batch, config.train.precision, config.train.optimizer))


def _for_method(images: ImageSet, method: Method, store: LogitsStore | None) -> ImageSet:
    """The images that a method learns from, giving what it reads.

    Where it learns from stored logits these are the images that have some.
    """
    images = images.giving(*method.reads)
    if store is None:
        return images
    return images.named(store.names).with_logits(store.in_memory())
