"""CAC, ELN and S4MC against their plainest forms: what was made faster gives equal losses.

Loops in double precision are in the tests of each method. These forms are in single precision, in
whole tensors, as anyone would write them first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from semiseg_lib import methods
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import CACConfig, ELNConfig
from semiseg_lib.methods.cac.method import Cells, pulled
from semiseg_lib.methods.eln.method import error_loss, held_at, pixel_contrast
from semiseg_lib.methods.losses import cross_entropy, inside_at, shown_pixels
from semiseg_lib.methods.s4mc.method import indicator, threshold
from semiseg_lib.models import ModelConfig

CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def units(count: int, seed: int) -> torch.Tensor:
    return nn.functional.normalize(torch.randn(count, 16, generator=generator(seed)), dim=1)


def labels(count: int, seed: int) -> torch.Tensor:
    drawn = torch.randint(0, 4, (count,), generator=generator(seed))
    return drawn.where(torch.rand(count, generator=generator(seed)) > 0.1, VOID)


def cac_in_two_passes(one, two, negatives, negative_labels, config) -> torch.Tensor:
    """Every cell is contrasted in either direction, and those that do not move are left out."""
    total = 0.0
    for mine, other in ((one, two), (two, one)):
        moves = other.confidence > config.threshold
        if config.directional:
            moves &= mine.confidence < other.confidence
        near = (mine.vectors * other.vectors.detach()).sum(dim=1) / config.temperature
        far = mine.vectors @ negatives.T / config.temperature
        left_out = (negative_labels == VOID).expand_as(far)
        if config.filtered:
            left_out = left_out | (mine.labels[:, None] == negative_labels)
        far = far.masked_fill(left_out, -torch.inf)
        losses = torch.cat([near[:, None], far], dim=1).logsumexp(dim=1) - near
        total += losses[moves].sum() / moves.sum().clamp(min=1)
    return total


@pytest.mark.parametrize("options", [
    {}, {"directional": False}, {"filtered": False}, {"threshold": 0.0}, {"threshold": 1.0},
    {"temperature": 0.01},
])
def test_cac_in_one_pass_is_cac_in_two(options):
    config = CACConfig(**{"threshold": 0.5, **options})
    vectors = [units(3000, seed).requires_grad_() for seed in (0, 1)]
    confidence = torch.rand(2, 3000, generator=generator(2))
    confidence[:, :50] = 0  # padding
    confidence[1, 50:90] = confidence[0, 50:90]  # as sure: neither moves
    pair = [Cells(vector, labels(3000, 3 + i), confidence[i]) for i, vector in enumerate(vectors)]
    results = []
    for form in (pulled, cac_in_two_passes):
        loss = form(*pair, units(200, 5), labels(200, 6), config)
        results.append((loss, *torch.autograd.grad(loss, vectors)))
    assert results[0][0] > 0 or config.threshold == 1
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("shape", [(2, 2, 9, 7), (3, 21, 16, 16)])
def test_s4mcs_margin_and_threshold_are_those_of_sorting(shape):
    maps = torch.randn(shape, generator=generator(0)).softmax(dim=1)
    maps[0, :2, 0] = 0.5  # as likely as each other
    one, two = maps.topk(2, dim=1).values.unbind(dim=1)
    margins = indicator(maps)
    assert torch.equal(margins, one - two)
    assert torch.equal(indicator(maps, "confidence"), one)
    for inside in (1.0, 0.6, 0.0):
        shown = torch.rand(margins.shape, generator=generator(1)) < inside
        ordered = margins[shown].sort().values
        for share in (0.0, 0.001, 0.2, 0.4, 1.0):
            rank = round(share * len(ordered))
            expected = ordered[rank - 1] if rank else torch.tensor(-torch.inf)
            assert torch.equal(threshold(margins, shown, share), expected)


def plain_contrast(anchors, others, known, temperature) -> torch.Tensor:
    """The mean over anchors, one at a time."""
    terms = []
    for anchor, label in zip(anchors, known, strict=True):
        near, far = known == label, (known != label) & (known != VOID)
        if label != VOID and near.any() and far.any():
            powers = (others @ anchor / temperature).exp()
            terms.append(-(powers[near].sum() / (powers[near].sum() + powers[far].sum())).log())
    return sum(terms) / len(terms)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_elns_contrast_is_that_of_one_anchor_at_a_time(temperature):
    anchors, known, results = units(150, 0), labels(150, 1), []
    others = units(150, 2).requires_grad_()
    for form in (pixel_contrast, plain_contrast):
        loss = form(anchors, others, known, temperature)
        results.append((loss, torch.autograd.grad(loss, others)[0]))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, **CLOSE)


def plain_eln(method, batch) -> dict[str, torch.Tensor]:
    """Every loss on its own: what it reads is enlarged for it, and labels are made by argmax."""
    config, labelled, unlabelled = method.config, batch.labelled, batch.unlabelled
    rng, count = np.random.default_rng(batch.seed), len(labelled.images)
    view = strong_view(unlabelled.images, config.strong, rng)
    network = method.network
    scales = network.encode(torch.cat([labelled.images, unlabelled.images, view]))
    features = network.decode_features(scales)
    logits = network.head(features)
    main = cross_entropy(logits[:count], labelled.masks)
    others = [one.decode([scale[:count].detach() for scale in scales]) for one in method.auxiliary]
    held = [held_at(ratio, cross_entropy(other, labelled.masks), main)
            for ratio, other in zip(config.ratios, others, strict=True)]

    def enlarged(one):
        return nn.functional.interpolate(
            one, size=unlabelled.images.shape[-2:], mode="bilinear", align_corners=False
        )

    predicted = [one.detach() for one in (*others, logits[:count])]
    right = method.error(torch.cat(len(predicted) * [labelled.images]), torch.cat(predicted))
    wrong = [
        error_loss(judged, enlarged(one).argmax(dim=1), labelled.masks, config.balance)
        for one, judged in zip(predicted, right.chunk(len(predicted)), strict=True)
    ]
    with torch.no_grad():
        teacher = method.average.module
        anchors = teacher.decode_features(teacher.encode(unlabelled.images))
        taught = teacher.head(anchors)
        method.error.eval()
        kept = method.error(unlabelled.images, taught).sigmoid() >= config.threshold
        method.error.train()
        kept &= shown_pixels(unlabelled)
        target = enlarged(taught).argmax(dim=1).where(kept, VOID)
        cells = taught.argmax(dim=1).where(inside_at(kept, taught.shape[-2:]), VOID).flatten()
    assert 0.1 < kept.float().mean() < 0.9
    views, vectors = logits[count:].chunk(2), features[count:].chunk(2)
    loss = sum(cross_entropy(one, target) for one in views)
    drawn = rng.choice(len(cells), min(config.pixels, len(cells)), replace=False)
    projected = [method.projector(one).permute(0, 2, 3, 1).flatten(0, 2)[drawn]
                 for one in (anchors, *vectors)]
    loss = loss + config.contrast * sum(
        pixel_contrast(projected[0].detach(), one, cells[drawn], config.temperature)
        for one in projected[1:]
    )
    return {"labelled": main, "auxiliary": sum(held), "error": sum(wrong),
            "unlabelled": config.weight * loss}


def test_eln_that_enlarges_once_is_eln_that_enlarges_for_every_loss(make_batch):
    config = ELNConfig(ratios=(0.0, 0.5), auxiliary_from=0.0, unlabelled_from=0.0, pixels=300)
    results = []
    for form in (lambda method, batch: method.losses(batch, 0.5), plain_eln):
        torch.manual_seed(0)
        method = methods.build(config, ModelConfig(width=4), 3).train()
        torch.nn.init.zeros_(method.average.module.head.bias)  # or one class wins everywhere
        torch.nn.init.zeros_(method.error.network.head.bias)
        losses = form(method, replace(make_batch(), seed=4))
        sum(losses.values()).backward()
        results.append((losses, {name: p.grad for name, p in method.named_parameters()}))
    (found, gradients), (expected, others) = results
    assert all(loss > 0 for loss in expected.values())
    torch.testing.assert_close(found, expected, check_dtype=False, **CLOSE)
    for name, gradient in others.items():
        if gradient is not None:
            torch.testing.assert_close(gradients[name], gradient, rtol=1e-4, atol=1e-6)
