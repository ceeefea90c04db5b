"""The convolutional self-correction against unfolded patches, and whom each term teaches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from semiseg_lib import methods
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import ConvPrimaryConfig
from semiseg_lib.methods.self_correcting.method import (
    ConvCorrection,
    ConvPrimary,
    linear_correction,
)
from semiseg_lib.models import ModelConfig

CLASSES = 3


def random_logits(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def scrambled(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with random weights in place of its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module


def conv_primary(**options) -> ConvPrimary:
    torch.manual_seed(0)
    config = ConvPrimaryConfig(**{"width": 8} | options)
    method = methods.build(config, ModelConfig(width=4), CLASSES)
    scrambled(method.correction)
    return method


def convolved(maps: torch.Tensor, convolution: nn.Conv2d) -> torch.Tensor:
    """A 3x3 convolution as a product with the patch around each pixel, zeros beyond the edge."""
    patches = functional.unfold(maps, 3, padding=1)
    summed = convolution.weight.flatten(1) @ patches + convolution.bias[:, None]
    return summed.unflatten(-1, maps.shape[-2:])


def test_the_correction_is_two_convolutions_with_one_relu_between():
    correction = scrambled(ConvCorrection(4, width=9)).double()
    logits, ancillary = random_logits(0, 2, 4, 5, 7), random_logits(1, 2, 4, 5, 7)
    hidden = convolved(torch.cat([logits, ancillary], dim=1), correction.hidden).clamp(min=0)
    expected = convolved(hidden, correction.head)
    torch.testing.assert_close(correction(logits, ancillary), expected)
    assert expected.min() < 0, "logits of q can be negative: no ReLU at the end"


@pytest.mark.parametrize("width", [2 * CLASSES, 20])
def test_it_starts_as_the_linear_correction_with_alpha_one(width):
    correction = ConvCorrection(CLASSES, width).double()
    logits, ancillary = random_logits(0, 2, 3, 5, 7), random_logits(1, 2, 3, 5, 7)
    torch.testing.assert_close(
        correction(logits, ancillary), linear_correction(logits, ancillary, 1.0)
    )


def test_a_width_that_cannot_hold_the_mean_is_refused():
    with pytest.raises(ValueError, match=r"width is 5.*at least 6.*method\.width"):
        ConvCorrection(CLASSES, width=5)


@pytest.mark.parametrize("shape", [(2, 4, 3, 3), (2, 3, 6, 6), (1, 3, 3, 3)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="differ in shape"):
        conv_primary().corrected(torch.zeros(2, 3, 3, 3), torch.zeros(shape))


def test_it_learns_what_no_alpha_can():
    """An ancillary that swaps two classes, beside a primary that knows nothing.

    Every linear correction then repeats the swap; the convolutional one undoes it, and does so on
    images that it did not learn from.
    """
    truth = torch.randint(0, 2, (8, 6, 6), generator=torch.Generator().manual_seed(0))
    ancillary = 4 * functional.one_hot(1 - truth, 2).movedim(-1, 1).float()
    logits = torch.zeros_like(ancillary)
    torch.manual_seed(0)
    correction = ConvCorrection(2, width=8)
    optimizer = torch.optim.Adam(correction.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(correction(logits[:4], ancillary[:4]), truth[:4]).backward()
        optimizer.step()
    linear = linear_correction(logits[4:], ancillary[4:], 0.5).argmax(dim=1)
    learnt = correction(logits[4:], ancillary[4:]).argmax(dim=1)
    assert (linear == truth[4:]).float().mean() == 0
    assert (learnt == truth[4:]).float().mean() > 0.95


@pytest.mark.parametrize("through", [True, False])
@pytest.mark.parametrize("stage", ["start", "full"])
def test_the_loss_is_the_sum_of_the_papers_terms(stage, through, make_batch):
    """Recomputed from the network's logits with PyTorch's own losses, gradients included."""
    batch = make_batch()
    method, twin = (conv_primary(stage=stage, through=through).train() for _ in range(2))
    losses = method.losses(batch, 0.5)

    images = [batch.labelled.images] + [batch.unlabelled.images] * (stage == "full")
    logits = twin.network(torch.cat(images))
    labelled, unlabelled = logits[:3], logits[3:]
    read = labelled if through else labelled.detach()

    def q(maps: torch.Tensor, ancillary: torch.Tensor) -> torch.Tensor:
        hidden = convolved(torch.cat([maps, ancillary], dim=1), twin.correction.hidden)
        return convolved(hidden.relu(), twin.correction.head)

    def supervised(maps: torch.Tensor) -> torch.Tensor:
        large = functional.interpolate(maps, scale_factor=2, mode="bilinear")
        return functional.cross_entropy(large, batch.labelled.masks, ignore_index=VOID)

    expected = {
        "labelled": supervised(labelled),
        "correction": supervised(q(read, batch.labelled.logits_ancillary)),
    }
    if stage == "full":
        target = q(unlabelled, batch.unlabelled.logits_ancillary).softmax(dim=1).detach()
        expected["unlabelled"] = -(target * unlabelled.log_softmax(dim=1)).sum(dim=1).mean()
    assert losses.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss, msg=name)
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    for (name, one), other in zip(method.named_parameters(), twin.parameters(), strict=True):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)


def taught(method: ConvPrimary, loss: torch.Tensor) -> set[str]:
    """The parts of the method that a term alone sends a gradient to."""
    method.zero_grad()
    loss.backward()
    return {
        name.split(".")[0] for name, parameter in method.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


@pytest.mark.parametrize("through", [True, False])
def test_each_term_teaches_its_own_part(through, make_batch):
    method, batch = conv_primary(through=through).train(), make_batch()
    both = {"network", "correction"}
    expected = {
        "labelled": {"network"},
        "unlabelled": {"network"},
        "correction": both if through else {"correction"},
    }
    for name, parts in expected.items():
        assert taught(method, method.losses(batch, 0.5)[name]) == parts, name


def test_no_gradient_flows_through_the_unlabelled_target(make_batch):
    batch = make_batch()
    ancillary = batch.unlabelled.logits_ancillary.requires_grad_()
    sum(conv_primary().losses(batch, 0.5).values()).backward()
    assert ancillary.grad is None


def test_half_precision_does_not_cut_the_correction_off(make_batch):
    """In PyTorch with issue 142234, one pass without gradients is enough to lose them all."""
    method = conv_primary()
    with torch.autocast("cpu", torch.bfloat16):
        losses = method.losses(make_batch(), 0.5)
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0
               for p in method.correction.parameters())


def test_neither_unlabelled_masks_nor_any_boxes_are_read(make_batch):
    batch, method = make_batch(), conv_primary()
    expected = method.losses(batch, 0.5)
    unlabelled = replace(
        batch.unlabelled, masks=torch.full((3, 32, 32), 99),
        box_maps=torch.full_like(batch.unlabelled.box_maps, torch.nan),
    )
    labelled = replace(
        batch.labelled, box_maps=torch.full_like(batch.labelled.box_maps, torch.nan)
    )
    again = conv_primary().losses(replace(batch, unlabelled=unlabelled, labelled=labelled), 0.5)
    assert all(torch.equal(again[name], expected[name]) for name in expected)


def test_the_full_stage_goes_on_with_what_the_first_one_learnt(make_batch):
    start, full = conv_primary(stage="start"), conv_primary(stage="full")
    sum(start.losses(make_batch(), 0.5).values()).backward()
    with torch.no_grad():
        for parameter in start.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    start.after_step(0)
    full.load_state_dict(start.state_dict())
    part = make_batch(1).labelled
    assert torch.equal(full.eval()(part.images), start.eval()(part.images))
    maps = full.head_logits(part.images)
    assert torch.equal(*(m.corrected(maps, part.logits_ancillary) for m in (full, start)))


def test_linear_and_convolutional_primary_start_from_the_same_network():
    """So that with one seed they differ in the correction alone."""
    torch.manual_seed(0)
    linear = methods.build(methods.PrimaryConfig(), ModelConfig(width=4), CLASSES)
    conv = conv_primary()
    for name, value in linear.network.state_dict().items():
        assert torch.equal(conv.network.state_dict()[name], value), name
