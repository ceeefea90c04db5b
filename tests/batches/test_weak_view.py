"""Everything that lies on an image moves with it, to the pixel, and every view is as likely."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare, kstest
from torch.nn.functional import avg_pool2d, grid_sample
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from semiseg_lib.batches.boxes import Allowed, class_maps
from semiseg_lib.batches.options import ViewConfig
from semiseg_lib.batches.weak_view import (
    DRAWS,
    PADDING_COLOUR,
    View,
    draw_view,
    jitter,
    recolour,
    stored_stride,
)
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes

SIZE = (60, 80)
CLASSES = 5


def views(count: int = 40, size=SIZE, seed: int = 3, stride: int = 1, **options) -> list[View]:
    draws = np.random.default_rng(seed).random((count, DRAWS))
    return [draw_view(size, ViewConfig(**options), row, stride) for row in draws]


def many_views() -> list[View]:
    """Views of images of odd sizes: larger, smaller, shifted, padded or mirrored at the edge."""
    generator = np.random.default_rng(11)
    found = []
    for number in range(60):
        size = tuple(generator.integers(17, 130, 2).tolist())
        found += views(
            1, size, number, crop=int(generator.integers(16, 100)), scale=(0.3, 2.4),
            shift=int(generator.integers(0, 12)), border=("padding", "mirror")[number % 2],
        )
    return found


def described(view: View) -> str:
    return (
        f"{view.source}-{view.scaled}-{view.top}-{view.left}-{view.size}-{view.flip}-{view.border}"
    )


MANY = many_views()
CROPPED = views(crop=48, scale=(0.4, 2.0))
over_many = pytest.mark.parametrize("view", MANY, ids=described)
over_cropped = pytest.mark.parametrize("view", CROPPED, ids=described)


def noise(size, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (channels, *size), dtype=np.uint8)


def folded(place: int, side: int) -> int:
    """A place beyond the edge, mirrored in: 1 0 | 0 1 ... side - 1 | side - 1 ..."""
    while not 0 <= place < side:
        place = -1 - place if place < 0 else 2 * side - 1 - place
    return place


def window(view: View, maps: np.ndarray, padding) -> np.ndarray:
    """The view of maps (C, H, W) on the whole resized image, pixel by pixel."""
    height, width = view.scaled
    assert maps.shape[1:] == view.scaled
    shown = np.empty((len(maps), *view.size), maps.dtype)
    for row in range(view.size[0]):
        for column in range(view.size[1]):
            r = view.top + row
            c = view.left + (view.size[1] - 1 - column if view.flip else column)
            if view.border == "mirror":
                r, c = folded(r, height), folded(c, width)
            beyond = not (0 <= r < height and 0 <= c < width)
            shown[:, row, column] = padding if beyond else maps[:, r, c]
    return shown


def random_boxes(size, generator: np.random.Generator, count: int = 4) -> Boxes:
    """Boxes on whole, sixteenth or odd fractions of pixels, some thinner than a pixel."""
    rows = []
    for number in range(count):
        (x0, x1), (y0, y1) = (np.sort(generator.uniform(0, side, 2)) for side in size[::-1])
        sides = np.array([x0, y0, x1, y1])
        sides = (np.round(sides), np.round(16 * sides) / 16, sides)[number % 3]
        sides[2:] = np.maximum(sides[2:], sides[:2] + 0.1)
        rows.append(sides.clip(0, np.tile(size[::-1], 2)))
    return Boxes(np.array(rows), generator.integers(1, CLASSES, count))


def rectangle(size=SIZE, box=(20, 12, 56, 44)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask


# The image


def test_the_many_views_are_of_every_kind():
    larger = [view.scaled[0] > view.source[0] for view in MANY]
    padded = [view.border == "padding" and not view.inside().all() for view in MANY]
    mirrored = [
        view.border == "mirror" and (view.top < 0 or view.left < 0) for view in MANY
    ]
    for kind in (larger, padded, mirrored, [view.flip for view in MANY]):
        assert 5 < sum(kind) < 55


@over_many
def test_an_image_is_a_part_of_the_whole_image_that_torchvision_resizes(view):
    image = noise(view.source)
    scaled = v2.resize(
        torch.from_numpy(image), list(view.scaled), InterpolationMode.BILINEAR, antialias=True
    )
    shown = view.image(image)
    expected = window(view, scaled.numpy(), PADDING_COLOUR[:, 0, 0])
    assert shown.dtype == np.uint8 and shown.shape == (3, *view.size)
    np.testing.assert_array_equal(shown, expected)
    lying = np.ascontiguousarray(image.transpose(1, 2, 0)).transpose(2, 0, 1)  # as it is read
    np.testing.assert_array_equal(view.image(lying), expected)


@over_many
def test_another_library_resizes_to_the_same_image_within_two_grey_levels(view):
    image = noise(view.source)
    whole = Image.fromarray(image.transpose(1, 2, 0)).resize(
        view.scaled[::-1], Image.Resampling.BILINEAR
    )
    expected = window(view, np.asarray(whole).transpose(2, 0, 1), PADDING_COLOUR[:, 0, 0])
    assert np.abs(view.image(image).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("border", ["padding", "mirror"])
def test_without_resizing_an_image_is_cut_out_exactly(border):
    for view in views(30, (37, 53), crop=41, shift=9, border=border):
        image = noise((37, 53))
        np.testing.assert_array_equal(
            view.image(image), window(view, image, PADDING_COLOUR[:, 0, 0])
        )


def test_the_whole_image_at_its_own_size_is_the_image():
    generator = np.random.default_rng(0)
    image, mask = noise((64, 50)), generator.integers(0, CLASSES, (64, 50), dtype=np.uint8)
    logits = generator.normal(size=(CLASSES, 16, 13)).astype(np.float16)
    boxes = random_boxes((64, 50), generator)
    drawn = views(5, (64, 50), flip=0.0)
    for view in (View.whole((64, 50)), *drawn):
        assert view == View.whole((64, 50))
        np.testing.assert_array_equal(view.image(image), image)
        np.testing.assert_array_equal(view.mask(mask), mask)
        np.testing.assert_array_equal(
            view.box_maps(boxes, CLASSES), class_maps(boxes, CLASSES, (64, 50))
        )
        np.testing.assert_array_equal(view.logits(logits), logits)
        assert view.inside().all()


def test_a_view_does_not_change_what_it_is_of():
    """Nor does it share its memory: what is kept in memory would be spoiled."""
    image, mask = noise(SIZE), rectangle()
    before = image.copy(), mask.copy()
    for view in (View.whole(SIZE), *CROPPED):
        view.image(image)[...] = 7
        view.mask(mask)[...] = 7
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_a_flipped_view_is_the_mirror_image_of_the_view():
    straight, mirrored = (View(SIZE, (90, 120), 10, 30, (48, 48), flip) for flip in (False, True))
    image = np.arange(3 * 60 * 80).reshape(3, 60, 80).astype(np.uint8)
    logits = np.random.default_rng(0).standard_normal((2, 15, 20), np.float32)
    for name, value in (("image", image), ("mask", rectangle()), ("logits", logits)):
        straight_value, mirrored_value = (getattr(v, name)(value) for v in (straight, mirrored))
        np.testing.assert_allclose(mirrored_value, straight_value[..., ::-1], atol=1e-4)


# Masks, boxes, padding


def nearest(places: int, before: int, after: int) -> np.ndarray:
    """The place of the image that is nearest to each place of the resized one, in whole numbers."""
    return np.array([((2 * place + 1) * before) // (2 * after) for place in range(places)])


@over_many
def test_a_mask_is_a_part_of_the_whole_mask_resized_by_the_nearest_neighbour(view):
    mask = np.random.default_rng(1).integers(0, 200, view.source, dtype=np.uint8)
    places = [
        nearest(after, before, after)
        for before, after in zip(view.source, view.scaled, strict=True)
    ]
    exact = mask[np.ix_(*places)]
    theirs = v2.resize(
        torch.from_numpy(mask)[None], list(view.scaled), InterpolationMode.NEAREST_EXACT
    )[0].numpy()
    np.testing.assert_array_equal(view.mask(mask), window(view, theirs[None], VOID)[0])
    ties = [
        [(2 * place + 1) * before % (2 * after) == 0 for place in range(after)]
        for before, after in zip(view.source, view.scaled, strict=True)
    ]
    differ = (theirs != exact) & ~np.logical_or.outer(*ties)
    assert not differ.any(), "torchvision may round otherwise where two pixels are as near"


@over_many
def test_box_maps_are_those_of_the_whole_image_with_its_boxes_enlarged(view):
    generator = np.random.default_rng(2)
    for _ in range(3):
        boxes = random_boxes(view.source, generator)
        down, across = (a / b for a, b in zip(view.scaled, view.source, strict=True))
        enlarged = Boxes(boxes.coordinates * [across, down, across, down], boxes.classes)
        expected = window(
            view, class_maps(enlarged, CLASSES, view.scaled), np.eye(1, CLASSES, dtype=np.uint8)[0]
        )
        shown = view.box_maps(boxes, CLASSES)
        assert shown.dtype == np.uint8
        np.testing.assert_array_equal(shown, expected)


@over_many
def test_allowed_classes_are_those_in_their_boxes_everywhere_and_in_padding(view):
    boxes = random_boxes(view.source, np.random.default_rng(3))
    everywhere = np.array([True, False, True, False, False])
    maps = view.box_maps(boxes, CLASSES).astype(bool)
    shown = view.allowed(Allowed(everywhere, boxes))
    inside = view.inside() if view.border == "padding" else np.ones(view.size, bool)
    assert shown.dtype == bool and shown.shape == (CLASSES, *view.size)
    for label in range(CLASSES):
        expected = np.ones(view.size, bool) if everywhere[label] else maps[label] | ~inside
        np.testing.assert_array_equal(shown[label], expected)
    only_boxes = view.allowed(Allowed(np.zeros(CLASSES, bool), boxes))
    np.testing.assert_array_equal(only_boxes[0], ~inside)  # outside all boxes is no box


@over_cropped
def test_boxes_go_where_the_mask_goes(view):
    """A rectangle's box in the view covers the pixels of the rectangle in the view."""
    boxes = Boxes(np.array([[20, 12, 56, 44]], np.float32), np.array([1]))
    shown = view.box_maps(boxes, 2)[1]
    mask = view.mask(rectangle()) == 1
    if not shown.any():
        assert mask.sum() <= max(view.size)  # at most a sliver that rounding leaves
        return
    edges = [
        (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        for rows, columns in (np.nonzero(shown), np.nonzero(mask))
    ]
    np.testing.assert_allclose(*edges, atol=1.01)
    assert shown.sum() == np.prod(np.subtract(edges[0][2:], edges[0][:2]))


@over_cropped
def test_padding_is_void_and_outside_in_just_the_same_pixels(view):
    padding = view.mask(np.zeros(SIZE, np.uint8)) == VOID
    np.testing.assert_array_equal(padding, ~view.inside())
    shown = [
        min(side, scaled) for side, scaled in zip(view.size, view.scaled, strict=True)
    ]
    assert view.inside().sum() == shown[0] * shown[1]
    image = view.image(np.zeros((3, *SIZE), np.uint8))
    assert (image[:, padding] == PADDING_COLOUR[:, 0]).all() and not image[:, ~padding].any()


def test_what_is_mirrored_in_is_inside():
    for view in views(20, crop=90, shift=8, border="mirror", scale=(0.4, 1.0)):
        assert view.inside().all()
        assert not (view.mask(np.zeros(SIZE, np.uint8)) == VOID).any()


# Stored logits


def sampled(view: View, logits: np.ndarray) -> np.ndarray:
    """Stored logits by ``grid_sample`` at the centres of the view's own ones."""
    stride = stored_stride(view.source, logits.shape[-2:])
    height, width = view.size
    down, across = (
        (torch.arange(-(-side // stride), dtype=torch.float64) + 0.5) * stride
        for side in (height, width)
    )
    across = (width - across if view.flip else across) + view.left
    factors = [n / m for n, m in zip(view.source, view.scaled, strict=True)]
    rows = (down + view.top) * factors[0] / (logits.shape[-2] * stride)
    columns = across * factors[1] / (logits.shape[-1] * stride)
    grid = torch.stack(torch.meshgrid(2 * columns - 1, 2 * rows - 1, indexing="xy"), dim=-1)
    return grid_sample(
        torch.from_numpy(logits[None]).double(), grid[None], padding_mode="border",
        align_corners=False,
    )[0].numpy()


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_stored_logits_are_sampled_as_grid_sample_does_it(stride):
    generator = np.random.default_rng(0)
    padded = [view for view in MANY if view.border == "padding"]
    compared = 0
    for view in padded + CROPPED:
        size = [-(-side // stride) for side in view.source]
        if stored_stride(view.source, size) != stride:
            continue  # a tiny image does not tell its stride
        for dtype in (np.float32, np.float16):
            logits = (5 * generator.standard_normal((3, *size))).astype(dtype)
            np.testing.assert_allclose(view.logits(logits), sampled(view, logits), atol=1e-5)
        compared += 1
    assert compared > 30


@over_cropped
def test_stored_logits_follow_the_image(view):
    """Images and logits that hold their own coordinates still agree after both were moved."""
    columns, rows = torch.meshgrid(torch.arange(80), torch.arange(60), indexing="xy")
    image = torch.stack([columns, rows, rows]).to(torch.uint8).numpy()
    stored = avg_pool2d(torch.stack([columns, rows]).float(), 4).numpy()
    seen = avg_pool2d(torch.from_numpy(view.image(image)[:2]).float(), 4)
    whole = avg_pool2d(torch.from_numpy(view.inside()).float()[None], 4)[0] == 1
    middle = (seen[0] > 8) & (seen[0] < 72) & (seen[1] > 8) & (seen[1] < 52) & whole
    difference = (view.logits(stored) - seen.numpy())[:, middle.numpy()]
    assert difference.size > 0 and np.abs(difference).max() < 1


# Shifts with the image mirrored in


def coordinates(size) -> np.ndarray:
    """uint8 (3, H, W): row, column and a number of each pixel; no two pixels hold the same."""
    rows, columns = np.indices(size)
    return np.stack([rows, columns, (7 * rows + columns) % 251]).astype(np.uint8)


def moved(maps: np.ndarray, view: View, stride: int = 1) -> np.ndarray:
    """Maps (C, H, W) shifted and then flipped, against NumPy's symmetric padding."""
    height, width = maps.shape[1:]
    reach = 15
    rows, columns = view.top // stride, view.left // stride
    padded = np.pad(maps, ((0, 0), (reach, reach), (reach, reach)), mode="symmetric")
    shown = padded[
        :, reach + rows : reach + rows + height, reach + columns : reach + columns + width
    ]
    return shown[:, :, ::-1] if view.flip else shown


@pytest.mark.parametrize("shift", [3, 8, 15])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_image_mask_boxes_and_logits_stay_aligned_when_shifted(stride, shift):
    size = (16, 24)
    drawn = views(40, size, stride=stride, shift=shift, border="mirror")
    assert any(view.flip for view in drawn) and not all(view.flip for view in drawn)
    for axis in ("top", "left"):
        places = [getattr(view, axis) for view in drawn]
        assert shift < stride or min(places) < 0 < max(places)
    image = coordinates(size)
    logits = avg_pool2d(torch.from_numpy(image).double(), stride).numpy().astype(np.float32)
    boxes = random_boxes(size, np.random.default_rng(0))
    for view in drawn:
        shown = view.image(image)
        np.testing.assert_array_equal(shown, moved(image, view))
        np.testing.assert_array_equal(view.mask(image[2]), shown[2])
        np.testing.assert_array_equal(
            view.box_maps(boxes, CLASSES), moved(class_maps(boxes, CLASSES, size), view)
        )
        np.testing.assert_array_equal(
            view.allowed(Allowed(np.eye(1, CLASSES, dtype=bool)[0], boxes))[1:],
            moved(class_maps(boxes, CLASSES, size), view)[1:].astype(bool),
        )
        expected = avg_pool2d(torch.from_numpy(shown).double(), stride).numpy()
        np.testing.assert_array_equal(view.logits(logits), expected.astype(np.float32))
        np.testing.assert_array_equal(view.logits(logits), moved(logits, view, stride))


def test_the_shift_is_the_index_folding_of_a_batch():
    """Each pixel of the view says which pixel of the image it shows."""
    size = (12, 20)
    image = coordinates(size)
    for view in views(40, size, shift=10, border="mirror"):
        rows, columns, _ = view.image(image)
        for row in range(size[0]):
            assert (rows[row] == folded(row + view.top, size[0])).all()
        for column in range(size[1]):
            source = size[1] - 1 - column if view.flip else column
            assert (columns[:, column] == folded(source + view.left, size[1])).all()


@pytest.mark.parametrize("place", [-100, -33, 57, 1000])
def test_a_shift_beyond_the_image_is_mirrored_again_and_again(place):
    size = (16, 24)
    view = View(size, size, place, place, size, border="mirror")
    rows, columns, _ = view.image(coordinates(size))
    assert rows[:, 0].tolist() == [folded(place + row, 16) for row in range(16)]
    assert columns[0].tolist() == [folded(place + column, 24) for column in range(24)]


# What is drawn


def test_views_cover_the_ranges_that_were_asked_for():
    drawn = views(400, crop=48, scale=(0.5, 2.0))
    factors = np.array([view.scaled[0] / SIZE[0] for view in drawn])
    assert 0.5 <= factors.min() < 0.55 and 1.95 < factors.max() <= 2.0
    assert 0.4 < np.mean([view.flip for view in drawn]) < 0.6
    assert any(view.left < 0 for view in drawn) and any(view.left > 60 for view in drawn)


@pytest.mark.parametrize("stride, allowed", [
    (1, range(-8, 9)), (2, range(-8, 9, 2)), (3, range(-6, 7, 3)), (16, range(1)),
])
def test_shifts_are_multiples_of_the_stride_and_each_is_as_likely(stride, allowed):
    drawn = views(4000, stride=stride, shift=8, flip=0.25, border="mirror")
    for axis in ("top", "left"):
        places, counts = np.unique([getattr(view, axis) for view in drawn], return_counts=True)
        assert places.tolist() == list(allowed)
        assert len(allowed) == 1 or chisquare(counts).pvalue > 0.001
    pairs = [(view.top < 0, view.left < 0, view.flip) for view in drawn]
    if len(allowed) > 1:  # rows, columns and flips know nothing of each other
        shares = np.mean(pairs, axis=0)
        found = [np.mean([p == kind for p in pairs]) for kind in np.ndindex(2, 2, 2)]
        expected = [
            np.prod(np.where(kind, shares, 1 - shares)) for kind in np.ndindex(2, 2, 2)
        ]
        assert chisquare(4000 * np.array(found), 4000 * np.array(expected)).pvalue > 0.001


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.5, 1.0])
def test_flips_come_as_often_as_they_should(chance):
    flips = sum(view.flip for view in views(4000, flip=chance))
    if chance in (0, 1):
        assert flips == 4000 * chance
    else:
        expected = [4000 * chance, 4000 * (1 - chance)]
        assert chisquare([flips, 4000 - flips], expected).pvalue > 0.001


@pytest.mark.parametrize("crop", [48, 70, 100], ids=["room", "one side", "padding"])
def test_corners_are_anywhere_between_0_and_the_room(crop):
    """Negative room is padding, shared out between both sides."""
    drawn = views(5000, crop=crop)
    for axis, side in (("top", 60), ("left", 80)):
        places, counts = np.unique([getattr(view, axis) for view in drawn], return_counts=True)
        low, high = sorted((0, side - crop))
        assert places.tolist() == list(range(low, high + 1))
        assert chisquare(counts).pvalue > 0.001


def test_scales_are_uniform_and_both_sides_share_them():
    size = (1000, 3000)
    drawn = views(3000, size, crop=48, scale=(0.5, 2.0))
    factors = np.array([view.scaled for view in drawn]) / size
    np.testing.assert_allclose(factors[:, 0], factors[:, 1], atol=1e-3)
    assert kstest(factors[:, 1], "uniform", (0.5, 1.5)).pvalue > 0.001


def test_shifts_come_on_top_of_corners():
    """A view as large as the image has one corner; what is left is the shift."""
    drawn = views(2000, (48, 48), crop=48, shift=5)
    places, counts = np.unique([view.top for view in drawn], return_counts=True)
    assert places.tolist() == list(range(-5, 6)) and chisquare(counts).pvalue > 0.001
    far = {view.left for view in views(3000, crop=70, shift=2)}
    assert far == set(range(-2, 13))


@pytest.mark.parametrize("size", [(1, 1), (3, 500)])
def test_tiny_images_are_never_resized_to_nothing(size):
    for view in views(50, size, crop=16, scale=(0.1, 0.5)):
        assert min(view.scaled) >= 1
        assert view.image(noise(size)).shape == (3, 16, 16)
        assert view.inside().any() and view.mask(np.zeros(size, np.uint8)).shape == (16, 16)


@pytest.mark.parametrize("height, stride", [(500, 4), (333, 4), (64, 2), (337, 8), (30, 4)])
def test_the_stride_of_stored_logits_is_read_off_their_size(height, stride):
    stored = (-(-height // stride), -(-(height // 2) // stride))
    assert stored_stride((height, height // 2), stored) == stride


@pytest.mark.parametrize("wrong", [
    {"crop": 8}, {"crop": -1}, {"scale": (0, 1)}, {"scale": (2, 1)}, {"shift": -1}, {"flip": 1.5},
    {"flip": -0.1},
], ids=str)
def test_impossible_views_are_refused(wrong):
    with pytest.raises(ValueError, match=f"augment.{next(iter(wrong))} is"):
        ViewConfig(**wrong)


# Colours


COUNT, HEIGHT, WIDTH = 24, 16, 24


def photographs(count: int = COUNT, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, HEIGHT, WIDTH, generator=generator)


def colour_draws(count: int = COUNT, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 4))


def test_no_augmentation_leaves_everything_as_it_is():
    images, still = photographs(), ViewConfig(flip=0)
    assert torch.equal(recolour(images, still, colour_draws()), images)
    assert torch.equal(jitter(images, (0, 0, 0, 0), 2 * colour_draws() - 1), images)
    middle = np.full((COUNT, 4), 0.5)  # a factor of 1, a turn of 0
    everything = ViewConfig(brightness=0.9, contrast=0.9, saturation=0.9, hue=0.2)
    torch.testing.assert_close(recolour(images, everything, middle), images, atol=1e-6, rtol=0)


def test_recolouring_is_torchvisions_four_changes_in_order(exact_hue):
    config = ViewConfig(brightness=0.4, contrast=0.5, saturation=0.6, hue=0.1)
    images, draws = photographs(), colour_draws()
    shown = recolour(images, config, draws)
    assert torch.equal(images, photographs()), "the images themselves stay"
    for image, view, (brightness, contrast, saturation, hue) in zip(
        images.double(), shown, 2 * draws - 1, strict=True
    ):
        image = v2.adjust_brightness(image, 1 + 0.4 * brightness)
        image = v2.adjust_contrast(image, 1 + 0.5 * contrast)
        image = v2.adjust_saturation(image, 1 + 0.6 * saturation)
        image = exact_hue(image, 0.1 * hue)
        torch.testing.assert_close(view.double(), image, atol=3e-6, rtol=0)


def test_brightness_is_uniform():
    images = torch.full((3000, 3, 2, 2), 0.4)
    shown = recolour(images, ViewConfig(brightness=0.5), colour_draws(3000))
    factors = shown[:, 0, 0, 0].numpy() / 0.4
    assert kstest(factors, "uniform", (0.5, 1.0)).pvalue > 0.001


@pytest.mark.parametrize("name, column", [
    ("brightness", 0), ("contrast", 1), ("saturation", 2), ("hue", 3),
])
def test_each_change_follows_its_own_draw(name, column):
    config = ViewConfig(**{name: 0.3})
    draws, others = colour_draws(), colour_draws(seed=5)
    others[:, column] = draws[:, column]
    images = photographs()
    assert torch.equal(recolour(images, config, draws), recolour(images, config, others))
    others[:, column] = 1 - draws[:, column]
    assert not torch.allclose(recolour(images, config, draws), recolour(images, config, others))


@pytest.mark.parametrize("hue", [0.0, 0.2])
def test_colours_stay_in_range_and_differ_from_image_to_image(hue):
    config = ViewConfig(brightness=0.9, contrast=0.9, saturation=0.9, hue=hue)
    images = photographs(1).expand(COUNT, -1, -1, -1)
    shown = recolour(images, config, colour_draws())
    assert shown.shape == images.shape and shown.min() >= 0 and shown.max() <= 1
    assert len({view.numpy().tobytes() for view in shown}) == COUNT


def test_recolouring_moves_nothing():
    """A black image with one bright square keeps its square where it is."""
    images = torch.zeros(COUNT, 3, HEIGHT, WIDTH)
    images[:, :, 2:5, 7:11] = 0.8
    config = ViewConfig(brightness=0.3, contrast=0.3, saturation=0.3)
    shown = recolour(images, config, colour_draws())
    inside = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    inside[2:5, 7:11] = True
    darkest_inside = shown[..., inside].amin(dim=(1, 2))
    assert (darkest_inside > shown[..., ~inside].amax(dim=(1, 2)) + 0.1).all()


def test_one_images_colours_do_not_depend_on_its_neighbours():
    config = ViewConfig(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    images, draws = photographs(), colour_draws(seed=1)
    whole = recolour(images, config, draws)
    for place in (0, 3, COUNT - 1):
        one = slice(place, place + 1)
        assert torch.equal(whole[one], recolour(images[one], config, draws[one]))
