"""Hard pixels against sorting all of them, and their loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pixel_loops import logits, masks
from torch.nn import functional

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods.losses import cross_entropy, hard_cross_entropy, hard_masks
from semiseg_lib.methods.options import HardPixels


def hardest_by_sorting(maps: torch.Tensor, truth: torch.Tensor, hard: HardPixels) -> np.ndarray:
    """True where a pixel is hard, found by sorting all labelled pixels of the batch."""
    probability = maps.softmax(dim=1).float().numpy()
    truth = truth.numpy()
    places = [place for place in np.ndindex(*truth.shape) if truth[place] != VOID]
    own = {place: probability[place[0], truth[place], place[1], place[2]] for place in places}
    ranked = sorted(own.values())
    least = min(hard.least * len(truth), len(ranked))
    bound = max(hard.below, ranked[least - 1] if least else 0)
    chosen = np.zeros(truth.shape, bool)
    for place, value in own.items():
        chosen[place] = value <= bound + 1e-7
    return chosen


@pytest.mark.parametrize("hard", [
    HardPixels(below=0.7, least=1), HardPixels(below=0.0, least=7), HardPixels(below=0.2, least=20),
    HardPixels(below=0.0, least=48), HardPixels(below=0.1, least=50_000), HardPixels(below=1.0),
], ids=repr)
@pytest.mark.parametrize("void", [0.0, 0.3, 0.9])
def test_hard_pixels_are_those_found_by_sorting(hard, void):
    maps, truth = logits(2, 4, 6, 8), masks(2, 6, 8, void=void)
    found = hard_masks(maps, truth, hard)
    expected = hardest_by_sorting(maps, truth, hard)
    np.testing.assert_array_equal(found != VOID, expected)
    assert torch.equal(found[found != VOID], truth[found != VOID])
    assert not ((found != VOID) & (truth == VOID)).any()


def test_of_pixels_that_are_equally_hard_all_are_taken():
    maps = torch.zeros(1, 4, 2, 3, dtype=torch.float64)
    maps[0, :, 0, 0] = torch.tensor([-9.0, 9, 0, 0])
    truth = torch.zeros(1, 2, 3, dtype=torch.int64)
    found = hard_masks(maps, truth, HardPixels(below=0.0, least=2))
    assert (found != VOID).all(), "the wrong one, and five of one quarter each"
    easy = maps.clone()
    easy[0, 0, 1] = 20.0
    found = hard_masks(easy, truth, HardPixels(below=0.3, least=1))
    assert (found != VOID).tolist() == [[[True, True, True], [False, False, False]]]


def test_fewer_labelled_pixels_than_are_wanted_are_all_taken_and_no_void_one():
    maps = logits(2, 4, 6, 8)
    truth = torch.full((2, 6, 8), VOID)
    truth[0, 2, 3], truth[1, 5, 7] = 1, 3
    assert torch.equal(hard_masks(maps, truth, HardPixels(below=0.0, least=30)), truth)
    torch.testing.assert_close(
        hard_cross_entropy(maps, truth, HardPixels(below=0.0, least=30)), cross_entropy(maps, truth)
    )


def test_hard_pixels_of_nothing_labelled_are_none():
    maps = logits(2, 4, 6, 8).requires_grad_()
    loss = hard_cross_entropy(maps, torch.full((2, 6, 8), VOID), HardPixels())
    loss.backward()
    assert loss.item() == 0 and torch.equal(maps.grad, torch.zeros_like(maps))


def test_the_hard_loss_is_the_mean_over_the_hard_pixels_and_which_takes_no_gradient():
    maps, truth = logits(2, 4, 6, 8).requires_grad_(), masks(2, 6, 8)
    hard = HardPixels(below=0.05, least=10)
    chosen = torch.from_numpy(hardest_by_sorting(maps.detach(), truth, hard))
    losses = functional.cross_entropy(maps, truth, ignore_index=VOID, reduction="none")
    expected = losses[chosen].mean()
    loss = hard_cross_entropy(maps, truth, hard)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss, maps)[0], torch.autograd.grad(expected, maps)[0]
    )
