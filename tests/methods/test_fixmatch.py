"""FixMatch against a loop over pixels in double precision; what it may not touch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pixel_loops import Pixelwise, loss_by_loop, mixed_by_loop, supervised_by_loop, sure_labels

from semiseg_lib import methods
from semiseg_lib.batches.cutmix import draw_mix
from semiseg_lib.batches.options import CutMixConfig, StrongConfig
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import FixMatchConfig, SupervisedConfig
from semiseg_lib.methods.fixmatch.method import FixMatch
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.models import ModelConfig

ALWAYS = CutMixConfig(chance=1.0)
SUPERVISED, UNLABELLED = "labelled", "unlabelled"


def built(config: FixMatchConfig) -> FixMatch:
    """A student and a teacher that differ."""
    method = FixMatch(config, Pixelwise(0))
    method.average.module.load_state_dict(Pixelwise(1).state_dict())
    return method


def small(batch, padded: bool = False):
    """Images of 16x16 pixels, with or without padding that is not the same in each."""
    def cut(part):
        return replace(part, **{name: getattr(part, name)[..., :16, :16]
                                for name in ("images", "masks", "box_maps")
                                if getattr(part, name) is not None})

    inside = torch.ones(3, 16, 16, dtype=torch.bool)
    inside[0, :5] = inside[1, :, 11:] = inside[2, 9:, 3:] = False
    unlabelled = cut(batch.unlabelled)
    return replace(batch, labelled=cut(batch.labelled), seed=7,
                   unlabelled=replace(unlabelled, inside=inside) if padded else unlabelled)


def test_constrained_labels_keep_to_the_boxes(make_batch):
    """Against a loop: the most likely of the allowed classes, sure among these."""
    batch = small(make_batch())
    images = batch.unlabelled.images
    allowed = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) < 0.5
    allowed[:, 0] = True
    method = built(FixMatchConfig(threshold=0.7, constrain=True))
    assert method.reads == {"allowed"} and not built(FixMatchConfig()).reads
    labels, free = method.teach(images, allowed), method.teach(images)
    probabilities = method.average(images).softmax(dim=1)
    for image, row, column in np.ndindex(3, 16, 16):
        one = probabilities[image, :, row, column] * allowed[image, :, row, column]
        one = one / one.sum()
        expected = int(one.argmax()) if one.max() >= 0.7 else VOID
        assert int(labels[image, row, column]) == expected
    assert not torch.equal(labels, free)
    assert torch.equal(method.teach(images, torch.ones_like(allowed)), free)


def by_loop(method: FixMatch, batch) -> float:
    """The unlabelled loss; draws are taken in the order: mask, colours, ..., dropped features."""
    config, images = method.config, batch.unlabelled.images
    rng = np.random.default_rng(batch.seed)
    labels = sure_labels(method.average(images), config.threshold)
    assert len({*labels.ravel()} - {VOID}) > 1, "labels that are all the same prove little"
    inside = np.ones(labels.shape, bool)
    if batch.unlabelled.inside is not None:
        inside = batch.unlabelled.inside.numpy()
    losses = []
    for _ in range(config.views):
        mix = draw_mix(images, config.cutmix, rng)
        logits = method.network(mix(strong_view(images, config.strong, rng)))
        losses.append(loss_by_loop(logits, mixed_by_loop(labels, mix), mixed_by_loop(inside, mix)))
    strong = sum(losses) / len(losses)
    if not config.feature_dropout:
        return config.weight * strong
    (features,) = method.network.encode(images)
    for number, row in enumerate(rng.random(features.shape[:2])):
        for channel, drawn in enumerate(row):
            factor = 0 if drawn < config.feature_dropout else 1 / (1 - config.feature_dropout)
            features[number, channel] = features[number, channel] * factor
    dropped = loss_by_loop(method.network.decode([features]), labels, inside)
    return config.weight * (0.5 * strong + 0.5 * dropped)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("config", [
    FixMatchConfig(cutmix=ALWAYS),
    FixMatchConfig(cutmix=None, threshold=0.6, weight=0.3),
    FixMatchConfig(threshold=0.0),
    FixMatchConfig(cutmix=ALWAYS, views=2, threshold=0.7),
    FixMatchConfig(cutmix=ALWAYS, views=2, feature_dropout=0.25, weight=2.0),
], ids=repr)
@torch.no_grad()
def test_the_loss_is_the_one_of_a_loop_over_pixels(config, padded, make_batch):
    method, batch = built(config), small(make_batch(), padded)
    losses = method.losses(batch, 0.5)
    assert losses[UNLABELLED].item() == pytest.approx(by_loop(method, batch), rel=1e-9)
    assert losses[UNLABELLED] > 0
    expected = supervised_by_loop(method.network(batch.labelled.images), batch.labelled.masks)
    assert losses[SUPERVISED].item() == pytest.approx(expected, rel=1e-9)


def test_labels_are_kept_from_the_threshold_on_and_void_below(make_batch):
    images = small(make_batch()).unlabelled.images
    confidence = built(FixMatchConfig()).average(images).float().softmax(dim=1).amax(dim=1)
    exact = confidence.flatten().sort().values[300].item()
    labels = built(FixMatchConfig(threshold=exact)).teach(images)
    assert torch.equal(labels != VOID, confidence >= exact)
    assert (labels == VOID).sum() == 300
    assert (built(FixMatchConfig(threshold=0.0)).teach(images) != VOID).all()


def test_half_precision_decides_as_single_precision_does():
    """Near 1, eight bits know a confidence to 1 in 256: the edge would be anywhere."""
    sure = torch.linspace(0.94, 0.96, 64 * 64).view(1, 1, 64, 64)
    logits = torch.cat([sure.logit(), torch.zeros_like(sure)], dim=1)

    class Knows(torch.nn.Module):
        def forward(self, images):
            return logits.to(torch.bfloat16)

    method = FixMatch(FixMatchConfig(threshold=0.95), Knows())
    with torch.autocast("cpu", torch.bfloat16):
        kept = method.teach(torch.zeros(1, 3, 64, 64)) != VOID
    known = logits.to(torch.bfloat16).float().softmax(dim=1).amax(dim=1)
    assert torch.equal(kept, known >= 0.95)


def test_a_teacher_that_is_never_sure_teaches_nothing(make_batch):
    method, batch = built(FixMatchConfig(threshold=0.5)), small(make_batch())
    for weight in method.average.parameters():
        weight.zero_()  # three classes, even odds
    loss = method.losses(batch, 0.5)[UNLABELLED]
    loss.backward()
    assert loss.item() == 0
    assert all(not p.grad.any() for p in method.network.parameters())


def unet(config, seed: int = 0):
    torch.manual_seed(seed)
    return methods.build(config, ModelConfig(width=4), 3).train()


def trained(method, make_batch, steps: int = 5, seed: int = 0):
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.02)
    for step in range(steps):
        optimizer.zero_grad()
        batch = replace(make_batch(step), seed=seed + step)
        sum(method.losses(batch, step / steps).values()).backward()
        optimizer.step()
        method.after_step(step)
    return method.state_dict()


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_with_weight_zero_it_is_supervised_training_to_the_last_bit(make_batch):
    """Dropped features, hard pixels, views have no say either; unlabelled images are not read."""
    expected = trained(unet(SupervisedConfig()), make_batch)
    off = FixMatchConfig(weight=0.0, views=2, feature_dropout=0.5)
    method = unet(off)
    assert method.learns_from(off) == {"labelled"}
    assert same(trained(method, lambda step: replace(make_batch(step), unlabelled=None)), expected)
    on = replace(off, weight=1.0, threshold=0.0)
    assert not same(trained(unet(on), make_batch), expected)


@pytest.mark.parametrize("config", [
    FixMatchConfig(threshold=0.0), FixMatchConfig(threshold=0.0, views=2, feature_dropout=0.5),
], ids=repr)
def test_no_gradient_reaches_the_teacher_even_if_it_could(config, make_batch):
    method = unet(config)
    assert not any(p.requires_grad for p in method.average.parameters())
    method.average.requires_grad_(True)
    before = {name: value.clone() for name, value in method.average.state_dict().items()}
    sum(method.losses(make_batch(), 0.5).values()).backward()
    assert all(p.grad is None for p in method.average.parameters())
    assert any(p.grad.any() for p in method.network.parameters())
    assert same(method.average.state_dict(), before), "nor do its batch statistics move"
    assert not method.average.training and method.network.training


def test_the_gradient_is_that_of_labels_that_are_constants(make_batch):
    method, batch = built(FixMatchConfig(cutmix=ALWAYS, threshold=0.5)), small(make_batch())
    method.losses(batch, 0.5)[UNLABELLED].backward()
    rng = np.random.default_rng(batch.seed)
    mix = draw_mix(batch.unlabelled.images, ALWAYS, rng)
    logits = method.network(mix(strong_view(batch.unlabelled.images, method.config.strong, rng)))
    labels = mix(torch.from_numpy(sure_labels(method.average(batch.unlabelled.images), 0.5)))
    total = torch.nn.functional.cross_entropy(logits, labels, ignore_index=VOID, reduction="sum")
    parameters = list(method.network.parameters())
    expected = torch.autograd.grad(total / labels.numel(), parameters)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_noise_is_drawn_from_the_batchs_seed_alone(make_batch):
    config = FixMatchConfig(threshold=0.0, feature_dropout=0.5)

    def loss(seed: int, other: int) -> float:
        method = unet(config)
        torch.manual_seed(other)
        np.random.seed(other)
        return method.losses(replace(make_batch(), seed=seed), 0.5)[UNLABELLED].item()

    assert loss(1, 0) == loss(1, 5) != loss(2, 0)


def test_two_views_of_an_image_differ(make_batch):
    method, batch = unet(FixMatchConfig(threshold=0.0, views=2)), make_batch()
    seen = []
    method.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.losses(batch, 0.5)
    (images,) = seen
    labelled, one, two = images.split(3)
    assert torch.equal(labelled, batch.labelled.images)
    assert not torch.allclose(one, two) and not torch.allclose(one, batch.unlabelled.images)


def test_the_average_is_the_closed_form_of_the_students_weights(make_batch):
    method, seen = unet(FixMatchConfig(threshold=0.0, ema_decay=0.6)), []
    after_step = method.after_step

    def noted(step: int) -> None:
        seen.append(method.network.head.weight.detach().clone())
        after_step(step)

    method.after_step = noted
    trained(method, make_batch, steps=6)
    decays = [min(0.6, 1 - 1 / (t + 1)) for t in range(6)]
    expected = sum(
        (1 - decays[t]) * float(np.prod(decays[t + 1:])) * weight for t, weight in enumerate(seen)
    )
    torch.testing.assert_close(method.average.module.head.weight, expected)


def test_hard_pixels_change_the_labelled_loss_only(make_batch):
    batch = small(make_batch())
    plain, hard = (built(FixMatchConfig(hard=one)).losses(batch, 0.5)
                   for one in (None, HardPixels(below=0.0, least=20)))
    assert hard[SUPERVISED] > 1.5 * plain[SUPERVISED] and hard[UNLABELLED] == plain[UNLABELLED]


@pytest.mark.parametrize("name, value", [("threshold", 1.5), ("weight", -1.0)])
def test_an_option_out_of_its_range_is_named_alone(name, value):
    with pytest.raises(ValueError, match=rf"^fixmatch\.{name} is {value}; it must be [^;]*\.$"):
        FixMatchConfig(**{name: value})


@pytest.mark.parametrize("share", [1.0, -0.1])
def test_a_share_of_features_that_makes_no_sense_is_refused(share):
    with pytest.raises(ValueError, match=f"feature_dropout is {share}"):
        FixMatchConfig(feature_dropout=share)


@pytest.mark.parametrize("model", [
    ModelConfig(width=4),
    ModelConfig(architecture="deeplab", encoder="test_resnet", decoder_width=8),
    ModelConfig(architecture="vit", encoder="test_vit", decoder_width=8),
], ids=lambda model: model.architecture)
def test_every_network_can_drop_features(model, make_batch):
    torch.manual_seed(0)
    config = FixMatchConfig(threshold=0.0, feature_dropout=0.5, strong=StrongConfig())
    method = methods.build(config, model, 3).train()
    loss = method.losses(make_batch(), 0.5)[UNLABELLED]
    loss.backward()
    assert torch.isfinite(loss) and loss > 0
    method.eval()
    images = make_batch().unlabelled.images
    features = method.network.encode(images)
    assert torch.equal(method.network.decode(features), method.network(images))
