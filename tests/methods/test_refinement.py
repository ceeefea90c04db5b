"""S4MC's refinement and threshold against joint tables, sorted lists and loops over pixels."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
import torch
from neighbour_loops import around, refined_by_loop, sure_by_loop
from pixel_loops import logits, masks

from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.minivoc import WORLDS, scenes
from semiseg_lib.methods.s4mc.method import agreement, indicator, neighbours, refine, threshold

EXPECTED = (0.9, 0.7, 0.2)


def test_a_refined_probability_is_that_of_a_union_of_two_events():
    """Summed over the four outcomes of a joint table with P(A and B) = p E, or p n if that is more.

    Where p E is more than P(B) there is no such table, and the probability falls.
    """
    shares = [0.0, 0.1, 0.35, 0.6, 0.9, 1.0]
    impossible = 0
    for p, n, expected in itertools.product(shares, shares, shares):
        both = max(p * n, p * expected)
        table = {(True, True): both, (True, False): p - both, (False, True): n - both,
                 (False, False): 1 - p - n + both}
        union = sum(share for (a, b), share in table.items() if a or b)
        maps = torch.tensor([[n, p]], dtype=torch.float64).view(1, 1, 1, 2)
        found = refine(maps, torch.tensor([expected], dtype=torch.float64), beta=1.0)[0, 0, 0, 1]
        assert found.item() == pytest.approx(union, abs=1e-12)
        if min(table.values()) < -1e-12:
            impossible += 1
            assert n < p * expected and found < p
        else:
            assert found >= p - 1e-12
    assert impossible > 20


@pytest.mark.parametrize("support", [1, 2, 4])
def test_refined_probabilities_grow_with_their_neighbours_and_stay_probabilities(support):
    maps = logits(2, 3, 6, 7).softmax(dim=1)
    expected = torch.tensor(EXPECTED, dtype=torch.float64)
    more = maps.clone()
    more[0, 1, 2, 3] = 1.0
    one, two = (refine(m, expected, support=support, beta=1.0) for m in (maps, more))
    assert (two >= one).all() and two.min() >= 0 and two.max() <= 1
    changed = (one != two).nonzero()[:, 2:].tolist()
    assert {tuple(place) for place in changed} <= {(2, 3), *around(2, 3, 4)}
    before, after = (indicator(m)[0, 1, 3] for m in (one, two))
    assert before != after, "but the margin may fall: the neighbour may believe in a rival"


def test_margins_fall_where_a_neighbour_supports_a_rival_and_rise_where_it_agrees():
    maps = torch.tensor([[0.7, 0.3], [0.3, 0.7]]).T.view(1, 2, 1, 2)
    expected = torch.tensor([0.9, 0.9])
    assert (indicator(refine(maps, expected)) < indicator(maps)).all()
    assert torch.allclose(indicator(refine(maps, torch.zeros(2))), indicator(maps) * (1 - 0.6065),
                          atol=0.01), "p n is the same for both classes, n makes up for p"
    agree = torch.tensor([[0.7, 0.3], [0.9, 0.1]]).T.view(1, 2, 1, 2)
    assert (indicator(refine(agree, expected))[0, 0, 0] > indicator(agree)[0, 0, 0])


def test_without_beta_nothing_is_refined():
    maps = logits(2, 3, 5, 5).softmax(dim=1)
    assert torch.equal(refine(maps, torch.tensor(EXPECTED), 8, 8, beta=0.0), maps)


@pytest.mark.parametrize("count, support", [(4, 1), (8, 1), (4, 2), (8, 5), (8, 8)])
def test_neighbours_and_their_support_are_those_of_a_loop(count, support):
    maps = logits(2, 3, 5, 4).softmax(dim=1)
    found = neighbours(maps, count).numpy()
    assert found.shape == (count, 2, 3, 5, 4)
    for row, column in np.ndindex(5, 4):
        expected = [maps[:, :, r, c].numpy() if 0 <= r < 5 and 0 <= c < 4 else np.zeros((2, 3))
                    for r, c in around(row, column, count)]
        key = np.lexsort(found[:, :, :, row, column].reshape(count, -1).T)
        other = np.lexsort(np.stack(expected).reshape(count, -1).T)
        assert np.array_equal(found[key, :, :, row, column], np.stack(expected)[other])
    expected = refined_by_loop(maps.numpy(), EXPECTED, count, support, 0.6)
    refined = refine(maps, torch.tensor(EXPECTED, dtype=torch.float64), count, support, 0.6)
    np.testing.assert_allclose(refined.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["margin", "confidence", "entropy"])
def test_indicators_are_those_of_a_loop_also_where_a_probability_is_zero(kind):
    maps = refine(logits(2, 4, 5, 6).softmax(dim=1), torch.ones(4).double())
    maps[0, :, 0, 0] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(indicator(maps, kind), sure_by_loop(maps.numpy(), kind), rtol=1e-12)
    assert indicator(maps, kind)[0, 0, 0] == (0 if kind == "entropy" else 1)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dropped", [0.0, 0.1, 0.25, 0.4, 1.0])
def test_exactly_the_share_of_the_shown_pixels_is_at_or_below_the_threshold(dropped, padded):
    generator = torch.Generator().manual_seed(3)
    values = (torch.randperm(2 * 20 * 25, generator=generator) / 1000 - 0.5).view(2, 20, 25)
    shown = torch.ones_like(values, dtype=torch.bool)
    if padded:
        shown[0, 10:] = False
        values[0, 10:] = -7.0
    least = threshold(values, shown, dropped)
    assert (shown & (values <= least)).sum() == round(dropped * shown.sum().item())
    assert dropped or least == -torch.inf
    nothing = torch.zeros_like(shown)
    assert threshold(values, nothing, dropped) == -torch.inf


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("count", [4, 8])
@pytest.mark.parametrize("void_differs", [False, True])
def test_what_neighbours_agree_on_is_that_of_a_loop(count, padded, void_differs):
    """What lies beyond the border or in padding is no neighbour at all."""
    drawn = masks(2, 7, 6, classes=3)
    inside = torch.ones(2, 7, 6, dtype=torch.bool)
    if padded:
        inside[0, :, 4:] = inside[1, 5:] = False
    same, pairs = [0] * 3, [0] * 3
    for number, row, column in np.ndindex(2, 7, 6):
        label = drawn[number, row, column].item()
        for r, c in around(row, column, count):
            if not (0 <= r < 7 and 0 <= c < 6) or label == VOID:
                continue
            other = drawn[number, r, c].item()
            heard = void_differs or other != VOID
            if heard and inside[number, row, column] and inside[number, r, c]:
                pairs[label] += 1
                same[label] += label == other
    found = agreement(drawn, 3, count, inside if padded else None, void_differs)
    assert [one.tolist() for one in found] == [same, pairs]


def test_a_border_is_no_neighbour_of_another_class():
    same, pairs = agreement(torch.zeros(1, 4, 4, dtype=torch.int64), 2)
    assert same.tolist() == pairs.tolist() == [48, 0]


def test_a_void_rim_gives_nearly_what_the_masks_without_it_give(monkeypatch):
    """Left out, it would hide every outline: all neighbours would agree."""
    exact, rimmed = [], []
    of_items = scenes._mask
    source = inspect.getsource(of_items).replace("mask[rim] = VOID", "pass")
    namespace = dict(vars(scenes))
    exec(source, namespace)

    def both(items, side):
        exact.append(namespace["_mask"](items, side))
        rimmed.append(of_items(items, side))
        return rimmed[-1]

    monkeypatch.setattr(scenes, "_mask", both)
    for index in range(12):
        scenes.draw_scene(WORLDS["hurried"], "unlabelled", index)
    found, wanted = (
        torch.divide(*agreement(torch.from_numpy(np.stack(some)).long(), 5))
        for some in (rimmed, exact)
    )
    assert (found < 1).all() and torch.allclose(found, wanted, atol=0.02)
