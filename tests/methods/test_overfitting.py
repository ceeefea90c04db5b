"""Every method learns four images by heart: the shortest proof that its gradients point right."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from every_method import CLASSES, CONFIGS, SIZE, build

from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.batches.part import Batch, Part
from semiseg_lib.methods import SupervisedConfig

STEPS, BAR = 40, 0.8
BLOCK = 8  # pixels; the head has half of the image's resolution, and its logits are enlarged
MILD = StrongConfig(0.8, 0.2, 0.2, 0.2, hue=0.0, grey=0.0, blur=0.5, sigma=(0.1, 0.5))
COLOURS = torch.tensor([[0.9, 0.2, 0.2], [0.2, 0.8, 0.3], [0.2, 0.3, 0.9]])


def four(seed: int, unlabelled: bool) -> Part:
    """Four images of coloured blocks; the colours tell the classes, and no pixel is void."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, CLASSES, (4, SIZE // BLOCK, SIZE // BLOCK), generator=generator)
    masks = blocks.repeat_interleave(BLOCK, dim=1).repeat_interleave(BLOCK, dim=2)
    noise = 0.1 * torch.randn(4, 3, SIZE, SIZE, generator=generator)
    maps = torch.nn.functional.one_hot(masks, CLASSES).movedim(-1, 1).float()
    return Part(
        names=tuple("abcd"),
        images=(COLOURS[masks].movedim(-1, 1) + noise).clamp(0, 1),
        masks=None if unlabelled else masks,
        box_maps=maps,
        allowed=maps.bool(),
        logits_ancillary=8 * maps[..., ::2, ::2],
    )


LABELLED, UNLABELLED = four(0, unlabelled=False), four(1, unlabelled=True)


def learnt(config, labelled: Part, steps: int = STEPS):
    """The method after some steps on the same images, and the next ones for its own draws."""
    method = build(config).train()
    groups = [{"params": group["params"]} for group in method.parameter_groups()]
    optimizer = torch.optim.AdamW(groups, lr=0.02)
    for step in range(steps):
        optimizer.zero_grad()
        sum(method.losses(Batch(labelled, UNLABELLED, seed=step), step / STEPS).values()).backward()
        optimizer.step()
        method.after_step(step)
    return method.eval()


@torch.inference_mode()
def accuracy(method) -> float:
    """The share of the labelled images' pixels that the deployed model gets right."""
    boxes = LABELLED.box_maps if method.uses_boxes else None
    found = method(LABELLED.images, boxes).argmax(dim=1)
    return (found == LABELLED.masks).float().mean().item()


def quick(config):
    """As it needs to be to learn in few steps.

    The average soon forgets and seldom replaces the student, strong views keep what tells the
    classes apart, and guesses at other images do not outweigh the masks.
    """
    changed = {"ema_decay": min(config.ema_decay, 0.5)}
    if hasattr(config, "weight"):
        changed["weight"] = min(config.weight, 0.1)
    if hasattr(config, "reset"):
        changed["reset"] = 10 * config.reset
    if getattr(config, "strong", None):
        changed["strong"] = MILD
    return replace(config, **changed)


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_every_method_overfits_four_labelled_images(config):
    config = quick(config)
    assert accuracy(learnt(config, LABELLED, steps=0)) < 0.6
    assert accuracy(learnt(config, LABELLED)) > BAR


def test_with_the_labels_of_other_images_it_would_not():
    """Whoever does not look at an image's own mask stays far below the bar."""
    strangers = replace(LABELLED, masks=LABELLED.masks.roll(1, dims=0))
    assert accuracy(learnt(quick(SupervisedConfig()), strangers)) < 0.6
