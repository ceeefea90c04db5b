"""Estimate the memory of a training step before the run, without computing anything."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef
from tqdm import tqdm

from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.methods.base import Method

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
STATES = {"adamw": 2, "adam": 2, "sgd": 1}  # values that an optimizer keeps per trained weight
Precision = Literal["no", "fp16", "bf16"]


@dataclass(frozen=True)
class MemoryEstimate:
    """Memory of one process on its device at the end of the forward pass, in bytes.

    This is most of the peak; the libraries' workspace, temporaries and allocator fragmentation come
    on top.

    Attributes:
        weights: the trained weights, in single precision.
        gradients: one per trained weight.
        optimizer: the optimizer's state, from the second step on.
        average: what is not trained: the moving average, frozen weights, batch statistics.
        activations: saved by the forward pass for the backward pass; grow with the batch.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        """Return the sum of all parts, in bytes."""
        return sum(vars(self).values())

    def __str__(self) -> str:
        parts = sorted(vars(self).items(), key=lambda item: -item[1])
        listed = ", ".join(f"{name} {tqdm.format_sizeof(size, 'B')}" for name, size in parts)
        return f"about {tqdm.format_sizeof(self.total, 'B')}: {listed}"


def estimate(
    method: Method,
    batch: Batch,
    precision: Precision = "no",
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw",
) -> MemoryEstimate:
    """Estimate the memory of a training step of ``method`` on a batch of these shapes.

    The losses are run on tensors without values, so nothing is computed and nothing of the batch's
    size is allocated; the method is copied once and not changed.

    Args:
        method: on any device; best called before it is moved to the target device.
        batch: the shapes of one process's batch; see :func:`example_batch`.
        precision: autocast, as in training.
        optimizer: the name of the optimizer whose state is counted.

    Raises:
        RuntimeError: the losses depend on values, so they need real tensors.
    """
    learnt = sum(p.nbytes for p in method.parameters() if p.requires_grad)
    everything = sum(t.nbytes for t in [*method.parameters(), *method.buffers()])
    hollow = _on_meta(method)
    with FakeTensorMode(allow_non_fake_inputs=True):
        # Fake tensors are meta tensors that report the CPU: autocast needs that.
        hollow = hollow.to_empty(device="cpu")
        empty = batch.changed(lambda tensor: torch.empty_like(tensor, device="cpu"))
        activations = saved_bytes(hollow, empty, precision)
    return MemoryEstimate(
        weights=learnt, gradients=learnt, optimizer=STATES[optimizer] * learnt,
        average=everything - learnt, activations=activations,
    )


def example_batch(
    method: Method, num_classes: int, labelled: int, unlabelled: int, size: tuple[int, int]
) -> Batch:
    """Return the shapes of a batch, as tensors without memory.

    Args:
        method: sets the size of the stored logits.
        num_classes: C, background included.
        labelled, unlabelled: images per process and forward pass; 0 leaves the part out.
        size: (H, W) of the views in pixels, multiples of 16.
    """
    with torch.no_grad(), torch.device("meta"):
        maps = torch.empty(2, num_classes, *size)
        head = _on_meta(method).head_logits(torch.empty(2, 3, *size), maps).shape[-2:]

        def part(count: int, masks: bool) -> Part:
            return Part(
                names=("",) * count,
                images=torch.empty(count, 3, *size),
                masks=torch.empty(count, *size, dtype=torch.int64) if masks else None,
                box_maps=torch.empty(count, num_classes, *size),
                allowed=torch.empty(count, num_classes, *size, dtype=torch.bool),
                logits_ancillary=torch.empty(count, num_classes, *head),
                inside=torch.empty(count, *size, dtype=torch.bool),
            )

        return Batch(part(labelled, True), part(unlabelled, False) if unlabelled else None)


def saved_bytes(method: Method, batch: Batch, precision: Precision = "no") -> int:
    """Return the bytes that the losses' forward pass saves for backward, without weights.

    Args:
        method: in training mode.
        batch: on the method's device.
        precision: autocast.
    """
    kept: dict[StorageWeakRef, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(StorageWeakRef(tensor.untyped_storage()), tensor)
        return tensor

    own = {StorageWeakRef(t.untyped_storage()) for t in [*method.parameters(), *method.buffers()]}
    dtype = AUTOCAST.get(precision)
    device = batch.labelled.images.device.type
    autocast = torch.autocast(device, dtype, enabled=dtype is not None)
    try:
        with saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
            method.losses(batch, 0.5)
    except RuntimeError as error:
        raise RuntimeError(
            f"the memory of {type(method).__name__} cannot be counted for this batch: {error}"
        ) from error
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


def _on_meta(method: Method) -> Method:
    """Return a copy in training mode whose tensors have shapes but no values."""
    return copy.deepcopy(method).to("meta").train()
