"""Batches of noise that every method can learn from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.datasets.labels import VOID

CLASSES, SIZE = 3, 32


def noise(seed: int = 0, count: int = 3, void: bool = False) -> Batch:
    """A batch of labelled and unlabelled images; with ``void`` no pixel carries a label."""
    generator = torch.Generator().manual_seed(seed)

    def part(prefix: str) -> dict:
        boxed = torch.rand(count, CLASSES, SIZE, SIZE, generator=generator) < 0.5
        return {
            "names": tuple(f"{prefix}{i}" for i in range(count)),
            "images": torch.rand(count, 3, SIZE, SIZE, generator=generator),
            "box_maps": boxed.float(),
            "allowed": boxed | (torch.arange(CLASSES) == 0)[:, None, None],
        }

    masks = torch.randint(0, CLASSES, (count, SIZE, SIZE), generator=generator)
    masks[torch.rand(masks.shape, generator=generator) < (2 if void else 0.1)] = VOID
    logits, logits_labelled = (
        3 * torch.randn(count, CLASSES, SIZE // 2, SIZE // 2, generator=generator)
        for _ in range(2)
    )
    return Batch(
        Part(**part("labelled"), masks=masks, logits_ancillary=logits_labelled),
        Part(**part("unlabelled"), logits_ancillary=logits),
    )


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    return noise
