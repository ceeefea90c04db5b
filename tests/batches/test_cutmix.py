"""CutMix against loops, and its masks against the published statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from semiseg_lib.batches.cutmix import Mix, draw_masks, draw_mix
from semiseg_lib.batches.options import THREE_BOXES, CutMixConfig

ONE_BOX = CutMixConfig(chance=1.0)


def drawn(config: CutMixConfig, count: int = 300, size=(64, 64), seed: int = 0) -> np.ndarray:
    return draw_masks(count, size, config, np.random.default_rng(seed)).numpy()


def published_mask(size: int, rng: np.random.Generator) -> np.ndarray:
    """Three boxes of French et al., one by one: each turns what it covers over."""
    mask = np.zeros((size, size), bool)
    for _ in range(3):
        area = rng.uniform(0.25, 0.5)
        high = math.exp(rng.uniform(0, 1) * math.log(area))
        sides = [round(side / math.sqrt(3) * size) for side in (high, area / high)]
        top, left = (rng.integers(0, size - side + 1) for side in sides)
        for row in range(top, top + sides[0]):
            for column in range(left, left + sides[1]):
                mask[row, column] ^= True
    return mask


def test_three_boxes_cover_what_the_published_masks_cover():
    ours = drawn(THREE_BOXES, 1500, (64, 64)).mean(axis=(1, 2))
    assert ours.mean() == pytest.approx(0.2508, abs=0.006)
    assert ours.std() == pytest.approx(0.0685, abs=0.005)
    assert np.quantile(ours, [0.05, 0.95]) == pytest.approx([0.145, 0.370], abs=0.012)
    assert ours.max() < 0.5 and ours.min() > 0.01
    rng = np.random.default_rng(1)
    loops = np.array([published_mask(48, rng) for _ in range(120)])
    masks = drawn(THREE_BOXES, 600, (48, 48))
    for statistic in (lambda m: m.mean(axis=(1, 2)), lambda m: m.any(axis=2).sum(axis=1)):
        assert ks_2samp(statistic(masks), statistic(loops)).pvalue > 0.01


def test_every_place_is_covered_about_as_often_in_rows_as_in_columns():
    share = drawn(THREE_BOXES, 3000, (32, 32)).mean(axis=0)
    np.testing.assert_allclose(share, share.T, atol=0.06)
    np.testing.assert_allclose(share, share[::-1, ::-1], atol=0.06)


class Recording:
    """A generator whose draws can be looked up afterwards."""

    def __init__(self, seed: int) -> None:
        self.rng, self.drawn = np.random.default_rng(seed), []

    def __getattr__(self, name):
        def draw(*arguments, **options):
            self.drawn.append(getattr(self.rng, name)(*arguments, **options))
            return self.drawn[-1]

        return draw


@pytest.mark.parametrize("config", [ONE_BOX, CutMixConfig(), THREE_BOXES], ids=repr)
def test_a_mask_is_its_rectangles_toggled_one_after_the_other(config):
    rng, size = Recording(3), (40, 56)
    masks = draw_masks(50, size, config, rng)
    areas, heights, corners, chances = rng.drawn
    for number in range(50):
        expected = np.zeros(size, bool)
        for box in range(config.boxes):
            high = math.exp(heights[number, box])
            wide = areas[number, box] / high
            root = math.sqrt(config.boxes)
            sides = round(high / root * size[0]), round(wide / root * size[1])
            top, left = corners[number, box]
            for row in range(top, top + sides[0]):
                for column in range(left, left + sides[1]):
                    expected[row, column] ^= True
        np.testing.assert_array_equal(masks[number], expected & (chances[number] < config.chance))


def rectangle(mask: np.ndarray) -> tuple[int, int]:
    """Height and width of the one rectangle that a mask is, checked."""
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    np.testing.assert_array_equal(mask, np.outer(rows, columns))
    for side in (rows, columns):
        places = np.flatnonzero(side)
        assert places[-1] - places[0] + 1 == len(places)
    return int(rows.sum()), int(columns.sum())


def test_one_box_has_the_area_and_the_aspect_that_were_asked_for():
    height, width = 100, 200
    sides = np.array([rectangle(mask) for mask in drawn(ONE_BOX, 200, (height, width))])
    shares = sides / (height, width)
    area, aspect = shares.prod(axis=1), shares.min(axis=1) / shares.max(axis=1)
    assert area.min() > 0.02 * 0.85 and area.max() < 0.4 * 1.03
    assert np.quantile(area, [0.1, 0.5, 0.9]) == pytest.approx(
        [0.02 + 0.38 * q for q in (0.1, 0.5, 0.9)], abs=0.05
    )
    assert 0.27 < aspect.min() < 0.4 and aspect.max() > 0.9
    assert 0.4 < np.mean(shares[:, 0] > shares[:, 1]) < 0.6
    free = CutMixConfig(chance=1.0, aspect=0.0)
    lean = np.array([rectangle(mask) for mask in drawn(free, 150, (100, 100))])
    assert (lean.min(axis=1) / lean.max(axis=1)).min() < 0.1


def test_a_share_of_the_images_is_left_alone():
    assert drawn(CutMixConfig(chance=0.5), 2000, (16, 16)).any(axis=(1, 2)).mean() == pytest.approx(
        0.5, abs=0.04
    )
    assert not drawn(CutMixConfig(chance=0.0)).any()
    assert drawn(ONE_BOX).any(axis=(1, 2)).all()


def test_the_largest_box_covers_the_image_and_a_tiny_image_has_masks_too():
    assert drawn(CutMixConfig(chance=1.0, area=(1.0, 1.0))).all()
    assert drawn(THREE_BOXES, 50, (8, 8)).shape == (50, 8, 8)


def test_masks_follow_from_the_seed():
    np.testing.assert_array_equal(drawn(THREE_BOXES, seed=1), drawn(THREE_BOXES, seed=1))
    assert (drawn(THREE_BOXES, seed=1) != drawn(THREE_BOXES, seed=2)).any()


@pytest.mark.parametrize("shape", [(3, 5, 6), (3, 2, 5, 6)])
def test_mixing_pastes_the_next_image_pixel_by_pixel(shape):
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(shape, generator=generator)
    masks = torch.rand(3, 5, 6, generator=generator) < 0.5
    mixed, before = Mix(masks)(maps), maps.clone()
    for number in range(3):
        for row in range(5):
            for column in range(6):
                source = (number + 1) % 3 if masks[number, row, column] else number
                expected = maps[source, ..., row, column]
                assert torch.equal(mixed[number, ..., row, column], expected)
    assert torch.equal(maps, before) and mixed.dtype == maps.dtype


def test_images_labels_and_padding_are_mixed_alike():
    """A label that is painted into its image is still the one that lies there."""
    labels = torch.randint(0, 200, (4, 32, 48), generator=torch.Generator().manual_seed(0))
    images = (labels[:, None] / 255).expand(-1, 3, -1, -1)
    mix = draw_mix(images, ONE_BOX, np.random.default_rng(0))
    assert mix.masks.shape == (4, 32, 48) and mix.masks.any() and not mix.masks.all()
    assert torch.equal((mix(images)[:, 1] * 255).round().long(), mix(labels))
    assert torch.equal(mix(labels < 100), mix(labels) < 100)


def test_without_a_configuration_nothing_is_mixed_or_drawn():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rng = np.random.default_rng(5)
    assert torch.equal(draw_mix(images, None, rng)(images), images)
    assert rng.random() == np.random.default_rng(5).random()


@pytest.mark.parametrize("options", [
    {"area": (0.0, 0.5)}, {"area": (0.5, 0.4)}, {"area": (0.5, 1.1)}, {"boxes": 0},
    {"chance": 1.5}, {"aspect": -0.1},
], ids=repr)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match=f"cutmix.{next(iter(options))} is"):
        CutMixConfig(**options)
