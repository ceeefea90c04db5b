"""Error localisation against loops in double precision; who learns from what, and when."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pixel_loops import Pixelwise, logits, loss_by_loop, masks, supervised_by_loop, sure_labels
from torch import nn

from semiseg_lib import methods
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import ELNConfig
from semiseg_lib.methods.eln.method import ELN, error_loss, held_at, pixel_contrast
from semiseg_lib.methods.losses import cross_entropy
from semiseg_lib.models import ModelConfig

NOW = ELNConfig(ratios=(0.0, 0.0), auxiliary_from=0.0, unlabelled_from=0.0)


class WithFeatures(Pixelwise):
    """A pixel's features are what its hidden layer gives."""

    feature_channels = 5

    def decode_features(self, features):
        return features[0]

    @property
    def head(self):
        return self.last


class Judge(nn.Module):
    """Each pixel's own colours and logits decide how right the prediction is."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3 + classes, 1, 1).double()
        with torch.no_grad():
            drawn = logits(*self.layer.weight.shape, seed=5, scale=0.3)
            self.layer.weight.copy_(drawn)
            self.layer.bias.zero_()

    def forward(self, images, given):
        return self.layer(torch.cat([images.double(), given.detach()], dim=1))[:, 0]


def pixelwise(config: ELNConfig) -> ELN:
    torch.manual_seed(0)
    others = [Pixelwise(2 + number) for number in range(len(config.ratios))]
    method = ELN(config, WithFeatures(0), others, Judge()).double()
    method.average.module.load_state_dict(WithFeatures(1).state_dict())
    return method


def small(batch, padded: bool = False):
    """Images of 16x16 pixels, with or without padding."""
    inside = torch.ones(3, 16, 16, dtype=torch.bool)
    inside[0, :5] = inside[1, :, 11:] = inside[2, 9:, 3:] = False

    def cut(part, masks=None, inside=None):
        return replace(part, images=part.images[..., :16, :16], masks=masks, inside=inside)

    return replace(batch, labelled=cut(batch.labelled, batch.labelled.masks[:, :16, :16]),
                   unlabelled=cut(batch.unlabelled, inside=inside if padded else None), seed=7)


def unet(config, seed: int = 0):
    torch.manual_seed(seed)
    return methods.build(config, ModelConfig(width=4), 3).train()


def gradients(module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


def error_by_loop(right, labels, truth, balance: float) -> float:
    places = [place for place in np.ndindex(*truth.shape) if truth[place] != VOID]
    hits = sum(labels[place] == truth[place] for place in places)
    misses = len(places) - hits
    weight = min(max(hits / max(misses, 1), 1 / balance), balance)
    total = 0.0
    for place in places:
        odds = right[place].item()
        if labels[place] == truth[place]:
            total += math.log1p(math.exp(-odds))
        else:
            total += weight * math.log1p(math.exp(odds))
    return total / max(len(places), 1)


def contrast_by_loop(anchors, others, labels, temperature: float) -> float:
    values = []
    for i, anchor in enumerate(anchors):
        if labels[i] == VOID:
            continue
        same, different = [], []
        for j, other in enumerate(others):
            if labels[j] != VOID:
                power = math.exp(float(anchor @ other) / temperature)
                (same if labels[j] == labels[i] else different).append(power)
        if same and different:
            values.append(-math.log(sum(same) / (sum(same) + sum(different))))
    return sum(values) / max(len(values), 1)


def vectors(method: ELN, features, places) -> torch.Tensor:
    """Projected, each with length one: all of them first, then those that were drawn."""
    hidden = method.projector[2](method.projector[0](features).relu())
    unit = hidden / hidden.square().sum(dim=1, keepdim=True).sqrt()
    rows = [unit[number, :, row, column] for number, row, column in places]
    return torch.stack(rows)


def unlabelled_by_loop(method: ELN, batch) -> float:
    """Draws are taken in the order: colours, then cells."""
    config, unlabelled = method.config, batch.unlabelled
    rng = np.random.default_rng(batch.seed)
    views = [unlabelled.images, strong_view(unlabelled.images, config.strong, rng)]
    teacher = method.average(unlabelled.images)
    labels, odds = sure_labels(teacher), method.error(unlabelled.images, teacher)
    inside = np.ones(labels.shape, bool) if unlabelled.inside is None else unlabelled.inside.numpy()
    for place in np.ndindex(*labels.shape):
        if 1 / (1 + math.exp(-odds[place].item())) < config.threshold or not inside[place]:
            labels[place] = VOID
    assert len({*labels.ravel()}) > 2, "labels that are all the same prove little"
    total = sum(loss_by_loop(method.network(view), labels, labels != VOID) for view in views)
    drawn = rng.choice(labels.size, min(config.pixels, labels.size), replace=False)
    places = [np.unravel_index(number, labels.shape) for number in drawn]
    anchors = vectors(method, method.average.module.encode(unlabelled.images)[0], places)
    here = [int(labels[place]) for place in places]
    total += config.contrast * sum(
        contrast_by_loop(anchors, vectors(method, method.network.encode(view)[0], places), here,
                         config.temperature)
        for view in views
    )
    return config.weight * total


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("config", [
    NOW, replace(NOW, weight=0.4, contrast=0.3, pixels=60, temperature=0.2, threshold=0.6),
    replace(NOW, ratios=(0.9,), balance=1.5),
], ids=["all", "weighted", "one decoder"])
@torch.no_grad()
def test_every_loss_is_the_one_of_a_loop_over_pixels(config, padded, make_batch):
    method, batch = pixelwise(config), small(make_batch(), padded)
    part, truth = batch.labelled, batch.labelled.masks.numpy()
    losses = method.losses(batch, 0.5)
    assert losses["unlabelled"].item() == pytest.approx(unlabelled_by_loop(method, batch), rel=1e-6)
    predicted = method.network(part.images)
    main = supervised_by_loop(predicted, part.masks)
    assert losses["labelled"].item() == pytest.approx(main, rel=1e-9)
    others = [one.decode(method.network.encode(part.images)) for one in method.auxiliary]
    held = [supervised_by_loop(one, part.masks) for one in others]
    held = [loss if loss >= k * main else 0 for k, loss in zip(config.ratios, held, strict=True)]
    assert losses["auxiliary"].item() == pytest.approx(sum(held), rel=1e-6)
    wrong = sum(
        error_by_loop(method.error(part.images, one), one.argmax(dim=1).numpy(), truth,
                      config.balance)
        for one in (*others, predicted)
    )
    assert losses["error"].item() == pytest.approx(wrong, rel=1e-6)


def drawn_errors(kind: str):
    """Logits, labels and masks (2, 6, 7) of which none, some or all are wrong; some are void."""
    truth = masks(2, 6, 7)
    labels = truth.where(truth != VOID, 0)
    if kind != "none wrong":
        off = torch.rand(truth.shape, generator=torch.Generator().manual_seed(3)) < 0.2
        labels = torch.where(off | (kind == "all wrong"), (labels + 1) % 4, labels)
    return logits(2, 6, 7, seed=4), labels, truth


@pytest.mark.parametrize("balance", [1.0, 2.0, 100.0])
@pytest.mark.parametrize("kind", ["some wrong", "none wrong", "all wrong"])
def test_the_balanced_loss_is_that_of_a_loop_also_at_its_ends(kind, balance):
    right, labels, truth = drawn_errors(kind)
    right.requires_grad_(True)
    loss = error_loss(right, labels, truth, balance)
    expected = error_by_loop(right, labels.numpy(), truth.numpy(), balance)
    assert loss.item() == pytest.approx(expected, rel=1e-6) and loss > 0
    loss.backward()
    assert torch.isfinite(right.grad).all()


def test_right_and_wrong_pixels_pull_as_hard():
    """With even odds everywhere, the gradients of both kinds add up to the same."""
    right, labels, truth = drawn_errors("some wrong")
    right = torch.zeros_like(right, requires_grad=True)
    error_loss(right, labels, truth, 100.0).backward()
    known, hit = truth != VOID, labels == truth
    up, down = right.grad[hit].sum(), right.grad[known & ~hit].sum()
    assert up < 0 < down and up.item() == pytest.approx(-down.item(), rel=1e-6)


def test_void_is_neither_right_nor_wrong():
    right, labels, truth = drawn_errors("some wrong")
    right.requires_grad_(True)
    loss = error_loss(right, labels, truth, 100.0)
    loss.backward()
    assert not right.grad[truth == VOID].any() and right.grad[truth != VOID].all()
    other = labels.where(truth != VOID, (labels + 1) % 4)
    moved = right.detach().where(truth != VOID, 50.0)
    assert error_loss(moved, other, truth, 100.0).item() == loss.item()
    assert error_loss(right, labels, torch.full_like(truth, VOID), 100.0).item() == 0


@pytest.mark.parametrize("ratio, learns", [(0.0, True), (0.999, True), (1.001, False)])
def test_a_decoder_learns_only_while_it_is_worse_by_its_ratio(ratio, learns, make_batch):
    """Its weights are the main decoder's, so its loss is exactly the main one's."""
    method, batch = pixelwise(replace(NOW, ratios=(ratio,))), small(make_batch())
    method.auxiliary[0].load_state_dict(method.network.state_dict())
    losses = method.losses(batch, 0.5)
    losses["auxiliary"].backward()
    assert (losses["auxiliary"] > 0) == learns
    assert (gradients(method.auxiliary) > 0) == learns
    assert gradients(method.network) == 0, "its features are detached"


def test_the_main_loss_that_others_are_held_at_takes_no_gradient():
    loss, main = (torch.tensor(value, requires_grad=True) for value in (3.0, 1.0))
    held_at(2.0, loss, main).backward()
    assert loss.grad == 1 and main.grad is None
    assert held_at(3.0, loss, main) == 3 and held_at(3.1, loss, main) == 0


def test_each_term_teaches_its_own_part_and_no_other(make_batch):
    teaches = {"labelled": {"network"}, "auxiliary": {"auxiliary"}, "error": {"error"},
               "unlabelled": {"network", "projector"}}
    for term, parts in teaches.items():
        method = unet(replace(NOW, threshold=0.0))
        with torch.no_grad():
            method.average.module.head.bias.zero_()  # or one class would win everywhere
        method.average.requires_grad_(True)
        method.losses(make_batch(), 0.5)[term].backward()
        found = {name for name in ("network", "auxiliary", "error", "projector", "average")
                 if gradients(getattr(method, name))}
        assert found == parts, term


def test_pixels_that_are_not_trusted_have_no_influence(make_batch):
    method, batch = pixelwise(replace(NOW, pixels=10_000, threshold=0.75)), small(make_batch())
    labels, cells, _ = method.teach(batch.unlabelled)
    assert 0.1 < (labels == VOID).double().mean() < 0.9 and torch.equal(labels, cells)
    given, whole = logits(3, 3, 16, 16, seed=8).requires_grad_(), logits(3, 5, 16, 16, seed=9)
    whole.requires_grad_()
    method._unlabelled(
        batch.unlabelled, [given, given], [whole, whole], np.random.default_rng(0)
    ).backward()
    untrusted = (labels == VOID)[:, None]
    for one in (given, whole):
        assert not (one.grad * untrusted).any() and (one.grad * ~untrusted).any()


def test_an_error_network_that_trusts_all_leaves_plain_self_training(make_batch):
    method = pixelwise(replace(NOW, threshold=0.0, contrast=0.0))
    batch = small(make_batch())
    assert method.projector is None
    images, rng = batch.unlabelled.images, np.random.default_rng(batch.seed)
    labels = method.average(images).argmax(dim=1)
    expected = sum(
        cross_entropy(method.network(view), labels)
        for view in (images, strong_view(images, method.config.strong, rng))
    )
    torch.testing.assert_close(method.losses(batch, 0.5)["unlabelled"], expected)


def test_an_error_network_that_trusts_nothing_teaches_nothing(make_batch):
    method, batch = pixelwise(NOW), small(make_batch())
    with torch.no_grad():
        method.error.layer.bias.fill_(-1e4)
    loss = method.losses(batch, 0.5)["unlabelled"]
    loss.backward()
    assert loss.item() == 0 and gradients(method.network) == 0
    assert all(torch.isfinite(p.grad).all() for p in method.network.parameters())


def test_contrast_is_that_of_two_loops_and_needs_both_kinds():
    anchors, others = (nn.functional.normalize(logits(40, 6, seed=seed), dim=1) for seed in (1, 2))
    labels = masks(40)
    assert {*labels.tolist()} == {0, 1, 2, 3, VOID}
    for temperature in (0.05, 0.5):
        found = pixel_contrast(anchors, others, labels, temperature)
        expected = contrast_by_loop(anchors, others, labels, temperature)
        assert found.item() == pytest.approx(expected, rel=1e-6)
    half = pixel_contrast(anchors.half(), others.half(), labels, 0.5)
    assert half.item() == pytest.approx(expected, rel=0.01)
    others.requires_grad_(True)
    for alone in (labels.where(labels == VOID, 2), torch.full_like(labels, VOID)):
        loss = pixel_contrast(anchors, others, alone, 0.5)
        loss.backward()
        assert loss.item() == 0 and not others.grad.any()
