"""The input of a training step: a batch, and its labelled and unlabelled parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """One part of a batch, labelled or unlabelled.

    Attributes:
        names: B image names.
        images: float32 (B, 3, H, W) in [0, 1].
        masks: int64 (B, H, W) class ids, 255 = void; None for images without masks.
        box_maps: float32 (B, C, H, W) of zeros and ones; None if not requested.
        allowed: bool (B, C, H, W), the classes that the boxes of each image allow in a pixel; True
            in padding; None if not requested.
        logits_ancillary: float32 (B, C, h, w) at head resolution; None if not requested.
        inside: bool (B, H, W), False in the padding of a view, where masks are void; None without
            padding.
    """

    names: tuple[str, ...]
    images: Tensor
    masks: Tensor | None = None
    box_maps: Tensor | None = None
    allowed: Tensor | None = None
    logits_ancillary: Tensor | None = None
    inside: Tensor | None = None

    def to(self, device: torch.device) -> Part:
        """Return a copy with all tensors on ``device``."""
        return self.changed(lambda tensor: tensor.to(device, non_blocking=True))

    def changed(self, change: Callable[[Tensor], Tensor]) -> Part:
        """Return a copy with ``change`` applied to every tensor."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "names"}
        return replace(self, **{k: change(v) for k, v in tensors.items() if v is not None})


@dataclass(frozen=True)
class Batch:
    """The input of one training step.

    Attributes:
        labelled: images with masks.
        unlabelled: images without masks; None for methods that use none.
        seed: seed of this step and process, for the method's own randomness, such as strong views.
    """

    labelled: Part
    unlabelled: Part | None = None
    seed: int = 0

    def to(self, device: torch.device) -> Batch:
        """Return a copy with all tensors on ``device``."""
        return self.changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return a copy in page-locked memory, which copies faster to a GPU."""
        return self.changed(Tensor.pin_memory)

    def changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Return a copy with ``change`` applied to every tensor of both parts."""
        unlabelled = self.unlabelled and self.unlabelled.changed(change)
        return replace(self, labelled=self.labelled.changed(change), unlabelled=unlabelled)


def required(value: T | None, name: str) -> T:
    """Return a part of a batch, or a tensor of a part, that a method cannot do without.

    Args:
        value: what the batch or the part has.
        name: what it is called.

    Raises:
        ValueError: it is None.
    """
    if value is None:
        raise ValueError(f"the method learns from {name}, and the batch has none.")
    return value
