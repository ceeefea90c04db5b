"""The shared pieces against PyTorch, autograd and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pixel_loops import logits, masks
from torch import nn
from torch.nn import functional

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.averaging import MovingAverage
from semiseg_lib.methods.losses import (
    confident_cross_entropy,
    cross_entropy,
    enlarge,
    restrict,
    soft_cross_entropy,
)


def test_cross_entropy_is_pytorchs_mean_over_the_labelled_pixels():
    maps = logits(2, 4, 6, 8).requires_grad_()
    truth = masks(2, 6, 8)
    ours = cross_entropy(maps, truth)
    theirs = functional.cross_entropy(maps, truth, ignore_index=VOID)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        torch.autograd.grad(ours, maps)[0], torch.autograd.grad(theirs, maps)[0]
    )


def test_cross_entropy_is_taken_at_the_size_of_the_mask():
    maps, truth = logits(2, 4, 3, 4), masks(2, 6, 8)
    large = functional.interpolate(maps, size=(6, 8), mode="bilinear", align_corners=False)
    expected = functional.cross_entropy(large, truth, ignore_index=VOID)
    torch.testing.assert_close(cross_entropy(maps, truth), expected)


def test_cross_entropy_without_a_label_is_zero_and_teaches_nothing():
    maps = logits(2, 4, 6, 8).requires_grad_()
    loss = cross_entropy(maps, torch.full((2, 6, 8), VOID))
    loss.backward()
    assert loss.item() == 0 and torch.equal(maps.grad, torch.zeros_like(maps))


def test_void_pixels_have_no_say_whatever_the_logits_there():
    maps, truth = logits(2, 4, 6, 8), masks(2, 6, 8)
    wild = maps + 1e4 * (truth == VOID)[:, None] * logits(2, 4, 6, 8, seed=5)
    torch.testing.assert_close(cross_entropy(wild, truth), cross_entropy(maps, truth))


def test_soft_cross_entropy_has_the_gradient_of_kl_per_pixel():
    q = logits(2, 4, 5, 7, seed=2).softmax(dim=1)
    maps = logits(2, 4, 5, 7).requires_grad_()
    kl = functional.kl_div(maps.log_softmax(dim=1), q, reduction="none").sum(dim=1).mean()
    torch.testing.assert_close(
        torch.autograd.grad(soft_cross_entropy(maps, q), maps)[0],
        torch.autograd.grad(kl, maps)[0],
    )
    entropy = -(q * q.log()).sum(dim=1).mean()
    torch.testing.assert_close(soft_cross_entropy(maps, q), kl + entropy)


def test_soft_cross_entropy_does_not_grow_with_the_image_or_the_batch():
    """The reduction is a mean over pixels: a larger map of the same contents costs the same."""
    maps, q = logits(1, 4, 3, 3), logits(1, 4, 3, 3, seed=2).softmax(dim=1)
    tiled = soft_cross_entropy(maps.repeat(5, 1, 4, 4), q.repeat(5, 1, 4, 4))
    torch.testing.assert_close(tiled, soft_cross_entropy(maps, q))


def test_soft_cross_entropy_with_one_hot_targets_is_cross_entropy():
    maps, truth = logits(2, 4, 6, 8), masks(2, 6, 8, void=0)
    one_hot = functional.one_hot(truth, 4).movedim(-1, 1).double()
    torch.testing.assert_close(soft_cross_entropy(maps, one_hot), cross_entropy(maps, truth))


def test_the_target_of_soft_cross_entropy_takes_no_gradient():
    maps = logits(1, 4, 2, 2).requires_grad_()
    source = logits(1, 4, 2, 2, seed=2).requires_grad_()
    soft_cross_entropy(maps, source.softmax(dim=1)).backward()
    assert maps.grad.abs().sum() > 0 and source.grad is None


def allowed_maps(*shape: int, share: float, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < share


def possible_by_loop(allowed: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """What any pixel of each position's rectangle allows, bool (B, C, h, w)."""
    count, classes, height, width = allowed.shape
    possible = np.zeros((count, classes, *size), bool)
    for image, label, row, column in np.ndindex(*possible.shape):
        top, bottom = row * height // size[0], -(-(row + 1) * height // size[0])
        left, right = column * width // size[1], -(-(column + 1) * width // size[1])
        possible[image, label, row, column] = any(
            bool(allowed[image, label, y, x])
            for y in range(top, bottom) for x in range(left, right)
        )
    return possible


@pytest.mark.parametrize("size", [(8, 12), (4, 6), (2, 3), (1, 1), (3, 5)], ids=str)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_restricted_logits_are_those_of_a_loop(size, share):
    maps, allowed = logits(3, 4, *size), allowed_maps(3, 4, 8, 12, share=share)
    before, untouched = maps.clone(), allowed.clone()
    found, possible = restrict(maps, allowed), possible_by_loop(allowed, size)
    assert found.shape == maps.shape and found.dtype == maps.dtype
    free = maps.softmax(dim=1).numpy()
    for image, row, column in np.ndindex(3, *size):
        may = possible[image, :, row, column]
        if not may.any():
            may = np.ones(4, bool)
        values = found[image, :, row, column].numpy()
        assert (values[may] == maps[image, :, row, column].numpy()[may]).all()
        assert (values[~may] == np.finfo(values.dtype).min).all()
        shared = free[image, :, row, column] * may
        np.testing.assert_allclose(
            found.softmax(dim=1)[image, :, row, column], shared / shared.sum(), rtol=1e-12
        )
    assert torch.equal(maps, before) and torch.equal(allowed, untouched)


def test_restricted_logits_can_be_enlarged():
    maps, allowed = logits(2, 4, 3, 3), allowed_maps(2, 4, 6, 6, share=0.3)
    assert enlarge(restrict(maps, allowed), (12, 12)).softmax(dim=1).isfinite().all()


def test_a_position_that_allows_nothing_stays_as_it_is():
    maps, allowed = logits(2, 4, 3, 3), allowed_maps(2, 4, 6, 6, share=0.3)
    allowed[0, :, 2:4, :2] = False
    assert torch.equal(restrict(maps, allowed)[0, :, 1, 0], maps[0, :, 1, 0])
    assert torch.equal(restrict(maps, torch.zeros_like(allowed)), maps)
    assert torch.equal(restrict(maps, torch.ones_like(allowed)), maps)


@pytest.mark.parametrize("precision", [None, torch.bfloat16])
@pytest.mark.parametrize("scale", [3.0, 1e4])
def test_restricted_labels_give_finite_losses_and_gradients(precision, scale):
    """Also where a class that is sure is forbidden, and in the bfloat16 of autocast."""
    source = logits(2, 4, 4, 4, seed=2, scale=scale).float()
    allowed = allowed_maps(2, 4, 8, 8, share=0.15)
    allowed[0, :, :2, :2] = False
    images = logits(2, 3, 4, 4).float().requires_grad_()
    torch.manual_seed(0)
    head = nn.Conv2d(3, 4, 1)
    with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
        maps = head(images)
        assert maps.dtype == (precision or torch.float32)
        target = restrict(source.to(maps.dtype), allowed)
        assert target.dtype == maps.dtype and not target.isnan().any()
        q = target.softmax(dim=1)
        loss = soft_cross_entropy(maps, q, torch.ones(2, 8, 8, dtype=torch.bool))
    possible = torch.from_numpy(possible_by_loop(allowed, (4, 4)))
    possible |= ~possible.any(dim=1, keepdim=True)
    assert torch.isfinite(q).all() and (q[~possible] == 0).all() and torch.isfinite(loss)
    torch.testing.assert_close(q.float().sum(dim=1), torch.ones(2, 4, 4), rtol=0, atol=1e-2)
    loss.backward()
    for gradient in (images.grad, head.weight.grad, head.bias.grad):
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


def test_gradients_through_restricted_logits_are_finite_and_stop_at_what_is_forbidden():
    maps = logits(2, 4, 4, 4).requires_grad_()
    allowed = allowed_maps(2, 4, 8, 8, share=0.15)
    allowed[:, 1] = True
    restrict(maps, allowed).softmax(dim=1)[:, 1].sum().backward()
    possible = torch.from_numpy(possible_by_loop(allowed, (4, 4)))
    assert torch.isfinite(maps.grad).all() and (maps.grad[~possible] == 0).all()
    assert (maps.grad[possible] != 0).any()


def test_enlarging_keeps_pixel_areas_aligned():
    """Half-size cells average back to themselves inside, and a flip commutes with enlarging."""
    maps = logits(1, 2, 4, 6)
    large = enlarge(maps, (8, 12))
    torch.testing.assert_close(enlarge(maps.flip(-1), (8, 12)), large.flip(-1))
    ramp = torch.arange(6, dtype=torch.float64).view(1, 1, 1, 6).expand(1, 1, 4, 6)
    assert enlarge(ramp, (8, 12))[0, 0, 3, 1:-1].tolist() == pytest.approx(
        [0.25 + 0.5 * i for i in range(10)]
    )
    assert enlarge(maps, (4, 6)) is maps


class Tiny(nn.Module):
    """One weight and one batch normalisation, so that floats and counters are followed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x * self.weight)


@pytest.mark.parametrize("decay", [0.0, 0.6, 0.9, 0.999])
def test_the_moving_average_is_the_one_of_a_loop(decay):
    network = Tiny()
    average = MovingAverage(network, decay)
    generator = torch.Generator().manual_seed(0)
    expected = None
    for update in range(30):
        values = torch.randn(3, generator=generator)
        with torch.no_grad():
            network.weight.copy_(values)
            network.norm.running_mean.copy_(-values)
            network.norm.num_batches_tracked.fill_(update + 1)
        average.update_parameters(network)
        d = min(decay, 1 - 1 / (update + 1))
        expected = values.clone() if update == 0 else d * expected + (1 - d) * values
        torch.testing.assert_close(average.module.weight, expected)
        torch.testing.assert_close(average.module.norm.running_mean, -expected)
        assert average.module.norm.num_batches_tracked == update + 1


def test_the_moving_average_is_a_plain_mean_at_first():
    network, seen = Tiny(), []
    average = MovingAverage(network, 0.99)
    for value in (4.0, 8.0, -3.0, 5.0):
        with torch.no_grad():
            network.weight.fill_(value)
        average.update_parameters(network)
        seen.append(value)
        assert average.module.weight[0].item() == pytest.approx(sum(seen) / len(seen))


def test_the_moving_average_neither_learns_nor_touches_the_network():
    network = Tiny()
    average = MovingAverage(network, 0.9)
    assert not any(p.requires_grad for p in average.parameters())
    with torch.no_grad():
        network.weight.fill_(2.0)
    average.update_parameters(network)
    with torch.no_grad():
        average.module.weight.zero_()
    assert network.weight.tolist() == [2, 2, 2] and network.weight.requires_grad


def test_the_moving_average_goes_on_where_its_state_was_stored():
    """The number of updates is part of the state; without it the decay would start anew."""
    networks = [Tiny(), Tiny()]
    averages = [MovingAverage(network, 0.9) for network in networks]
    for step in range(12):
        for network, average in zip(networks, averages, strict=True):
            with torch.no_grad():
                network.weight.fill_(float(step**2))
            average.update_parameters(network)
        if step == 5:
            fresh = MovingAverage(networks[1], 0.9)
            fresh.load_state_dict(averages[1].state_dict())
            averages[1] = fresh
    assert torch.equal(averages[0].module.weight, averages[1].module.weight)


def test_the_moving_average_keeps_to_evaluation_mode():
    network = Tiny()
    average = MovingAverage(network, 0.9)
    holder = nn.ModuleList([network, average])
    for change in (average.train, holder.train, holder.eval, holder.train):
        change()
        assert not any(module.training for module in average.modules())
    assert network.training and average.train() is average
    before = average.module.norm.running_mean.clone()
    average(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(average.module.norm.running_mean, before)


def test_confident_cross_entropy_is_a_sum_over_the_sure_and_a_mean_over_the_shown():
    maps, labels = logits(2, 4, 6, 8), masks(2, 6, 8)
    inside = torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(3)) < 0.7
    total, shown = 0.0, 0
    for number, row, column in np.ndindex(2, 6, 8):
        if not inside[number, row, column]:
            continue
        shown += 1
        if (label := int(labels[number, row, column])) != VOID:
            powers = [math.exp(value) for value in maps[number, :, row, column].tolist()]
            total -= math.log(powers[label] / sum(powers))
    found = confident_cross_entropy(maps, labels, inside).item()
    assert found == pytest.approx(total / shown, rel=1e-12)
    half = labels.clone()
    half[1] = VOID
    everywhere = torch.ones_like(inside)
    one = confident_cross_entropy(maps[:1], labels[:1], everywhere[:1])
    torch.testing.assert_close(confident_cross_entropy(maps, half, everywhere), one / 2)


def test_confident_cross_entropy_is_taken_at_the_size_of_the_label():
    maps, labels = logits(2, 4, 3, 4), masks(2, 6, 8)
    everywhere = torch.ones(2, 6, 8, dtype=torch.bool)
    large = functional.interpolate(maps, size=(6, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(
        confident_cross_entropy(maps, labels, everywhere),
        confident_cross_entropy(large, labels, everywhere),
    )


@pytest.mark.parametrize("labels, inside", [(VOID, True), (1, False), (VOID, False)])
def test_confident_cross_entropy_of_nothing_is_zero_and_teaches_nothing(labels, inside):
    maps = logits(2, 4, 6, 8).requires_grad_()
    loss = confident_cross_entropy(
        maps, torch.full((2, 6, 8), labels), torch.full((2, 6, 8), inside)
    )
    loss.backward()
    assert loss.item() == 0 and torch.equal(maps.grad, torch.zeros_like(maps))
