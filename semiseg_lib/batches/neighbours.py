"""The pixels beside each pixel, and how often they have the class that it has."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semiseg_lib.datasets.labels import VOID

BESIDE = ((-1, 0), (0, -1), (0, 1), (1, 0))
CORNERS = ((-1, -1), (-1, 1), (1, -1), (1, 1))


def neighbours(maps: Tensor, count: int = 4, outside: float = 0) -> Tensor:
    """What the pixels beside each pixel hold: (count, B, C, H, W) of maps (B, C, H, W).

    Args:
        maps: anything that lies on images.
        count: 4 for those that share an edge with the pixel, 8 for its whole 3x3 window.
        outside: what is found beyond the image's borders.
    """
    height, width = maps.shape[-2:]
    padded = nn.functional.pad(maps, (1, 1, 1, 1), value=outside)
    places = {4: BESIDE, 8: BESIDE + CORNERS}[count]
    return torch.stack([
        padded[..., 1 + down:1 + down + height, 1 + right:1 + right + width]
        for down, right in places
    ])


def agreement(
    masks: Tensor, num_classes: int, count: int = 4, inside: Tensor | None = None,
    void_differs: bool = True,
) -> tuple[Tensor, Tensor]:
    """For each class the pairs of its pixels and a neighbour, those that agree and all of them.

    Both int64 (C,). The quotient is E_c. In many masks a void rim stands for every outline: without
    it all neighbours would agree. What lies beyond the border or in padding is nobody's neighbour.

    Args:
        masks: int64 (B, H, W), 255 = void.
        num_classes: C, background included.
        count: 4 or 8 neighbours.
        inside: bool (B, H, W), False where a view shows padding; None where there is none.
        void_differs: a void neighbour counts as one of another class; False leaves it out.
    """
    shown = torch.ones_like(masks, dtype=torch.bool) if inside is None else inside
    known = shown & (masks != VOID)
    beside = neighbours(masks[:, None], count, outside=VOID)[:, :, 0]
    heard = neighbours((shown if void_differs else known)[:, None].long(), count)[:, :, 0]
    index = masks.where(known, 0).expand_as(beside).flatten()
    paired = heard * known
    same, pairs = (
        torch.zeros(num_classes, dtype=torch.int64, device=masks.device).scatter_add(
            0, index, counted.flatten()
        )
        for counted in (paired * (beside == masks), paired)
    )
    return same, pairs
