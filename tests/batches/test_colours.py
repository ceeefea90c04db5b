"""Changes of colour for a batch against torchvision's for one image."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as v2

from semiseg_lib.batches.colours import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    grey,
)
from semiseg_lib.batches.strong_view import KERNEL, blur

CHANGES = {
    "brightness": (adjust_brightness, v2.adjust_brightness),
    "contrast": (adjust_contrast, v2.adjust_contrast),
    "saturation": (adjust_saturation, v2.adjust_saturation),
    "hue": (adjust_hue, v2.adjust_hue),
}


def random_images(count: int = 12, size=(16, 20), seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def special_images() -> torch.Tensor:
    """Black, white, grey, every saturated colour, nearly grey ones, all 8-bit levels."""
    corners = torch.tensor([[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)]).float()
    flat = corners[:, :, None, None].expand(-1, -1, 16, 20)
    ramp = torch.linspace(0, 1, 320).view(1, 1, 16, 20).expand(1, 3, -1, -1)
    nearly = (ramp + torch.tensor([0, 1e-6, -1e-6]).view(1, 3, 1, 1)).clamp(0, 1)
    half = torch.full((1, 3, 16, 20), 0.5)
    levels = torch.randint(0, 256, (4, 3, 16, 20), generator=torch.Generator().manual_seed(1))
    two = levels[:2].float().div(255)
    two[:, 1] = two[:, 0]  # two channels that are the same
    dark = random_images(2, seed=3) / 255
    return torch.cat([flat, ramp, nearly, half, levels.float() / 255, two, dark])


IMAGES = {"random": random_images(), "special": special_images()}


def factors_for(name: str, count: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.rand(count, generator=torch.Generator().manual_seed(seed))
    return drawn - 0.5 if name == "hue" else 2 * drawn


@pytest.fixture
def expected(exact_hue):
    """What torchvision makes of each image by itself, in double precision for hue."""

    def make(name: str, images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        theirs = exact_hue if name == "hue" else CHANGES[name][1]
        return torch.stack([
            theirs(image, float(factor)) for image, factor in zip(images, factors, strict=True)
        ])

    return make


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("name", CHANGES)
def test_each_image_is_changed_as_torchvision_changes_it(name, kind, expected):
    images = IMAGES[kind]
    for seed in range(10):
        factors = factors_for(name, len(images), seed)
        ours = CHANGES[name][0](images, factors)
        assert ours.dtype == torch.float32 and ours.shape == images.shape
        difference = ours.double() - expected(name, images, factors).double()
        assert difference.abs().max() <= 1e-6
        assert ours.min() >= 0 and ours.max() <= 1


def test_nearly_grey_images_stay_nearly_grey_whatever_their_hue():
    images = special_images()[9:10]
    for turn in torch.linspace(-0.5, 0.5, 11):
        assert (adjust_hue(images, turn[None]) - images).abs().max() < 4e-6


@pytest.mark.parametrize("name, still, extreme", [
    ("brightness", 1, 0), ("contrast", 1, 0), ("saturation", 1, 0), ("hue", 0, 0.5),
])
def test_the_ends_of_the_range(name, still, extreme, expected):
    images = torch.cat(list(IMAGES.values()))
    change = CHANGES[name][0]
    unchanged = change(images, torch.full((len(images),), float(still)))
    torch.testing.assert_close(unchanged, images, atol=1e-6, rtol=0)
    ends = torch.full((len(images),), float(extreme))
    found = change(images, ends).double()
    if name == "hue":  # half a turn either way is the same
        torch.testing.assert_close(change(images, -ends).double(), found, atol=2e-6, rtol=0)
    torch.testing.assert_close(found, expected(name, images, ends).double(), atol=1e-6, rtol=0)


def test_hue_is_that_of_the_standard_library():
    images = random_images(3, (5, 6))
    turns = torch.tensor([-0.37, 0.11, 0.49])
    ours = adjust_hue(images, turns)
    for number, turn in enumerate(turns.double().tolist()):
        for row, column in np.ndindex(5, 6):
            hue, saturation, value = colorsys.rgb_to_hsv(*images[number, :, row, column].tolist())
            pixel = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
            np.testing.assert_allclose(ours[number, :, row, column], pixel, atol=1e-6)


@pytest.mark.parametrize("name", CHANGES)
def test_a_batch_is_its_images_one_by_one_and_the_input_stays(name):
    images = torch.cat(list(IMAGES.values()))
    before, factors = images.clone(), factors_for(name, len(images))
    change = CHANGES[name][0]
    whole = change(images, factors)
    assert torch.equal(images, before) and whole.data_ptr() != images.data_ptr()
    for number in range(len(images)):
        one = slice(number, number + 1)
        assert torch.equal(whole[one], change(images[one], factors[one]))


@pytest.mark.parametrize("kind", IMAGES)
def test_grey_is_torchvisions(kind):
    images = IMAGES[kind]
    ours = grey(images)
    assert ours.shape == (len(images), 1, 16, 20)
    for number, image in enumerate(images):
        theirs = v2.rgb_to_grayscale(image, num_output_channels=1)
        torch.testing.assert_close(ours[number], theirs, atol=1e-6, rtol=0)
    before = IMAGES[kind].clone()
    grey(before)
    assert torch.equal(before, images)


@pytest.mark.parametrize("kind", IMAGES)
def test_a_blur_is_torchvisions_gaussian_blur(kind):
    images = IMAGES[kind]
    sigma = np.random.default_rng(0).uniform(0.1, 2.0, len(images))
    ours = blur(images, sigma)
    for number, image in enumerate(images):
        theirs = v2.gaussian_blur(image.double(), [KERNEL, KERNEL], [sigma[number]] * 2)
        torch.testing.assert_close(ours[number].double(), theirs, atol=1e-6, rtol=0)
        single = v2.gaussian_blur(image, [KERNEL, KERNEL], [sigma[number]] * 2)
        torch.testing.assert_close(ours[number], single, atol=1e-6, rtol=0)
        alone = blur(images[number:number + 1], sigma[number:number + 1])
        torch.testing.assert_close(alone[0], ours[number], atol=1e-7, rtol=0)
