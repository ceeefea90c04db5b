"""What a training step reads: a batch, and its labelled and unlabelled parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """One part of a batch, labelled or unlabelled.

    Attributes:
        names: B image names.
        images: float32 (B, 3, H, W) in [0, 1].
        masks: int64 (B, H, W) class ids, 255 = void; None for images without masks.
        box_maps: float32 (B, C, H, W) of zeros and ones; None where not asked for.
        allowed: bool (B, C, H, W), the classes that the boxes of each image allow in a pixel; None
            where not asked for. True everywhere in padding.
        logits_ancillary: float32 (B, C, h, w) at head resolution; None where not asked for.
        inside: bool (B, H, W), False where a view shows padding instead of its image; None where
            there is no padding. Masks are void there.
    """

    names: tuple[str, ...]
    images: Tensor
    masks: Tensor | None = None
    box_maps: Tensor | None = None
    allowed: Tensor | None = None
    logits_ancillary: Tensor | None = None
    inside: Tensor | None = None

    def to(self, device: torch.device) -> Part:
        """Return the same part with its tensors on ``device``."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Part:
        """Return the same part in page-locked memory, from which a GPU copies faster."""
        return self._changed(Tensor.pin_memory)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Part:
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "names"}
        return replace(self, **{k: change(v) for k, v in tensors.items() if v is not None})


@dataclass(frozen=True)
class Batch:
    """What a method learns from in one step.

    Attributes:
        labelled: images with masks.
        unlabelled: images without masks; None for methods that see none.
        seed: of this step and process, for what a method draws by itself, such as strong views.
    """

    labelled: Part
    unlabelled: Part | None = None
    seed: int = 0

    def to(self, device: torch.device) -> Batch:
        """Return the same batch with its tensors on ``device``."""
        return self._changed(lambda part: part.to(device))

    def pin_memory(self) -> Batch:
        """Return the same batch in page-locked memory."""
        return self._changed(Part.pin_memory)

    def _changed(self, change: Callable[[Part], Part]) -> Batch:
        unlabelled = self.unlabelled and change(self.unlabelled)
        return replace(self, labelled=change(self.labelled), unlabelled=unlabelled)
