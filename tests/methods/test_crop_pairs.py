"""Crops of a batch: where they lie, what they show, and which of their cells are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semiseg_lib.batches.part import Part
from semiseg_lib.methods.cac.crop_pairs import (
    Crops,
    crop_size,
    draw_crops,
    draw_pair,
    shared_cells,
    shared_share,
)


def coordinates(count: int, height: int, width: int) -> torch.Tensor:
    """Maps (B, 3, H, W) whose pixels say which image, row and column they are."""
    grids = torch.meshgrid(*map(torch.arange, (count, height, width)), indexing="ij")
    return torch.stack(grids, dim=1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("view, share, stride, expected", [
    ((64, 64), 0.75, 4, (48, 48)),
    ((320, 320), 2 / 3, 8, (208, 208)),
    ((64, 96), 0.5, 4, (32, 48)),
    ((64, 64), 0.01, 4, (16, 16)),  # the least
    ((40, 40), 1.0, 8, (32, 32)),   # never larger than the view
    ((100, 50), 1.0, 12, (96, 48)),  # multiples of 16 and of 12
])
def test_sides_are_multiples_of_16_and_of_the_stride_within_the_view(view, share, stride, expected):
    assert crop_size(view, share, stride) == expected


def test_a_view_that_is_too_small_for_any_crop_is_refused():
    with pytest.raises(ValueError, match=r"32x40 pixels are too small: .* multiples of 48"):
        crop_size((32, 40), 1.0, 12)


def test_a_crop_shows_its_rectangle_of_everything_mirrored_or_not():
    maps = coordinates(2, 32, 48)
    crops = Crops(np.array([[4, 8], [12, 0]]), (16, 32), np.array([False, True]))
    part = Part(("a", "b"), maps, masks=maps[:, 1], inside=maps[:, 2] < 20)
    cut = crops.cut(part)
    for number in range(2):
        for row in range(16):
            for column in range(32):
                top, left = crops.corners[number]
                place = left + (31 - column if number else column)
                assert cut.images[number, :, row, column].tolist() == [number, top + row, place]
                assert cut.masks[number, row, column] == top + row
                assert cut.inside[number, row, column] == (place < 20)
    bare = crops.cut(Part(("a", "b"), maps))
    assert bare.masks is bare.inside is None


@pytest.mark.parametrize("stride, size", [(4, (64, 64)), (8, (64, 96)), (16, (48, 64))])
def test_shared_cells_show_the_same_pixels_and_none_is_left_out(stride, size):
    """Told by maps of coordinates, averaged over cells as features are."""
    maps = coordinates(20, *size).double()
    one, two = draw_pair(maps, 0.6, stride, rng(), flip=0.5, overlap=0.1)
    assert one.flipped.any() and not one.flipped.all()
    rows = []
    for crops in (one, two):
        pooled = torch.nn.functional.avg_pool2d(crops(maps), stride)
        rows.append(pooled.movedim(1, -1).flatten(0, 2))
    first, second = shared_cells(one, two, stride)
    assert torch.equal(rows[0][first], rows[1][second])
    found = {tuple(row) for row in rows[0][first].tolist()}
    everything = [{tuple(row) for row in each.tolist()} for each in rows]
    assert len(found) == len(first) and found == everything[0] & everything[1]


def test_corners_lie_on_the_grid_and_reach_every_place():
    images = torch.zeros(400, 3, 48, 32)
    crops = draw_crops(images, 0.6, 4, rng())
    assert crops.size == (32, 16)
    assert {tuple(corner) for corner in crops.corners.tolist()} == {
        (top, left) for top in range(0, 17, 4) for left in range(0, 17, 4)
    }
    assert not crops.flipped.any()


def test_pairs_overlap_as_much_as_asked_and_are_else_as_they_come():
    images = torch.zeros(500, 3, 64, 64)
    for overlap in (0.1, 0.5):
        one, two = draw_pair(images, 0.3, 4, rng(), overlap=overlap)
        shares = [shared_share(*pair, one.size) for pair in zip(one.corners, two.corners,
                                                                strict=True)]
        assert min(shares) >= overlap
        same = np.mean([(a == b).all() for a, b in zip(one.corners, two.corners, strict=True)])
        assert same < 0.5
    drawn = draw_pair(images, 0.3, 4, rng(), overlap=0.0)
    assert min(shared_share(a, b, one.size) for a, b in
               zip(*(each.corners for each in drawn), strict=True)) == 0


def test_what_cannot_be_drawn_becomes_the_same_place():
    """Of 47x47 places one only overlaps fully; after 50 draws it is taken anyway."""
    images = torch.zeros(30, 3, 64, 64)
    one, two = draw_pair(images, 0.25, 1, rng(), overlap=1.0)
    assert (one.corners == two.corners).all()


def test_overlap_is_intersection_over_union():
    mask = np.zeros((2, 40, 40), bool)
    for number, (top, left) in enumerate(((3, 5), (10, 1))):
        mask[number, top:top + 16, left:left + 24] = True
    expected = (mask[0] & mask[1]).sum() / (mask[0] | mask[1]).sum()
    found = shared_share(np.array([3, 5]), np.array([10, 1]), (16, 24))
    assert found == pytest.approx(expected)
    assert shared_share(np.array([0, 0]), np.array([16, 0]), (16, 24)) == 0
