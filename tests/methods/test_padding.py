"""Padding in a view: whatever lies there, unlabelled losses and what they teach stay the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pixel_loops import Pixelwise
from torch import nn

from semiseg_lib.batches.options import THREE_BOXES, CutMixConfig, StrongConfig
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import ConvPrimaryConfig, CPSConfig, FixMatchConfig, PrimaryConfig
from semiseg_lib.methods.cps.method import CPS
from semiseg_lib.methods.fixmatch.method import FixMatch
from semiseg_lib.methods.losses import inside_at, soft_cross_entropy
from semiseg_lib.methods.self_correcting.method import ConvCorrection, ConvPrimary, Primary


def random_maps(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def window(size: int = 32) -> torch.Tensor:
    """Three views: no padding; padding on two sides, not at multiples of a stride; a thin strip."""
    inside = torch.ones(3, size, size, dtype=torch.bool)
    inside[1, :5] = inside[1, :, 27:] = False
    inside[2, :, 9:] = False
    return inside


@pytest.mark.parametrize("stride", [1, 2, 4, 16])
def test_a_head_pixel_is_inside_if_all_of_its_pixels_are(stride):
    inside = window()
    size = (32 // stride, 32 // stride)
    expected = [[[bool(view[r * stride:(r + 1) * stride, c * stride:(c + 1) * stride].all())
                  for c in range(size[1])] for r in range(size[0])] for view in inside]
    assert inside_at(inside, size).tolist() == expected


def test_soft_cross_entropy_is_the_mean_over_the_pixels_inside():
    maps, q = random_maps(0, 3, 4, 16, 16), random_maps(1, 3, 4, 16, 16).softmax(dim=1)
    inside = window()
    kept = inside_at(inside, (16, 16))
    terms = [-(q[b, :, r, c] * maps[b, :, r, c].log_softmax(dim=0)).sum()
             for b, r, c in kept.nonzero()]
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(soft_cross_entropy(maps, q, inside), expected)
    everything = torch.ones_like(inside)
    torch.testing.assert_close(soft_cross_entropy(maps, q, everything), soft_cross_entropy(maps, q))
    assert torch.equal(soft_cross_entropy(maps, q), nn.functional.cross_entropy(maps, q))


def test_soft_cross_entropy_with_nothing_inside_is_zero_and_teaches_nothing():
    maps = random_maps(0, 2, 4, 4, 4).requires_grad_()
    q = random_maps(1, 2, 4, 4, 4).softmax(dim=1)
    loss = soft_cross_entropy(maps, q, torch.zeros(2, 8, 8, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and torch.equal(maps.grad, torch.zeros_like(maps))


def cells() -> nn.Module:
    """A network in which each logit sees its own 2x2 pixels only, so that padding can be told."""
    torch.manual_seed(0)
    return nn.Conv2d(3, 3, kernel_size=2, stride=2)


def built(config) -> Primary | ConvPrimary:
    if isinstance(config, PrimaryConfig):
        return Primary(config, cells())
    correction = ConvCorrection(3, config.width)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        correction.head.weight += 0.1 * torch.randn(correction.head.weight.shape,
                                                    generator=generator)
        correction.hidden.weight += 0.1 * torch.randn(correction.hidden.weight.shape,
                                                      generator=generator)
    return ConvPrimary(config, cells(), correction)


CONFIGS = [
    PrimaryConfig(), PrimaryConfig(correction="none"), ConvPrimaryConfig(width=8),
    ConvPrimaryConfig(width=8, through=False),
]


def poisoned(part, images: bool):
    """The part with other values wherever there is padding."""
    outside = ~part.inside
    logits_outside = ~inside_at(part.inside, part.logits_ancillary.shape[-2:])
    return replace(
        part,
        images=part.images + 1e3 * outside[:, None] if images else part.images,
        logits_ancillary=part.logits_ancillary + 1e3 * logits_outside[:, None]
        * torch.tensor([1.0, -2.0, 0.5])[:, None, None],
    )


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_what_lies_in_the_padding_has_no_say(config, make_batch):
    batch, inside = make_batch(), window()
    masks = batch.labelled.masks.masked_fill(~inside, VOID)
    labelled = replace(batch.labelled, inside=inside, masks=masks)
    unlabelled = replace(batch.unlabelled, inside=inside)
    method = built(config)
    clean = replace(batch, labelled=labelled, unlabelled=unlabelled)
    changed = replace(
        batch, labelled=poisoned(labelled, images=False),
        unlabelled=poisoned(unlabelled, images=True),
    )
    assert not torch.equal(changed.unlabelled.logits_ancillary, unlabelled.logits_ancillary)
    parameters = [p for p in method.parameters() if p.requires_grad]
    expected, losses = method.losses(clean, 0.5), method.losses(changed, 0.5)
    for name, loss in losses.items():
        assert torch.equal(loss, expected[name]), name
        teaching = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        before = torch.autograd.grad(
            expected[name], parameters, retain_graph=True, allow_unused=True
        )
        for one, other in zip(teaching, before, strict=True):
            assert one is other is None or torch.equal(one, other), name
    ignored = replace(changed, labelled=replace(changed.labelled, inside=None),
                      unlabelled=replace(changed.unlabelled, inside=None))
    assert not torch.equal(method.losses(ignored, 0.5)["unlabelled"], expected["unlabelled"])


@pytest.mark.parametrize("config", CONFIGS, ids=repr)
def test_views_that_are_all_padding_teach_nothing_and_break_nothing(config, make_batch):
    batch = make_batch()
    nothing = torch.zeros(3, 32, 32, dtype=torch.bool)
    unlabelled = replace(batch.unlabelled, inside=nothing)
    losses = built(config).losses(replace(batch, unlabelled=unlabelled), 0.5)
    assert losses["unlabelled"].item() == 0
    sum(losses.values()).backward()


WITHIN = StrongConfig(brightness=0.3, contrast=0.0, blur=0.0)
"""Strong views that look at one pixel at a time; contrast and blur look further."""
UNLABELLED = [
    FixMatchConfig(threshold=0.5, strong=WITHIN, cutmix=None),
    FixMatchConfig(threshold=0.5, strong=WITHIN, cutmix=CutMixConfig(chance=1.0), views=2),
    FixMatchConfig(threshold=0.5, strong=WITHIN, cutmix=None, feature_dropout=0.5),
    CPSConfig(), CPSConfig(cutmix=THREE_BOXES), CPSConfig(cutmix=THREE_BOXES, label_passes="eval"),
]


def of_pixels(config) -> FixMatch | CPS:
    networks = [Pixelwise(0), Pixelwise(1)][: 1 + isinstance(config, CPSConfig)]
    return (CPS if isinstance(config, CPSConfig) else FixMatch)(config, *networks)


@pytest.mark.parametrize("config", UNLABELLED, ids=repr)
def test_padding_has_no_say_without_boxes(config, make_batch):
    batch, inside = make_batch(), window()
    masks = batch.labelled.masks.masked_fill(~inside.flip(0), VOID)
    labelled = replace(batch.labelled, inside=inside.flip(0), masks=masks)
    clean = replace(batch, labelled=labelled, unlabelled=replace(batch.unlabelled, inside=inside))
    dark = {
        name: replace(part, images=part.images.where(part.inside[:, None], 0.9))
        for name, part in (("labelled", labelled), ("unlabelled", clean.unlabelled))
    }
    changed = replace(clean, **dark)
    assert not torch.equal(changed.unlabelled.images, clean.unlabelled.images)
    method = of_pixels(config)
    parameters = [p for p in method.parameters() if p.requires_grad]
    expected, losses = method.losses(clean, 0.5), method.losses(changed, 0.5)
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], rtol=1e-12, atol=0)
        teaching, before = (
            torch.autograd.grad(one, parameters, retain_graph=True, allow_unused=True)
            for one in (loss, expected[name])
        )
        torch.testing.assert_close(teaching, before, rtol=1e-9, atol=1e-12)
    ignored = replace(changed, unlabelled=replace(changed.unlabelled, inside=None),
                      labelled=replace(changed.labelled, inside=None))
    found = method.losses(ignored, 0.5)["unlabelled"]
    assert not torch.isclose(found, expected["unlabelled"], rtol=1e-4)


@pytest.mark.parametrize("config", UNLABELLED, ids=repr)
def test_images_that_are_all_padding_teach_nothing_without_boxes(config, make_batch):
    batch = make_batch()
    nothing = torch.zeros(3, 32, 32, dtype=torch.bool)
    void = torch.full_like(batch.labelled.masks, VOID)
    losses = of_pixels(config).losses(replace(
        batch, labelled=replace(batch.labelled, inside=nothing, masks=void),
        unlabelled=replace(batch.unlabelled, inside=nothing),
    ), 0.5)
    assert losses["unlabelled"].item() == 0 == losses["labelled"].item()
    sum(losses.values()).backward()
