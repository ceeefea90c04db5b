"""Strong views: other colours, the same geometry, drawn from the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, kstest
from torchvision.transforms.v2 import functional as v2

from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.batches.strong_view import DRAWS, KERNEL, strong_view

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


# Against torchvision, image by image


def by_torchvision(
    images: torch.Tensor, config: StrongConfig, seed: int, exact_hue
) -> torch.Tensor:
    """Each image's own draws, applied in double precision by torchvision's functions."""
    views = []
    draws = np.random.default_rng(seed).random((len(images), DRAWS))
    for image, own in zip(images.double(), draws, strict=True):
        if own[0] < config.jitter:
            brightness, contrast, saturation, hue = 2 * own[3:7] - 1
            image = v2.adjust_brightness(image, 1 + config.brightness * brightness)
            image = v2.adjust_contrast(image, 1 + config.contrast * contrast)
            image = v2.adjust_saturation(image, 1 + config.saturation * saturation)
            image = exact_hue(image, config.hue * hue)
        if own[1] < config.grey:
            image = v2.rgb_to_grayscale(image, num_output_channels=3)
        if own[2] < config.blur:
            sigma = config.sigma[0] + (config.sigma[1] - config.sigma[0]) * own[7]
            image = v2.gaussian_blur(image, [KERNEL, KERNEL], [sigma, sigma])
        views.append(image)
    return torch.stack(views)


@pytest.mark.parametrize("config", [
    USUAL, replace(USUAL, jitter=1.0, grey=0.0), replace(NOTHING, grey=1.0),
    replace(NOTHING, blur=1.0), StrongConfig(jitter=1.0, hue=0.5, blur=1.0, sigma=(0.5, 0.5)),
], ids=["usual", "jitter", "grey", "blur", "strongest"])
def test_a_view_is_torchvisions_changes_in_their_order(config, exact_hue):
    for seed in range(3):
        images = noise(40, seed=seed)
        expected = by_torchvision(images, config, seed, exact_hue)
        torch.testing.assert_close(
            view(images, config, seed).double(), expected, atol=5e-6, rtol=0
        )


def test_each_image_of_a_batch_is_seen_as_it_is_alone():
    """Another batch size takes other rows of draws only where there are more images."""
    images = noise(12)
    whole = view(images)
    for count in range(1, 12):
        torch.testing.assert_close(view(images[:count]), whole[:count], atol=2e-7, rtol=0)


def test_the_generator_is_asked_for_the_same_numbers_whatever_happens():
    for config in (USUAL, NOTHING, COLOURS):
        rng = np.random.default_rng(4)
        strong_view(noise(5), config, rng)
        other = np.random.default_rng(4)
        other.random((5, DRAWS))
        assert rng.random() == other.random()


def test_chances_are_those_of_the_configuration_and_do_not_hang_together():
    images = 0.25 + noise(1, 10).expand(4000, -1, -1, -1) / 2
    jitter, grey, blur = (
        (view(images, replace(NOTHING, **{name: getattr(USUAL, name)}), 5) != images)
        .flatten(1).any(dim=1).numpy() for name in ("jitter", "grey", "blur")
    )
    for found, chance in ((jitter, 0.8), (grey, 0.2), (blur, 0.5)):
        assert binomtest(int(found.sum()), 4000, chance).pvalue > 0.001
    assert binomtest(int((jitter & grey & blur).sum()), 4000, 0.08).pvalue > 0.001
    assert binomtest(int((grey & blur).sum()), 4000, 0.1).pvalue > 0.001


@pytest.mark.parametrize("name", ["brightness", "saturation"])
def test_factors_are_uniform(name):
    only = replace(COLOURS, **{"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, name: .5})
    images = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1).expand(3000, -1, 10, 10)
    shown = view(images, only)[:, :, 0, 0]
    spread = (shown[:, 0] - shown[:, 2]).double().numpy() / 0.2  # follows either factor
    assert kstest(spread, "uniform", (0.5, 1.0)).pvalue > 0.001


def test_contrast_hue_and_sigma_are_uniform():
    edge = torch.full((3000, 3, 10, 10), 0.4)
    edge[..., 5:] = 0.6
    still = replace(COLOURS, brightness=0, contrast=0, saturation=0, hue=0)
    contrast = view(edge, replace(still, contrast=0.5))
    factors = (contrast[:, 0, 0, 9] - contrast[:, 0, 0, 0]).double().numpy() / 0.2
    assert kstest(factors, "uniform", (0.5, 1.0)).pvalue > 0.001
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(3000, -1, 10, 10)
    turned = view(red, replace(still, hue=1 / 6))[:, :, 0, 0].double()
    turns = (turned[:, 1] - turned[:, 2]).numpy()  # towards yellow is green, else blue
    assert kstest(turns, "uniform", (-1, 2)).pvalue > 0.001
    point = torch.zeros(2000, 3, 19, 19)
    point[..., 9, 9] = 1
    blurred = view(point, replace(NOTHING, blur=1.0, sigma=(0.5, 1.5)))[:, 0].double()
    row = blurred.sum(dim=1)
    sigma = (1 / (2 * (row[:, 9] / row[:, 10]).log())).sqrt().numpy()
    assert kstest(sigma, "uniform", (0.5, 1.0)).pvalue > 0.001


def test_a_view_is_in_single_precision_under_autocast():
    images = noise()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (images.flatten(2) @ images.flatten(2).mT).dtype == torch.bfloat16
        inside = view(images, replace(USUAL, jitter=1.0, blur=1.0))
        half = view(images.bfloat16(), replace(USUAL, jitter=1.0, blur=1.0))
    assert inside.dtype == half.dtype == torch.float32
    assert torch.equal(inside, view(images, replace(USUAL, jitter=1.0, blur=1.0)))


def test_views_of_a_slice_or_an_expanded_image_leave_it_alone():
    base = noise(1)
    expanded = base.expand(6, -1, -1, -1)
    view(expanded, replace(USUAL, jitter=1.0))
    assert torch.equal(base, noise(1))


@pytest.mark.parametrize("options", [
    {"jitter": 1.5}, {"grey": -0.1}, {"blur": 2}, {"hue": 0.6}, {"sigma": (0.0, 1.0)},
    {"sigma": (2.0, 1.0)},
], ids=str)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=f"strong.{next(iter(options))} is"):
        StrongConfig(**options)
