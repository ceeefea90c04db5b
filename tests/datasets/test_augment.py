"""What lies on an image moves with it, to the pixel; colours change nothing but colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from semiseg_lib.datasets.augment import (
    AugmentConfig,
    Geometry,
    draw_colours,
    draw_geometry,
    move,
    recolour,
)

COUNT, HEIGHT, WIDTH = 24, 16, 24


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coordinate_image() -> torch.Tensor:
    """(B, 1, H, W): every pixel of the batch holds a number that no other holds."""
    return torch.arange(COUNT * HEIGHT * WIDTH, dtype=torch.float32).view(COUNT, 1, HEIGHT, WIDTH)


def drawn(stride: int, shift: int = 8) -> Geometry:
    return draw_geometry(COUNT, AugmentConfig(shift=shift), stride, generator())


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_image_mask_boxes_and_logits_stay_aligned(stride):
    geometry = drawn(stride)
    assert geometry.flips.any() and not geometry.flips.all()
    assert (geometry.shifts > 0).any(dim=0).all() and (geometry.shifts < 0).any(dim=0).all()
    image = coordinate_image()
    mask = image[:, 0].long()
    box_maps = torch.cat([image, 2 * image], dim=1)
    logits = avg_pool2d(image.double(), stride)

    moved = move(image, geometry)
    assert torch.equal(move(mask, geometry), moved[:, 0].long())
    assert torch.equal(move(box_maps, geometry), torch.cat([moved, 2 * moved], dim=1))
    assert torch.equal(move(logits, geometry, stride), avg_pool2d(moved.double(), stride))
    assert not torch.equal(moved, image)


@pytest.mark.parametrize("shift", [3, 8, 15])
def test_moving_is_a_mirrored_shift_and_then_a_flip(shift):
    """Against NumPy's symmetric padding, image by image."""
    geometry, image = drawn(1, shift), coordinate_image()
    moved = move(image, geometry).numpy()
    for place in range(COUNT):
        rows, columns = geometry.shifts[place].tolist()
        padded = np.pad(image[place, 0].numpy(), 15, mode="symmetric")
        expected = padded[15 - rows:15 - rows + HEIGHT, 15 - columns:15 - columns + WIDTH]
        if geometry.flips[place]:
            expected = expected[:, ::-1]
        assert np.array_equal(moved[place, 0], expected)


def test_a_shift_beyond_the_image_still_reads_pixels_of_its_own_image():
    geometry = Geometry(torch.zeros(COUNT, dtype=torch.bool), torch.full((COUNT, 2), -100))
    moved = move(coordinate_image(), geometry)
    owner = moved.flatten(1).div(HEIGHT * WIDTH, rounding_mode="floor")
    assert torch.equal(owner, torch.arange(COUNT).float()[:, None].expand_as(owner))


@pytest.mark.parametrize("stride, allowed", [
    (1, range(-8, 9)), (2, range(-8, 9, 2)), (3, range(-6, 7, 3)),
])
def test_shifts_are_multiples_of_the_stride_within_reach_and_all_occur(stride, allowed):
    geometry = draw_geometry(2000, AugmentConfig(shift=8, flip=0.25), stride, generator())
    assert set(geometry.shifts.unique().tolist()) == set(allowed)
    assert 0.2 < geometry.flips.float().mean() < 0.3


def test_no_augmentation_leaves_everything_as_it_is():
    config = AugmentConfig(flip=0, shift=0, brightness=0, contrast=0, saturation=0, hue=0)
    image = torch.rand(COUNT, 3, HEIGHT, WIDTH, generator=generator())
    geometry = draw_geometry(COUNT, config, 1, generator())
    assert torch.equal(move(image, geometry), image)
    colours = draw_colours(COUNT, generator())
    assert torch.allclose(recolour(image, colours, config), image, atol=1e-6)


@pytest.mark.parametrize("hue", [0.0, 0.2])
def test_colours_stay_in_range_and_differ_from_image_to_image(hue):
    config = AugmentConfig(brightness=0.9, contrast=0.9, saturation=0.9, hue=hue)
    images = torch.rand(1, 3, HEIGHT, WIDTH, generator=generator()).expand(COUNT, -1, -1, -1)
    views = recolour(images, draw_colours(COUNT, generator()), config)
    assert views.shape == images.shape and views.min() >= 0 and views.max() <= 1
    assert len({view.numpy().tobytes() for view in views}) == COUNT


def test_recolouring_moves_nothing():
    """A black image with one bright square keeps its square where it is."""
    images = torch.zeros(COUNT, 3, HEIGHT, WIDTH)
    images[:, :, 2:5, 7:11] = 0.8
    views = recolour(images, draw_colours(COUNT, generator()), AugmentConfig())
    inside = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    inside[2:5, 7:11] = True
    darkest_inside = views[..., inside].amin(dim=(1, 2))
    assert (darkest_inside > views[..., ~inside].amax(dim=(1, 2)) + 0.1).all()


def test_one_images_colours_do_not_depend_on_its_neighbours():
    images = torch.rand(COUNT, 3, HEIGHT, WIDTH, generator=generator())
    colours = draw_colours(COUNT, generator(1))
    whole = recolour(images, colours, AugmentConfig(hue=0.1))
    alone = recolour(images[3:4], colours[3:4], AugmentConfig(hue=0.1))
    assert torch.equal(whole[3:4], alone)
