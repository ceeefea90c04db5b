"""Strong views: other colours, the same geometry, drawn from the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from semiseg_lib.batches.strong_view import StrongConfig, strong_view

USUAL = StrongConfig()
NOTHING = StrongConfig(jitter=0.0, grey=0.0, blur=0.0)
COLOURS = replace(NOTHING, jitter=1.0)
LUMA = torch.tensor([0.299, 0.587, 0.114])


def noise(count: int = 4, size: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def view(images: torch.Tensor, config: StrongConfig = USUAL, seed: int = 0):
    return strong_view(images, config, np.random.default_rng(seed))


def test_with_chances_of_zero_a_view_is_the_image():
    assert torch.equal(view(noise(), NOTHING), noise())


def test_factors_of_zero_are_no_change():
    still = StrongConfig(
        jitter=1.0, brightness=0, contrast=0, saturation=0, hue=0, grey=0, blur=0
    )
    torch.testing.assert_close(view(noise(), still), noise(), atol=1e-6, rtol=0)


def test_views_follow_from_the_seed_and_stay_images():
    images = noise(60, 16)
    for seed in range(3):
        one = view(images, seed=seed)
        assert torch.equal(one, view(images, seed=seed)) and one.shape == images.shape
        assert one.min() >= 0 and one.max() <= 1 and one.dtype == images.dtype
    assert not torch.allclose(view(images, seed=0), view(images, seed=1), atol=0.01)
    assert torch.equal(images, noise(60, 16))


def test_a_view_depends_on_its_own_image_and_draws_alone():
    images, others = noise(), noise(seed=9)
    mixed = torch.cat([others[:2], images[2:]])
    assert torch.equal(view(mixed)[2:], view(images)[2:])
    same = images[:1].expand(4, -1, -1, -1)
    views = view(same, StrongConfig(jitter=1.0))
    assert all(not torch.allclose(views[i], views[j]) for i in range(4) for j in range(i))


def test_one_change_does_not_shift_the_draws_of_the_others():
    """Each image takes as many draws whatever its chances, so neighbours stay as they are."""
    images = noise(40, 12)
    halves = StrongConfig(jitter=0.0, grey=0.5, blur=0.5, sigma=(2.0, 2.0))

    def grey(views: torch.Tensor) -> torch.Tensor:
        return ((views[:, 0] - views[:, 2]).abs() < 1e-5).flatten(1).all(dim=1)

    def blurred(views: torch.Tensor) -> torch.Tensor:
        return views.mean(dim=1).diff(dim=-1).abs().mean(dim=(1, 2)) < 0.08

    plain = view(images, halves)
    assert 8 < grey(plain).sum() < 32 and 8 < blurred(plain).sum() < 32
    assert torch.equal(grey(view(images, replace(halves, blur=1.0))), grey(plain))
    assert torch.equal(grey(view(images, replace(halves, jitter=1.0))), grey(plain))
    assert torch.equal(blurred(view(images, replace(halves, grey=1.0))), blurred(plain))


@pytest.mark.parametrize("config", [
    COLOURS, replace(NOTHING, grey=1.0), replace(COLOURS, grey=1.0),
], ids=["colours", "grey", "both"])
def test_a_step_edge_stays_where_it_is(config):
    images = torch.full((6, 3, 20, 20), 0.7)
    images[:, 0] = 0.5
    images[..., 7:, :] -= 0.3
    images[..., :, 13:] -= 0.15
    changed = view(images, config)
    for rows in (slice(0, 7), slice(7, 20)):
        for columns in (slice(0, 13), slice(13, 20)):
            area = changed[..., rows, columns]
            assert (area - area[..., :1, :1]).abs().max() < 1e-5
    across = (changed[..., 6, :] - changed[..., 7, :]).abs().amax(dim=(1, 2))
    assert (across > 0.01).all()


def test_a_blur_is_centred_and_keeps_the_light():
    images = torch.zeros(5, 3, 31, 31)
    images[..., 15, 11] = 1.0
    blurred = view(images, replace(NOTHING, blur=1.0, sigma=(1.0, 1.5)))
    torch.testing.assert_close(blurred.sum(dim=(-1, -2)), torch.ones(5, 3), atol=1e-5, rtol=0)
    places = torch.arange(31.0)
    rows = (blurred.sum(dim=-1) * places).sum(dim=-1)
    columns = (blurred.sum(dim=-2) * places).sum(dim=-1)
    torch.testing.assert_close(rows, torch.full_like(rows, 15), atol=1e-4, rtol=0)
    torch.testing.assert_close(columns, torch.full_like(columns, 11), atol=1e-4, rtol=0)
    spread = (blurred.sum(dim=-1) * (places - 15) ** 2).sum(dim=-1).sqrt()[:, 0]
    assert ((spread > 0.95) & (spread < 1.5)).all() and spread.std() > 0.02


def test_grey_is_the_images_luma_in_all_channels():
    images = noise()
    grey = view(images, replace(NOTHING, grey=1.0))
    expected = (images * LUMA[:, None, None]).sum(dim=1, keepdim=True).expand_as(images)
    torch.testing.assert_close(grey, expected, atol=1e-3, rtol=0)


def test_brightness_alone_is_a_factor_within_its_reach():
    only = replace(COLOURS, brightness=0.5, contrast=0.0, saturation=0.0, hue=0.0)
    images = 0.5 * noise(200, 4) + 0.05
    factors = (view(images, only) / images).flatten(1)
    torch.testing.assert_close(factors.amin(1), factors.amax(1), atol=1e-4, rtol=0)
    factors = factors.mean(dim=1)
    assert 0.5 <= factors.min() < 0.55 and 1.45 < factors.max() <= 1.5
    assert factors.mean().item() == pytest.approx(1, abs=0.06)


def test_hue_alone_leaves_grey_images_and_the_largest_channel_alone():
    only = replace(COLOURS, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.25)
    grey = noise()[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(view(grey, only), grey, atol=1e-5, rtol=0)
    images = noise()
    turned = view(images, only)
    torch.testing.assert_close(turned.amax(1), images.amax(1), atol=1e-4, rtol=0)
    assert not torch.allclose(turned, images, atol=0.05)


def test_each_change_comes_as_often_as_it_should():
    images = noise(1, 12).expand(300, -1, -1, -1)
    for name, chance in (("jitter", 0.8), ("grey", 0.2), ("blur", 0.5)):
        changed = view(images, replace(NOTHING, **{name: chance}))
        share = (changed != images).flatten(1).any(dim=1).double().mean().item()
        assert share == pytest.approx(chance, abs=0.08), name
