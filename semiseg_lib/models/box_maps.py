"""Checks of the box maps that a network reads, and of the module that reads them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Attention = Callable[[int, int], nn.Module]
"""``attention(box_channels, channels)`` makes a module of (features, box maps): features."""


def check_box_maps(box_maps: Tensor | None, box_channels: int) -> None:
    """Raise ValueError where box maps are missing, or given to a network that reads images only."""
    if box_channels == 0 and box_maps is not None:
        raise ValueError("this network reads images only; leave the box maps out")
    if box_channels and box_maps is None:
        raise ValueError(f"this network also reads {box_channels} box maps; pass box_maps")


def check_attention(attention: Attention | None) -> Attention:
    """Return the module that reads box maps.

    Raises:
        ValueError: there is none.
    """
    if attention is None:
        raise ValueError(
            "a network with a pretrained encoder reads box maps through attention only: pass "
            "attention, or set the attribute attention of the method's class"
        )
    return attention
