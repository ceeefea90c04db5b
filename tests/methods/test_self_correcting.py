"""The linear self-correction against numerical minimisation, and the primary's gradients."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import softmax
from torch.nn import functional

from semiseg_lib import methods
from semiseg_lib.batches.boxes import class_maps, heat_map
from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.batches.part import Part
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.datasets.sample import Boxes
from semiseg_lib.methods import AncillaryConfig, PrimaryConfig
from semiseg_lib.methods.self_correcting import AlphaSchedule
from semiseg_lib.methods.self_correcting.method import bootstrapped, linear_correction
from semiseg_lib.models import ModelConfig

MODEL = ModelConfig(width=4)
CLASSES = 3


def random_logits(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def minimiser(p: np.ndarray, p_anc: np.ndarray, alpha: float) -> np.ndarray:
    """The q that minimises KL(q || p) + alpha KL(q || p_anc), found by descent on free logits."""

    def objective(free: np.ndarray) -> tuple[float, np.ndarray]:
        q = softmax(free)
        slopes = np.log(q / p) + alpha * np.log(q / p_anc)
        value = float(q @ slopes) / (1 + alpha)
        gradient = q * (slopes - q @ slopes) / (1 + alpha)
        return value, gradient

    found = minimize(objective, np.zeros_like(p), jac=True, method="BFGS", options={"gtol": 1e-10})
    return softmax(found.x)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0, 3.0, 30.0])
def test_the_closed_form_is_the_numerical_minimum(alpha):
    for seed in range(6):
        logits, logits_ancillary = (random_logits(seed + k, 1, 5, 1, 1) for k in (0, 100))
        q = linear_correction(logits, logits_ancillary, alpha).softmax(dim=1).flatten().numpy()
        p, p_anc = (x.softmax(dim=1).flatten().numpy() for x in (logits, logits_ancillary))
        np.testing.assert_allclose(q, minimiser(p, p_anc, alpha), atol=1e-6)


def test_the_limits_are_the_primary_and_the_ancillary():
    logits, logits_ancillary = random_logits(0, 2, 4, 3, 3), random_logits(1, 2, 4, 3, 3)
    assert torch.equal(linear_correction(logits, logits_ancillary, 0), logits)
    near = linear_correction(logits, logits_ancillary, 1e9)
    torch.testing.assert_close(near, logits_ancillary, atol=1e-7, rtol=0)
    ordered = [
        functional.l1_loss(linear_correction(logits, logits_ancillary, a), logits_ancillary)
        for a in (0, 0.5, 2, 30)
    ]
    assert ordered == sorted(ordered, reverse=True)


def test_two_that_agree_are_left_as_they_are():
    logits = random_logits(0, 2, 4, 3, 3)
    torch.testing.assert_close(linear_correction(logits, logits, 7.0), logits)


def other_minimiser(p: np.ndarray, p_anc: np.ndarray, alpha: float) -> np.ndarray:
    """The q that minimises KL(p || q) + alpha KL(p_anc || q), found by descent on free logits."""

    def objective(free: np.ndarray) -> tuple[float, np.ndarray]:
        q, wanted = softmax(free), (p + alpha * p_anc) / (1 + alpha)
        value = float(p @ np.log(p / q) + alpha * p_anc @ np.log(p_anc / q)) / (1 + alpha)
        return value, q - wanted

    found = minimize(objective, np.zeros_like(p), jac=True, method="BFGS", options={"gtol": 1e-10})
    return softmax(found.x)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0, 19.0])
def test_soft_bootstrapping_is_the_minimum_of_the_other_divergences(alpha):
    for seed in range(6):
        logits, logits_ancillary = (random_logits(seed + k, 1, 5, 1, 1) for k in (0, 100))
        q = bootstrapped(logits, logits_ancillary, alpha).exp().flatten().numpy()
        p, p_anc = (x.softmax(dim=1).flatten().numpy() for x in (logits, logits_ancillary))
        np.testing.assert_allclose(q, (p + alpha * p_anc) / (1 + alpha), atol=1e-12)
        np.testing.assert_allclose(q, other_minimiser(p, p_anc, alpha), atol=1e-6)


MIXTURES = pytest.mark.parametrize("mixture", [linear_correction, bootstrapped])


@MIXTURES
@pytest.mark.parametrize("shape", [(2, 5, 3, 3), (2, 4, 6, 6), (1, 4, 3, 3)])
def test_logits_of_another_shape_are_refused_rather_than_broadcast(shape, mixture):
    with pytest.raises(ValueError, match="differ in shape"):
        mixture(torch.zeros(2, 4, 3, 3), torch.zeros(shape), 1.0)


@MIXTURES
def test_a_negative_alpha_is_refused(mixture):
    with pytest.raises(ValueError, match=r"-0\.5"):
        mixture(torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1), -0.5)


@pytest.mark.parametrize("until", [1.0, 0.3])
def test_alpha_falls_in_a_straight_line_and_is_held(until):
    schedule = AlphaSchedule(start=30, end=0.5, until=until)
    values = [schedule.at(progress) for progress in np.linspace(0, 1, 101)]
    assert values[0] == 30 and values[-1] == 0.5 and schedule.at(until) == 0.5
    assert schedule.at(until / 2) == pytest.approx(15.25)
    assert values == sorted(values, reverse=True)
    assert all(value == 0.5 for value in values[int(100 * until) + 1:])


def test_alpha_is_held_from_the_first_step_when_until_is_zero():
    schedule = AlphaSchedule(start=30, end=0.5, until=0)
    assert {schedule.at(progress) for progress in (0, 0.1, 1)} == {0.5}


@pytest.mark.parametrize("shape", ["linear", "geometric", "cosine"])
@pytest.mark.parametrize("until", [1.0, 0.3])
def test_every_shape_falls_from_start_to_end_and_is_held(shape, until):
    schedule = AlphaSchedule(start=30, end=0.5, until=until, shape=shape)
    values = [schedule.at(progress) for progress in np.linspace(0, until, 101)]
    assert values[0] == pytest.approx(30) and values[-1] == 0.5
    assert all(before > after for before, after in pairwise(values))
    assert schedule.at(until * (1 - 1e-9)) == pytest.approx(0.5, rel=1e-6)
    assert {schedule.at(progress) for progress in np.linspace(until, 1, 5)} == {0.5}


def test_a_geometric_alpha_falls_by_equal_factors():
    schedule = AlphaSchedule(start=8, end=0.5, until=0.5, shape="geometric")
    assert [schedule.at(k / 8) for k in range(4)] == pytest.approx([8, 4, 2, 1])
    straight = AlphaSchedule(start=1.001, end=1, shape="linear")
    bent = replace(straight, shape="geometric")
    for progress in np.linspace(0, 1, 11):  # for a small fall both are one
        assert bent.at(progress) == pytest.approx(straight.at(progress), abs=1e-6)


def test_a_cosine_alpha_is_half_a_wave():
    schedule = AlphaSchedule(start=30, end=0.5, until=0.8, shape="cosine")
    middle, reach = 15.25, 14.75
    for share in np.linspace(0, 0.999, 20):
        expected = middle + reach * np.cos(np.pi * share)
        assert schedule.at(0.8 * share) == pytest.approx(expected, abs=1e-9)
    assert schedule.at(0.2) - middle == pytest.approx(middle - schedule.at(0.6))


def test_a_constant_alpha_is_its_end_like_a_schedule_that_ends_at_once():
    constant = AlphaSchedule(start=30, end=0.5, shape="constant")
    assert {constant.at(progress) for progress in (0, 0.1, 1)} == {0.5}


@pytest.mark.parametrize("ends", [{"start": -1.0}, {"end": -0.5}])
def test_a_schedule_below_zero_is_refused(ends):
    with pytest.raises(ValueError, match="must be >= 0"):
        AlphaSchedule(**ends)


@pytest.mark.parametrize("ends", [{"start": 0.0}, {"end": 0.0}])
def test_a_geometric_schedule_to_or_from_zero_is_refused(ends):
    with pytest.raises(ValueError, match=r"end above 0.*linear or cosine"):
        AlphaSchedule(**ends, shape="geometric")
    assert AlphaSchedule(**ends, shape="cosine").at(0.5) > 0


def primary(**options):
    torch.manual_seed(0)
    return methods.build(PrimaryConfig(**options), MODEL, CLASSES)


def labels(ancillary: torch.Tensor, allowed: torch.Tensor | None = None) -> Part:
    """Unlabelled images with these stored logits, and what their boxes allow."""
    images = torch.zeros(len(ancillary), 3, 8, 8)
    names = ("",) * len(ancillary)
    return Part(names, images, allowed=allowed, logits_ancillary=ancillary)


def test_the_unlabelled_target_is_the_correction_with_the_alpha_of_the_moment():
    logits, ancillary = random_logits(0, 2, 3, 4, 4), random_logits(1, 2, 3, 4, 4)
    method = primary(alpha=AlphaSchedule(8, 2, until=0.5))
    for progress, alpha in ((0, 8), (0.25, 5), (0.5, 2), (1, 2)):
        expected = linear_correction(logits, ancillary, alpha).softmax(dim=1)
        torch.testing.assert_close(method.target(logits, labels(ancillary), progress), expected)
    uncorrected = primary(correction="none").target(logits, labels(ancillary), 0.5)
    torch.testing.assert_close(uncorrected, ancillary.softmax(dim=1))


@pytest.mark.parametrize("correction", ["none", "linear", "bootstrap"])
def test_the_loss_is_the_sum_of_the_papers_two_terms(correction, make_batch):
    """Recomputed from the network's logits with PyTorch's own losses, gradients included."""
    batch = make_batch()
    method = primary(correction=correction, alpha=AlphaSchedule(2, 2))
    losses = method.losses(batch, 0.5)
    ours = torch.autograd.grad(sum(losses.values()), list(method.network.parameters()))

    twin = primary(correction=correction)
    images = torch.cat([batch.labelled.images, batch.unlabelled.images])
    logits = twin.network(images)
    labelled, unlabelled = logits[:3], logits[3:]
    large = functional.interpolate(labelled, scale_factor=2, mode="bilinear")
    first = functional.cross_entropy(large, batch.labelled.masks, ignore_index=VOID)
    ancillary = batch.unlabelled.logits_ancillary
    own, given = unlabelled.detach(), ancillary.softmax(dim=1)
    q = {"none": given, "linear": ((own + 2 * ancillary) / 3).softmax(dim=1),
         "bootstrap": (own.softmax(dim=1) + 2 * given) / 3}[correction]
    second = -(q * unlabelled.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(losses["labelled"], first)
    torch.testing.assert_close(losses["unlabelled"], second)
    theirs = torch.autograd.grad(first + second, list(twin.network.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("correction", ["none", "linear", "bootstrap"])
def test_no_gradient_reaches_the_ancillary_or_flows_through_the_target(correction, make_batch):
    batch = make_batch()
    ancillary = batch.unlabelled.logits_ancillary.requires_grad_()
    method = primary(correction=correction, alpha=AlphaSchedule(0.5, 0.5))
    logits = random_logits(0, *ancillary.shape).float().requires_grad_()
    target = method.target(logits, labels(ancillary), 0.5)
    if target.requires_grad:
        assert torch.autograd.grad(target.sum(), logits, allow_unused=True) == (None,)
    sum(method.losses(batch, 0.5).values()).backward()
    assert ancillary.grad is None


@pytest.mark.parametrize("correction", ["none", "linear", "bootstrap"])
def test_a_temperature_divides_the_ancillarys_logits_and_smoothing_mixes_in_an_even_label(
    correction,
):
    logits, ancillary = random_logits(0, 2, 3, 4, 4), random_logits(1, 2, 3, 4, 4)
    plain, softer, smoothed = (
        primary(correction=correction, alpha=AlphaSchedule(2, 2), **options)
        for options in ({}, {"temperature": 3.0}, {"smoothing": 0.3})
    )
    torch.testing.assert_close(
        softer.target(logits, labels(ancillary), 0.5),
        plain.target(logits, labels(ancillary / 3), 0.5),
    )
    torch.testing.assert_close(
        smoothed.target(logits, labels(ancillary), 0.5),
        0.7 * plain.target(logits, labels(ancillary), 0.5) + 0.1,
    )


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"smoothing": 1.1}, {"smoothing": -0.1}])
def test_labels_without_meaning_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        PrimaryConfig(**options)


def test_the_label_of_a_strong_view_is_that_of_the_weak_one(make_batch):
    """Recomputed from one pass over masks, strong and weak views, with PyTorch's own losses."""
    batch, strong = make_batch(), StrongConfig()
    options = {"alpha": AlphaSchedule(2, 2), "strong": strong, "strong_labelled": strong}
    losses = primary(**options).losses(batch, 0.5)
    rng = np.random.default_rng(batch.seed)
    views = [strong_view(part.images, strong, rng) for part in (batch.labelled, batch.unlabelled)]
    assert not torch.equal(views[1], batch.unlabelled.images)
    logits = primary(**options).network(torch.cat([*views, batch.unlabelled.images]))
    labelled, student, weak = logits.split([3, 3, 3])
    q = ((weak.detach() + 2 * batch.unlabelled.logits_ancillary) / 3).softmax(dim=1)
    torch.testing.assert_close(
        losses["unlabelled"], -(q * student.log_softmax(dim=1)).sum(dim=1).mean()
    )
    large = functional.interpolate(labelled, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(losses["labelled"], functional.cross_entropy(
        large, batch.labelled.masks, ignore_index=VOID
    ))


def test_with_alpha_zero_the_unlabelled_images_teach_nothing():
    """q is then p itself, where the gradient of -q log p vanishes: self-training on own beliefs."""
    logits = random_logits(0, 2, 3, 4, 4).requires_grad_()
    method = primary(alpha=AlphaSchedule(0, 0))
    q = method.target(logits, labels(random_logits(1, 2, 3, 4, 4)), 0.5)
    loss = functional.cross_entropy(logits, q)
    assert torch.autograd.grad(loss, logits)[0].abs().max() < 1e-12


@pytest.mark.parametrize("correction", ["none", "linear", "bootstrap"])
def test_a_constrained_label_is_the_free_one_shared_out_among_the_allowed_classes(correction):
    logits, ancillary = random_logits(0, 2, 3, 4, 4), random_logits(1, 2, 3, 4, 4)
    allowed = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(2)) < 0.25
    allowed[:, 0] |= torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(3)) < 0.6
    free, constrained = (primary(correction=correction, constrain=on) for on in (False, True))
    part = labels(ancillary, allowed)
    for progress in (0.0, 0.4, 1.0):
        q, plainly = (method.target(logits, part, progress) for method in (constrained, free))
        for image, row, column in np.ndindex(2, 4, 4):
            cell = allowed[image, :, 2 * row:2 * row + 2, 2 * column:2 * column + 2]
            possible = cell.any(dim=-1).any(dim=-1)
            expected = plainly[image, :, row, column]
            if possible.any():
                expected = expected * possible / expected[possible].sum()
                assert (q[image, ~possible, row, column] == 0).all()
            torch.testing.assert_close(q[image, :, row, column], expected)
    assert (q == 0).any() and not torch.equal(q, plainly)


@pytest.mark.parametrize("correction", ["none", "linear", "bootstrap"])
def test_where_everything_is_allowed_nothing_is_constrained(correction):
    logits, ancillary = random_logits(0, 2, 3, 4, 4), random_logits(1, 2, 3, 4, 4)
    part = labels(ancillary, torch.ones(2, 3, 8, 8, dtype=torch.bool))
    free, constrained = (primary(correction=correction, constrain=on) for on in (False, True))
    assert torch.equal(
        constrained.target(logits, part, 0.3), free.target(logits, part, 0.3)
    )
    assert free.reads == frozenset() and constrained.reads == {"allowed"}


@pytest.mark.parametrize("correction", ["none", "linear", "bootstrap"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_constrained_primary_learns_in_half_precision_too(correction, precision, make_batch):
    """Also from positions that allow nothing, and where the ancillary is sure of the forbidden."""
    batch = make_batch()
    allowed = batch.unlabelled.allowed.clone()
    allowed[0] = False
    sure = 1e3 * batch.unlabelled.logits_ancillary
    part = replace(batch.unlabelled, allowed=allowed, logits_ancillary=sure)
    method = primary(correction=correction, constrain=True).train()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        losses = method.losses(replace(batch, unlabelled=part), 0.5)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    for name, parameter in method.network.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0, name


def test_neither_masks_nor_boxes_of_unlabelled_images_are_read(make_batch):
    batch = make_batch()
    expected = primary().losses(batch, 0.5)
    masks, box_maps = torch.full((3, 32, 32), 99), torch.full((3, 3, 32, 32), torch.nan)
    unlabelled = replace(batch.unlabelled, masks=masks, box_maps=box_maps)
    again = primary().losses(replace(batch, unlabelled=unlabelled), 0.5)
    assert all(torch.equal(again[name], expected[name]) for name in expected)


def test_the_boxes_of_labelled_images_never_reach_the_primary(make_batch):
    batch = make_batch()
    expected = primary().losses(batch, 0.5)
    boxes = torch.full_like(batch.labelled.box_maps, torch.nan)
    again = primary().losses(replace(batch, labelled=replace(batch.labelled, box_maps=boxes)), 0.5)
    assert all(torch.equal(again[name], expected[name]) for name in expected)


def test_the_deployed_primary_ignores_box_maps_and_the_ancillary_needs_them(make_batch):
    part = make_batch().labelled
    deployed = primary().eval()
    assert torch.equal(deployed(part.images, part.box_maps), deployed(part.images))
    ancillary = methods.build(AncillaryConfig(), MODEL, CLASSES).eval()
    with pytest.raises(ValueError, match="3 box maps; pass box_maps"):
        ancillary(part.images)
    assert not torch.equal(
        ancillary(part.images, part.box_maps), ancillary(part.images, 1 - part.box_maps)
    )


def ancillary(boxes: str):
    torch.manual_seed(0)
    return methods.build(AncillaryConfig(boxes=boxes), MODEL, CLASSES).eval()


@pytest.mark.parametrize("count", [0, 1, 7])
def test_the_heat_map_is_the_one_drawn_from_the_boxes(count):
    random = np.random.default_rng(count)
    corners = np.sort(random.uniform(0, 32, (count, 2, 2)), axis=1).reshape(count, 4)
    boxes = Boxes(corners.astype(np.float32), random.integers(1, CLASSES, count))
    maps = torch.from_numpy(class_maps(boxes, CLASSES, (32, 32))).float()[None]
    seen = ancillary("heat map").seen_of_boxes(maps)
    assert torch.equal(seen[0], torch.from_numpy(heat_map(boxes, (32, 32))).float())
    assert torch.equal(ancillary("class maps").seen_of_boxes(maps), maps)


def test_a_heat_map_tells_where_objects_are_but_not_which():
    """The background channel alone decides; with class maps, exchanging two classes is seen."""
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = torch.zeros(2, CLASSES, 32, 32)
    maps[:, 1, 4:20, 4:20] = 1
    maps[:, 0] = 1 - maps[:, 1]
    exchanged = maps[:, [0, 2, 1]]
    agnostic, full = ancillary("heat map"), ancillary("class maps")
    assert [m.network.stem[0].in_channels for m in (agnostic, full)] == [4, 3 + CLASSES]
    assert torch.equal(agnostic(images, maps), agnostic(images, exchanged))
    assert not torch.equal(full(images, maps), full(images, exchanged))
    shifted = maps.roll(5, dims=-1)
    assert not torch.equal(agnostic(images, maps), agnostic(images, shifted))
    with pytest.raises(ValueError, match="1 box maps; pass box_maps"):
        agnostic(images)
