"""Windows, flips and scales against what they must amount to, at images' own sizes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny_run import InMemory
from torch import nn
from torch.nn.functional import interpolate, pad

from semiseg_lib import methods
from semiseg_lib.batches.image_set import ImageSet
from semiseg_lib.batches.part import Part
from semiseg_lib.datasets.sample import Boxes, Sample
from semiseg_lib.evaluation import predict as inference
from semiseg_lib.evaluation.metrics import confusion_matrix, evaluate
from semiseg_lib.evaluation.options import Protocol
from semiseg_lib.evaluation.predict import (
    logits_of,
    parts,
    predict,
    predict_logits,
    predict_part,
    predicted_parts,
    predictions,
    window_starts,
)
from semiseg_lib.methods import AncillaryConfig, PrimaryConfig
from semiseg_lib.methods.base import Method
from semiseg_lib.models import ModelConfig

CLASSES = ("a", "b", "c")
SIZES = [(37, 50), (64, 64), (15, 97), (130, 17)]


class Filter(Method):
    """One convolution over the image, or over the box maps; all views of it are kept."""

    def __init__(self, kernel: int = 1, uses_boxes: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(3, 3, kernel, padding=kernel // 2)
        self.convolution.weight.data.mul_(5)
        self.uses_boxes = uses_boxes
        self.seen = []

    def forward(self, images, box_maps=None):
        self.seen.append((images, box_maps))
        return self.convolution(box_maps if self.uses_boxes else images)


class Noise(InMemory):
    """Images of noise of different sizes, with masks and boxes; some have no mask."""

    def __init__(self, sizes, maskless: tuple[int, ...] = ()) -> None:
        noise = [one(size, seed) for seed, size in enumerate(sizes)]
        self.maskless = maskless
        super().__init__(
            [part.names[0] for part in noise],
            [(255 * part.images[0]).byte().numpy() for part in noise],
            [part.masks[0].byte().numpy() for part in noise], CLASSES,
            [Boxes(np.array([[1, 2, n + 5, 9], [4, 0, 9, 7]], np.float32), np.array([1, 2]))
             for n in range(len(sizes))],
        )

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return replace(sample, mask=None) if index in self.maskless else sample


def images_of(sizes=SIZES, maskless: tuple[int, ...] = ()) -> ImageSet:
    """A set of images of these sizes."""
    return ImageSet(Noise(sizes, maskless), tuple(range(len(sizes))), np.arange(3) > 0)


def one(size: tuple[int, int], seed: int = 0) -> Part:
    """An image of noise, with a mask and with box maps."""
    generator = torch.Generator().manual_seed(seed)
    return Part(
        names=(f"image{seed}",),
        images=torch.rand(1, 3, *size, generator=generator),
        masks=torch.randint(0, 3, (1, *size), generator=generator),
        box_maps=torch.randint(0, 2, (1, 3, *size), generator=generator).float(),
    )


def plain(method: Method, images: torch.Tensor, maps=None) -> torch.Tensor:
    """Whole-image probabilities, written down once more."""
    height, width = images.shape[-2:]
    images, maps = (
        None if t is None else pad(t, (0, -width % 16, 0, -height % 16), mode="replicate")
        for t in (images, maps)
    )
    with torch.no_grad():
        return method(images, maps)[..., :height, :width].softmax(dim=1)


@pytest.mark.parametrize("overlap", [0, 1 / 3, 0.9])
@pytest.mark.parametrize("side, window", [(97, 32), (64, 32), (33, 32), (32, 32), (5, 32), (3, 1)])
def test_windows_see_every_pixel_and_share_what_was_asked(side, window, overlap):
    starts = window_starts(side, window, overlap)
    seen = np.zeros(side, int)
    for start in starts:
        assert start >= 0 and (start + window <= side or starts == [0])
        seen[start:start + window] += 1
    assert seen.min() >= 1
    shared = [a + window - b for a, b in pairwise(starts)]
    assert all(n >= np.floor(overlap * window) for n in shared)
    assert len(starts) == 1 or len(starts) <= 2 + side / (window * (1 - overlap))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_windows_of_a_pointwise_model_give_the_whole_images_answer(size):
    part, method = one(size), Filter(kernel=1)
    whole = predict_part(method, part)
    assert whole.shape == (1, 3, *size)
    torch.testing.assert_close(whole, plain(method, part.images))
    method.seen.clear()
    torch.testing.assert_close(predict_part(method, part, Protocol(window=32)), whole)
    assert len(method.seen) > 1
    assert all(max(images.shape[-2:]) <= 32 for images, _ in method.seen)


def test_windows_change_what_a_model_with_a_neighbourhood_says_near_their_borders_only():
    """A 3 x 3 filter sees past the border of a window; the next window's answer is mixed in."""
    part, method = one((32, 48)), Filter(kernel=3)
    whole, slid = plain(method, part.images), predict_part(method, part, Protocol(32, overlap=0.5))
    left, right = (plain(method, part.images[..., s]) for s in (slice(0, 32), slice(16, 48)))
    expected = torch.cat(
        [left[..., :16], (left[..., 16:] + right[..., :16]) / 2, right[..., 16:]], -1
    )
    torch.testing.assert_close(slid, expected)
    off = (slid - whole).abs().amax(dim=(0, 1, 2)) > 1e-6
    assert set(np.flatnonzero(off.numpy())) == {16, 31}


def test_a_window_larger_than_the_image_is_the_whole_image():
    part, method = one((37, 50)), Filter(kernel=3)
    assert torch.equal(predict_part(method, part, Protocol(window=512)), predict_part(method, part))


def test_the_flip_is_undone_and_the_mean_taken():
    part, method = one((37, 50)), Filter(kernel=3)
    there = plain(method, part.images)
    back = plain(method, part.images.flip(-1)).flip(-1)
    flipped = predict_part(method, part, Protocol(flip=True))
    torch.testing.assert_close(flipped, (there + back) / 2)
    assert (flipped - there).abs().max() > 0.01


def test_a_symmetric_model_does_not_notice_the_flip():
    part, method = one((32, 48)), Filter(kernel=3)
    weight = method.convolution.weight.data
    weight.add_(weight.flip(-1).clone())
    torch.testing.assert_close(predict_part(method, part, Protocol(flip=True)),
                               predict_part(method, part))


def test_scales_are_resized_back_and_the_mean_taken():
    part, method = one((37, 50)), Filter(kernel=3)
    assert torch.equal(predict_part(method, part, Protocol(scales=(1.0,))),
                       predict_part(method, part))
    large = interpolate(part.images, (74, 100), mode="bilinear", antialias=True)
    back = interpolate(plain(method, large), (37, 50), mode="bilinear")
    mixed = predict_part(method, part, Protocol(scales=(1.0, 2.0)))
    torch.testing.assert_close(mixed, (plain(method, part.images) + back) / 2)
    everything = predict_part(method, part, Protocol(32, flip=True, scales=(0.5, 1.0, 1.75)))
    torch.testing.assert_close(everything.sum(dim=1), torch.ones(1, 37, 50))


@pytest.mark.parametrize("protocol", [
    Protocol(), Protocol(32), Protocol(flip=True), Protocol(scales=(2.0,)),
    Protocol(32, flip=True, scales=(0.5, 2.0)),
], ids=str)
def test_box_maps_move_with_the_image(protocol):
    """The image is its own box map, so each view must show the same in both."""
    maps = interpolate(one((9, 13)).box_maps, (36, 52), mode="nearest")  # 4 x 4 blocks
    part, method = replace(one((36, 52)), images=maps, box_maps=maps), Filter(uses_boxes=True)
    predict_part(method, part, protocol)
    for images, seen in method.seen:
        assert set(seen.unique().tolist()) == {0, 1}
        assert (images - seen).abs().max() < 0.51  # edges blur where the image is resized
    if protocol.scales == (1.0,):
        assert all(torch.equal(*pair) for pair in method.seen)


def test_box_maps_never_reach_a_method_that_does_not_use_them():
    method = Filter()
    predict_part(method, one((20, 20)), Protocol(16, flip=True))
    assert {maps for _, maps in method.seen} == {None}


@pytest.mark.parametrize("config", [PrimaryConfig(), AncillaryConfig()])
def test_images_of_all_sizes_are_scored_at_their_own(config):
    torch.manual_seed(0)
    method = methods.build(config, ModelConfig(width=4), 3).train()
    images = images_of()
    labels = list(predictions(method, images))
    assert [label.shape for label in labels] == SIZES and labels[0].dtype == np.uint8
    assert method.training and torch.is_grad_enabled()
    expected = sum(
        confusion_matrix(images.sample(number).mask, label, 3)
        for number, label in enumerate(labels)
    )
    assert np.array_equal(evaluate(method, images, CLASSES).confusion, expected)
    for sizes in (SIZES, [(32, 32)] * 4):
        with pytest.raises(ValueError, match="image2 has no mask"):
            evaluate(method, images_of(sizes, maskless=(2,)), CLASSES)


def test_one_by_one_says_what_a_batch_says():
    torch.manual_seed(0)
    method = methods.build(PrimaryConfig(), ModelConfig(width=4), 3)
    method.average.module.head.weight.data.mul_(20)  # let the untrained network use all classes
    pair = images_of([(32, 48)] * 2)
    assert [len(part.names) for part in parts(method, pair)] == [2]
    together = predict(method, pair)
    apart = np.concatenate([predict(method, pair.take([number])) for number in (0, 1)])
    assert (together == apart).mean() > 0.999 and len(np.unique(together)) == 3
    windows = evaluate(method, pair, CLASSES, protocol=Protocol(window=16))
    assert windows.confusion.sum() == 2 * 32 * 48
    assert not np.array_equal(windows.confusion, evaluate(method, pair, CLASSES).confusion)


@pytest.mark.parametrize("uses_boxes", [False, True])
def test_neighbours_of_one_size_are_predicted_together(monkeypatch, uses_boxes):
    """As many as have PIXELS_PER_PASS pixels; a larger image alone, and the order stays."""
    monkeypatch.setattr(inference, "PIXELS_PER_PASS", 2 * 32 * 32)
    sizes = [(32, 32)] * 5 + [(16, 16)] * 3 + [(32, 32), (64, 64), (64, 64), (16, 64), (64, 16)]
    images, method = images_of(sizes), Filter(uses_boxes=uses_boxes)
    cut = list(parts(method, images))
    assert [len(part.names) for part in cut] == [2, 2, 1, 3, 1, 1, 1, 1, 1]
    assert tuple(name for part in cut for name in part.names) == images.names
    assert all((part.box_maps is not None) == uses_boxes for part in cut)
    assert all(part.inside is None for part in cut)
    read = list(predicted_parts(method, images))
    for part, labels in read:
        assert labels.shape == part.masks.shape and labels.dtype == np.uint8
    labels = [label for _, some in read for label in some]
    for number, label in enumerate(labels):
        alone = predict_part(method, images.part([number])).argmax(dim=1)[0].numpy()
        assert np.array_equal(label, alone), number
    assert [label.shape for label in labels] == sizes


@pytest.mark.parametrize("config", [PrimaryConfig(), AncillaryConfig()])
def test_logits_of_an_image_cover_it_and_nothing_more(config):
    torch.manual_seed(0)
    method = methods.build(config, ModelConfig(width=4), 3).eval()
    images = images_of()
    for number, logits in enumerate(logits_of(method, images)):
        part = images.part([number])
        height, width = part.images.shape[-2:]
        assert logits.shape == (3, -(-height // 2), -(-width // 2))
        assert logits.dtype == torch.float32 and not logits.requires_grad
        enlarged = interpolate(logits[None], scale_factor=2, mode="bilinear")
        label = enlarged[..., :height, :width].softmax(dim=1)
        inner = (..., slice(0, height - 2), slice(0, width - 2))
        torch.testing.assert_close(label[inner], predict_part(method, part)[inner])
    assert number == len(SIZES) - 1
    alike = images_of([(37, 50)] * 3)
    expected = torch.cat([predict_logits(method, alike.take([i])) for i in range(3)])
    torch.testing.assert_close(predict_logits(method, alike), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [
    {"window": -1}, {"overlap": 1.0}, {"overlap": -0.1}, {"scales": ()}, {"scales": (1.0, 0.0)},
])
def test_a_protocol_out_of_range_is_refused(options):
    with pytest.raises(ValueError, match=str(*options)):
        Protocol(**options)
