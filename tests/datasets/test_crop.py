"""A view moves image, mask, boxes and stored logits together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from semiseg_lib.datasets.crop import CropConfig, View, draw_view, stored_stride
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes

SIZE = (60, 80)


def views(count: int = 40, size=SIZE, **options) -> list[View]:
    generator = torch.Generator().manual_seed(3)
    return [draw_view(size, CropConfig(**options), generator) for _ in range(count)]


def rectangle(size=SIZE, box=(20, 12, 56, 44)) -> torch.Tensor:
    mask = torch.zeros(size, dtype=torch.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask


def test_the_whole_image_at_its_own_size_is_the_image():
    view = View((64, 64), (64, 64), 0, 0, 64, flip=False)
    generator = np.random.default_rng(0)
    image = torch.from_numpy(generator.integers(0, 256, (3, 64, 64), dtype=np.uint8))
    mask = torch.from_numpy(generator.integers(0, 5, (64, 64), dtype=np.uint8))
    logits = torch.from_numpy(generator.normal(size=(5, 16, 16))).half()
    assert torch.equal(view.image(image), image) and torch.equal(view.mask(mask), mask)
    torch.testing.assert_close(view.logits(logits), logits.float(), atol=1e-5, rtol=0)
    assert view.inside().all()


def test_a_flipped_view_is_the_mirror_image_of_the_view():
    straight, mirrored = (View(SIZE, (90, 120), 10, 30, 48, flip) for flip in (False, True))
    image = torch.arange(3 * 60 * 80).reshape(3, 60, 80).to(torch.uint8)
    logits = torch.randn(2, 15, 20, generator=torch.Generator().manual_seed(0))
    for name, value in (("image", image), ("mask", rectangle()), ("logits", logits)):
        straight_value, mirrored_value = (getattr(v, name)(value) for v in (straight, mirrored))
        torch.testing.assert_close(mirrored_value, straight_value.flip(-1), atol=1e-4, rtol=0)


@pytest.mark.parametrize("view", views(crop=48, scale=(0.4, 2.0)), ids=str)
def test_boxes_go_where_the_mask_goes(view):
    """A rectangle's box in the view is the bounding box of its pixels in the view."""
    boxes = view.boxes(Boxes(np.array([[20, 12, 56, 44]], np.float32), np.array([1])))
    rows, columns = np.nonzero(view.mask(rectangle()).numpy() == 1)
    if not len(boxes):
        assert len(rows) <= view.crop  # at most a sliver that rounding leaves
        return
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(boxes.coordinates[0], found, atol=1.01)


@pytest.mark.parametrize("view", views(crop=48, scale=(0.4, 2.0)), ids=str)
def test_padding_is_void_and_outside_in_just_the_same_pixels(view):
    padding = view.mask(torch.zeros(SIZE, dtype=torch.uint8)) == VOID
    assert torch.equal(padding, ~view.inside())
    shown = [min(view.crop, scaled) for scaled in view.scaled]
    assert view.inside().sum() == shown[0] * shown[1]


@pytest.mark.parametrize("view", views(crop=48, scale=(0.4, 2.0)), ids=str)
def test_stored_logits_follow_the_image(view):
    """Images and logits that hold their own coordinates still agree after both were moved.

    The image goes through torchvision's resize, the logits through ``grid_sample``.
    """
    columns, rows = torch.meshgrid(torch.arange(80), torch.arange(60), indexing="xy")
    image = torch.stack([columns, rows, rows]).to(torch.uint8)
    stored = torch.nn.functional.avg_pool2d(torch.stack([columns, rows]).float(), 4)
    seen = torch.nn.functional.avg_pool2d(view.image(image)[:2].float(), 4)
    whole = torch.nn.functional.avg_pool2d(view.inside().float()[None], 4)[0] == 1
    middle = (seen[0] > 8) & (seen[0] < 72) & (seen[1] > 8) & (seen[1] < 52) & whole
    difference = (view.logits(stored) - seen)[:, middle]
    assert difference.numel() > 0 and difference.abs().max() < 1


def test_views_cover_the_ranges_that_were_asked_for():
    drawn = views(400, crop=48, scale=(0.5, 2.0))
    factors = np.array([view.scaled[0] / SIZE[0] for view in drawn])
    assert 0.5 <= factors.min() < 0.55 and 1.95 < factors.max() <= 2.0
    assert 0.4 < np.mean([view.flip for view in drawn]) < 0.6
    assert any(view.left < 0 for view in drawn) and any(view.left > 60 for view in drawn)


@pytest.mark.parametrize("height, stride", [(500, 4), (333, 4), (64, 2), (337, 8), (30, 4)])
def test_the_stride_of_stored_logits_is_read_off_their_size(height, stride):
    stored = (-(-height // stride), -(-(height // 2) // stride))
    assert stored_stride((height, height // 2), stored) == stride


@pytest.mark.parametrize("wrong", [{"crop": 8}, {"scale": (0, 1)}, {"scale": (2, 1)}])
def test_impossible_views_are_refused(wrong):
    with pytest.raises(ValueError, match="augment"):
        CropConfig(**wrong)
