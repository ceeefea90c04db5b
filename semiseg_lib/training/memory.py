"""How much memory a training step will take, told before the run and without computing anything."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.methods.base import Method

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
STATES = {"adamw": 2, "adam": 2, "sgd": 1}  # numbers an optimiser keeps for each learnt weight
Precision = Literal["no", "fp16", "bf16"]


@dataclass(frozen=True)
class MemoryEstimate:
    """What one process keeps on its device at the end of the forward pass, in bytes.

    The largest part of the peak, not all of it: the libraries' work space, short-lived results and
    the gaps of the allocator come on top.

    Attributes:
        weights: what is learnt, in single precision.
        gradients: one for each of them.
        optimizer: its state, from the second step on.
        average: what is not learnt: the moving average, frozen weights, batch statistics.
        activations: what the forward pass keeps for the backward pass; grows with the batch.
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        """All parts together, in bytes."""
        return sum(vars(self).values())

    def __str__(self) -> str:
        parts = sorted(vars(self).items(), key=lambda item: -item[1])
        listed = ", ".join(f"{name} {_readable(size)}" for name, size in parts)
        return f"about {_readable(self.total)}: {listed}"


def estimate(
    method: Method,
    batch: Batch,
    precision: Precision = "no",
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw",
) -> MemoryEstimate:
    """The memory of a training step of ``method`` on a batch of these shapes.

    Its losses are run on tensors without values, so nothing is computed and nothing of the batch's
    size is held; the method itself is copied once and stays as it is.

    Args:
        method: on any device; best before it is moved to the one that must hold it.
        batch: the shapes of one process's batch; see :func:`example_batch`.
        precision: autocast, as in training.
        optimizer: whose state is counted.

    Raises:
        RuntimeError: the losses depend on values, so that they need real tensors.
    """
    learnt = sum(_size(p) for p in method.parameters() if p.requires_grad)
    everything = sum(_size(t) for t in [*method.parameters(), *method.buffers()])
    hollow = _on_meta(method)
    with FakeTensorMode(allow_non_fake_inputs=True):
        activations = saved_bytes(_without_values(hollow), _empty(batch), precision)
    return MemoryEstimate(
        weights=learnt, gradients=learnt, optimizer=STATES[optimizer] * learnt,
        average=everything - learnt, activations=activations,
    )


def example_batch(
    method: Method, num_classes: int, labelled: int, unlabelled: int, size: tuple[int, int]
) -> Batch:
    """Return the shapes of a batch, as tensors without memory.

    Args:
        method: the stored logits have the size of its own.
        num_classes: C, background included.
        labelled, unlabelled: images of one process in a forward pass; with 0 there is no such part.
        size: (H, W) of the views in pixels, multiples of 16.
    """
    with torch.no_grad(), torch.device("meta"):
        maps = torch.empty(2, num_classes, *size)
        head = _on_meta(method).head_logits(torch.empty(2, 3, *size), maps).shape[-2:]

    def part(count: int, masks: bool) -> Part:
        with torch.device("meta"):
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
    """What the losses' forward pass keeps for the backward pass, in bytes; weights left out.

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
            losses = sum(method.losses(batch, 0.5).values())
    except RuntimeError as error:
        raise RuntimeError(
            f"the memory of {type(method).__name__} cannot be counted for this batch: {error}"
        ) from error
    del losses
    return sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)


def _on_meta(method: Method) -> Method:
    """A copy in training mode whose tensors have shapes and no values."""
    return copy.deepcopy(method).to("meta").train()


def _without_values(hollow: Method) -> Method:
    """Fake tensors are meta tensors that say they are on the CPU: autocast heeds no others."""
    return hollow.to_empty(device="cpu")


def _empty(batch: Batch) -> Batch:
    def part(one: Part) -> Part:
        return Part(**{
            name: torch.empty_like(value, device="cpu") if isinstance(value, Tensor) else value
            for name, value in vars(one).items()
        })

    return Batch(part(batch.labelled), batch.unlabelled and part(batch.unlabelled))


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _readable(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
