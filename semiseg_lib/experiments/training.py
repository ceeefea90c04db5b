"""Train one run from its value and its opened inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import psutil
import torch
from accelerate import Accelerator

from semiseg_lib import methods
from semiseg_lib.batches.data import Data
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.loader import Loader, derived_seed
from semiseg_lib.core.terminal import say
from semiseg_lib.datasets.frozen_files import FrozenFiles
from semiseg_lib.experiments.identity import Identity, blueprint, weights_files
from semiseg_lib.experiments.machine import Machine
from semiseg_lib.experiments.values import PseudoLabels, Run
from semiseg_lib.methods.base import Method
from semiseg_lib.stores.logits import LogitsStore
from semiseg_lib.training.loop import fit
from semiseg_lib.training.memory import estimate, example_batch
from semiseg_lib.training.run_folder import RunFolder

PIXELS_WORTH_A_WARNING = 2**18
"""For larger batches, in pixels, the memory of a step is printed before training."""


def train(
    identity: Identity,
    folder: RunFolder,
    data: Data,
    images: Mapping[str, ImageSet],
    parts: Mapping[str, Any],
    machine: Machine,
    accelerator: Accelerator,
    score: Callable[[Method], float] | None = None,
) -> tuple[Method, dict[str, Any]]:
    """Train from the folder's checkpoint if there is one.

    Args:
        identity: the run and its inputs.
        folder: the run folder, for checkpoints.
        data: the opened data.
        images: the image sets that it reads, by role; see ``Inputs.image_sets``.
        parts: what it builds on, resolved, by the names of ``Run.parents``.
        machine: the machine to compute on.
        accelerator: made for this run.
        score: returns the validation mIoU in percent, for a run that is validated.

    Returns:
        The trained method and the record of the training.

    Raises:
        ValueError: a file that it learns from changed during training.
    """
    run, classes = identity.value, len(data.classes)
    torch.manual_seed(derived_seed(run.seed, run.draw) if run.draw else run.seed)
    weights, frozen = weights_files(run), FrozenFiles()
    frozen.note({path: identity.weights[name] for name, path in weights.items()})
    with frozen.reading(weights.values()):
        method = methods.build(run.method, run.model, classes)
    if run.start:
        method.load_start([parts[f"start {number}"].method
                           for number in range(1, len(run.start) + 1)])
    loader = make_loader(run, _labelled(run, images, parts), _unlabelled(images, parts),
                         accelerator.process_index, accelerator.num_processes)
    if accelerator.is_main_process:
        _announce_memory(method, loader, run, classes)
    if accelerator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(accelerator.device)
    title = f"{run.method.name} (seed {run.seed})"
    history = fit(
        method, loader, run.train, folder, accelerator, title, score=score,
        stop_at=run.stop or None, workers=machine.workers,
    )
    return method, {
        "history": history, "seconds": history[-1]["seconds"],
        "memory_gb": _memory(accelerator.device),
    }


def make_loader(
    run: Run, labelled: ImageSet, unlabelled: ImageSet | None, process: int = 0, processes: int = 1
) -> Loader:
    """Return the loader of a run: this process's share of every batch."""
    return Loader(
        labelled, unlabelled, run.train.batch_labelled, run.train.batch_unlabelled, run.views,
        run.seed, process, processes,
    )


def _labelled(run: Run, images: Mapping[str, ImageSet], parts: Mapping[str, Any]) -> ImageSet:
    if isinstance(run.masks, PseudoLabels):
        return images["labelled"].with_masks(parts["masks"].in_memory())
    return _with_logits(images["labelled"], parts.get("labelled logits"))


def _unlabelled(images: Mapping[str, ImageSet], parts: Mapping[str, Any]) -> ImageSet | None:
    if "unlabelled" not in images:
        return None
    return _with_logits(images["unlabelled"], parts.get("unlabelled logits"))


def _with_logits(images: ImageSet, store: LogitsStore | None) -> ImageSet:
    """Return the images that have stored logits, with these."""
    return images if store is None else images.named(store.names).with_logits(store.in_memory())


def refuse_contradictions(run: Run, method: Method, data: Data) -> None:
    """Raise ValueError if method, options and images are inconsistent.

    Args:
        run: the run.
        method: its method on the meta device, as :func:`blueprint` returns it.
        data: the opened data.
    """
    name = run.method.name
    if len(run.start) not in (0, method.networks):
        raise ValueError(
            f"{name} trains {method.networks} networks; start names {len(run.start)} runs."
        )
    if run.start:
        try:
            method.load_start([blueprint(one, len(data.classes)) for one in run.start])
        except RuntimeError as error:
            raise ValueError(
                f"{name} cannot start from the weights of the runs in start: their networks have "
                f"other layers or widths (model). {error}"
            ) from error
    learns_unlabelled = "unlabelled" in method.learns_from(run.method)
    if learns_unlabelled != (run.train.batch_unlabelled > 0):
        kind = "learns from" if learns_unlabelled else "sees no"
        raise ValueError(
            f"{name} {kind} unlabelled images, but train.batch_unlabelled is "
            f"{run.train.batch_unlabelled}."
        )
    if learns_unlabelled and not len(data.unlabelled):
        raise ValueError(
            f"{name} learns from images without masks, but there are none: add some, name a list "
            "that holds some (data.unlabelled), or label fewer (data.labelled)."
        )
    given = {"labelled": run.labelled_logits, "unlabelled": run.unlabelled_logits}
    for part, logits in given.items():
        if (part in method.needs_logits) != (logits is not None):
            needs = "learns from" if logits is None else "reads no"
            raise ValueError(
                f"{name} {needs} stored logits of the {part} images; {part}_logits of the run is "
                f"{'missing' if logits is None else 'set'}."
            )


def _memory(device: torch.device) -> float:
    """Return GB: peak allocation on a CUDA device, else the resident size of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return psutil.Process().memory_info().rss / 1e9


def _announce_memory(method: Method, loader: Loader, run: Run, num_classes: int) -> None:
    """Print the memory of a step if it is large."""
    labelled, unlabelled = (size // loader.processes for size in loader.batch_sizes)
    size = (run.views.crop,) * 2
    if not run.views.crop:
        size = loader.sets[0].sample(0).image.shape[1:]
    if (labelled + unlabelled) * math.prod(size) > PIXELS_WORTH_A_WARNING:
        batch = example_batch(method, num_classes, labelled, unlabelled, size)
        say(estimate(method, batch, run.train.precision, run.train.optimizer))
