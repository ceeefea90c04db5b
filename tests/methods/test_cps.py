"""Cross pseudo supervision: symmetric, no gradient through labels, losses as in a loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from pixel_loops import Pixelwise, loss_by_loop, mixed_by_loop, supervised_by_loop, sure_labels

from semiseg_lib import methods
from semiseg_lib.batches.cutmix import draw_mix
from semiseg_lib.batches.options import THREE_BOXES
from semiseg_lib.methods import CPSConfig, SupervisedConfig
from semiseg_lib.methods.cps.method import CPS, labels_at
from semiseg_lib.methods.options import HardPixels
from semiseg_lib.models import ModelConfig

PLAIN, MIXED = CPSConfig(), CPSConfig(weight=1.0, cutmix=THREE_BOXES)
BOTH = pytest.mark.parametrize("config", [PLAIN, MIXED, replace(MIXED, label_passes="eval")],
                               ids=["plain", "cutmix", "cutmix clean"])


def pixelwise(config: CPSConfig) -> CPS:
    return CPS(config, Pixelwise(0), Pixelwise(1))


def unet(config, seed: int = 0):
    torch.manual_seed(seed)
    return methods.build(config, ModelConfig(width=4), 3).train()


def small(batch, padded: bool):
    inside = torch.ones(3, 16, 16, dtype=torch.bool)
    inside[0, :5] = inside[1, :, 11:] = inside[2, 9:, 3:] = False

    def cut(part, masks=None, seen=None):
        return replace(part, images=part.images[..., :16, :16], masks=masks, inside=seen)

    seen = inside.flip(0) if padded else None
    masks = batch.labelled.masks[:, :16, :16]
    masks = masks.masked_fill(~seen, 255) if padded else masks
    return replace(batch, labelled=cut(batch.labelled, masks, seen), seed=7,
                   unlabelled=cut(batch.unlabelled, None, inside if padded else None))


def shown(part) -> np.ndarray:
    return np.ones((3, 16, 16), bool) if part.inside is None else part.inside.numpy()


def cross_by_loop(method: CPS, batch) -> float:
    nets, unlabelled = (method.network, method.second), batch.unlabelled
    if method.config.cutmix is None:
        images = torch.cat([batch.labelled.images, unlabelled.images])
        inside = np.concatenate([shown(batch.labelled), shown(unlabelled)])
        labels = [sure_labels(net(images)) for net in nets]
    else:
        mix = draw_mix(unlabelled.images, method.config.cutmix, np.random.default_rng(batch.seed))
        labels = [mixed_by_loop(sure_labels(net(unlabelled.images)), mix) for net in nets]
        images, inside = mix(unlabelled.images), mixed_by_loop(shown(unlabelled), mix)
    assert all(len({*one.ravel()}) > 1 for one in labels)
    return sum(
        loss_by_loop(net(images), label, inside)
        for net, label in zip(nets, reversed(labels), strict=True)
    )


@BOTH
@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_the_losses_are_those_of_a_loop_over_pixels(config, padded, make_batch):
    config = replace(config, weight=0.7)
    method, batch = pixelwise(config), small(make_batch(), padded)
    losses = method.losses(batch, 0.5)
    crossed = 0.7 * cross_by_loop(method, batch)
    assert losses["unlabelled"].item() == pytest.approx(crossed, rel=1e-9)
    expected = sum(supervised_by_loop(net(batch.labelled.images), batch.labelled.masks)
                   for net in (method.network, method.second))
    assert losses["labelled"].item() == pytest.approx(expected, rel=1e-9)


@BOTH
def test_swapping_the_networks_swaps_what_they_learn_and_nothing_else(config, make_batch):
    one, two = unet(config), unet(config)
    first, second = (net.state_dict() for net in (one.network, one.second))
    two.network.load_state_dict({key: value.clone() for key, value in second.items()})
    two.second.load_state_dict({key: value.clone() for key, value in first.items()})
    for step in range(3):
        batch = replace(make_batch(step), seed=step)
        losses = []
        for method in (one, two):
            method.zero_grad()
            losses.append(method.losses(batch, 0.5))
            sum(losses[-1].values()).backward()
            with torch.no_grad():
                for parameter in method.parameters():
                    if parameter.requires_grad:
                        parameter -= 0.05 * parameter.grad
        assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
        for mine, other in ((one.network, two.second), (one.second, two.network)):
            theirs = other.state_dict()
            assert all(torch.equal(value, theirs[key]) for key, value in mine.state_dict().items())
    assert not torch.equal(one.network.head.weight, one.second.head.weight)


@BOTH
def test_each_learns_from_the_others_labels_as_constants(config, make_batch):
    """The gradient in one network is that of its cross-entropy with fixed labels of the other."""
    method, batch = pixelwise(config), small(make_batch(), True)
    method.losses(batch, 0.5)["unlabelled"].backward()
    nets, unlabelled = (method.network, method.second), batch.unlabelled
    mix = draw_mix(unlabelled.images, config.cutmix, np.random.default_rng(batch.seed))
    images, inside = mix(unlabelled.images), mix(unlabelled.inside)
    labels = [mix(net(unlabelled.images).argmax(dim=1).detach()) for net in nets]
    if config.cutmix is None:
        images = torch.cat([batch.labelled.images, images])
        inside = torch.cat([batch.labelled.inside, inside])
        labels = [net(images).argmax(dim=1).detach() for net in nets]
    for net, theirs in zip(nets, reversed(labels), strict=True):
        logs = net(images).log_softmax(dim=1)
        loss = -(logs.gather(1, theirs[:, None])[:, 0] * inside).sum() / inside.sum()
        expected = torch.autograd.grad(config.weight * loss, list(net.parameters()))
        for parameter, gradient in zip(net.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)


@BOTH
def test_a_network_that_is_frozen_still_teaches_and_gets_no_gradient(config, make_batch):
    method = unet(config)
    method.second.requires_grad_(False)
    sum(method.losses(make_batch(), 0.5).values()).backward()
    assert all(p.grad is None for p in method.second.parameters())
    assert all(p.grad is None for p in method.average.parameters())
    assert all(p.grad is not None for p in method.network.parameters())


def test_mixed_labels_are_whole_numbers_without_a_gradient(make_batch):
    method = unet(MIXED)
    labels = method._labels_of_unmixed(method.network, make_batch().unlabelled.images)
    assert labels.dtype == torch.int64 and not labels.requires_grad


def trained(method, make_batch, steps: int = 5) -> dict:
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.02)
    for step in range(steps):
        optimizer.zero_grad()
        sum(method.losses(make_batch(step), step / steps).values()).backward()
        optimizer.step()
        method.after_step(step)
    return method.state_dict()


@BOTH
def test_with_weight_zero_the_first_network_is_supervised_to_the_last_bit(config, make_batch):
    expected = trained(unet(SupervisedConfig()), make_batch)
    off = unet(replace(config, weight=0.0))
    assert off.learns_from(off.config) == {"labelled"}
    found = trained(off, lambda step: replace(make_batch(step), unlabelled=None))
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    second = unet(SupervisedConfig())
    second.network.load_state_dict(unet(config).second.state_dict())
    for key, value in trained(second, make_batch).items():
        if key.startswith("network."):
            assert torch.equal(found[key.replace("network.", "second.", 1)], value), key
    on = trained(unet(config), make_batch)
    assert not torch.equal(on["network.head.weight"], expected["network.head.weight"])


def statistics(net) -> list[torch.Tensor]:
    return [value.clone() for key, value in net.state_dict().items() if "running" in key]


def after_passes(net, *passes) -> list[torch.Tensor]:
    with torch.no_grad():
        for images in passes:
            net(images)
    return statistics(net)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_label_passes_enter_the_running_statistics_only_as_published(mode, make_batch):
    config, batch = replace(MIXED, label_passes=mode), make_batch()
    method = unet(config)
    method.losses(batch, 0.5)
    mix = draw_mix(batch.unlabelled.images, THREE_BOXES, np.random.default_rng(batch.seed))
    labelled, unlabelled = batch.labelled.images, batch.unlabelled.images
    mixed = mix(unlabelled)
    passes = (labelled, unlabelled, mixed) if mode == "train" else (labelled, mixed)
    for name in ("network", "second"):
        expected = after_passes(getattr(unet(config), name), *passes)
        found = statistics(getattr(method, name))
        assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True)), name
    assert all(module.training for module in method.network.modules())


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_label_in_eval_mode_is_that_of_the_image_alone(mode, make_batch):
    method, images = unet(replace(MIXED, label_passes=mode)), make_batch().unlabelled.images
    after_passes(method.network, *(make_batch(step).unlabelled.images for step in range(5)))
    with torch.no_grad():
        method.network.head.bias.zero_()  # or one class would win everywhere
    together = method._labels_of_unmixed(method.network, images)
    alone = method._labels_of_unmixed(method.network, images[:1])
    assert torch.equal(together[:1], alone) == (mode == "eval")


@BOTH
def test_losses_in_evaluation_mode_leave_that_mode_and_the_statistics_alone(config, make_batch):
    method = unet(config).eval()
    before = statistics(method.network)
    method.losses(make_batch(), 0.5)
    assert not any(module.training for module in method.modules())
    assert all(torch.equal(*pair) for pair in zip(before, statistics(method.network), strict=True))


def test_masks_are_drawn_from_the_batchs_seed_alone(make_batch):
    def loss(config, seed: int, other: int) -> float:
        method = unet(config)
        torch.manual_seed(other)
        return method.losses(replace(make_batch(), seed=seed), 0.5)["unlabelled"].item()

    assert loss(MIXED, 1, 0) == loss(MIXED, 1, 5) != loss(MIXED, 2, 0)
    assert loss(PLAIN, 1, 0) == loss(PLAIN, 2, 0)


def test_labelled_images_are_in_the_cross_loss_of_plain_cps_only(make_batch):
    batch = make_batch()
    other = replace(batch, labelled=replace(make_batch(9).labelled, masks=batch.labelled.masks))
    for config, same in ((PLAIN, False), (MIXED, True)):
        one, two = (pixelwise(config).losses(each, 0.5)["unlabelled"] for each in (batch, other))
        assert torch.equal(one, two) == same


def test_hard_pixels_change_the_labelled_loss_only(make_batch):
    plain, hard = (pixelwise(replace(MIXED, hard=one)).losses(make_batch(), 0.5)
                   for one in (None, HardPixels(below=0.0, least=50)))
    assert hard["labelled"] > 1.5 * plain["labelled"] and hard["unlabelled"] == plain["unlabelled"]


def test_two_networks_of_one_kind_begin_apart_and_the_first_is_deployed(make_batch):
    method, images = unet(PLAIN), make_batch().unlabelled.images
    assert not torch.equal(method.network.head.weight, method.second.head.weight)
    method.after_step(0)
    method.eval()
    torch.testing.assert_close(method.head_logits(images), method.network(images))
    assert methods.method_class(PLAIN).networks == 2


def test_it_begins_with_two_finished_methods_and_refuses_one(make_batch):
    finished = [unet(SupervisedConfig(), seed) for seed in (3, 4)]
    for method in finished:
        trained(method, make_batch, 3)
    method = unet(PLAIN)
    method.load_start(finished)
    first, second = finished
    for mine, theirs in ((method.network, first.network), (method.second, second.network),
                         (method.average, first.average)):
        state = theirs.state_dict()
        assert all(torch.equal(value, state[key]) for key, value in mine.state_dict().items())
    with pytest.raises(ValueError, match="unpack"):
        method.load_start(finished[:1])


@pytest.mark.parametrize("config", [PLAIN, MIXED], ids=["plain", "mixed"])
def test_under_autocast_the_cross_loss_still_teaches_every_weight(config, make_batch):
    """Autocast keeps its first copy of a weight; one made for a label would have no gradient."""
    method = unet(config)
    with torch.autocast("cpu", torch.bfloat16):
        cross = method.losses(make_batch(), 0.5)["unlabelled"]
    cross.backward()
    for network in (method.network, method.second):
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_of_equally_likely_classes_the_first_one_is_the_label_as_with_argmax(kind):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 3, (2, 7, 16, 16), generator=generator).to(kind)
    labels = labels_at(logits, (16, 16))
    assert (logits == logits.amax(dim=1, keepdim=True)).sum(dim=1).float().mean() > 1.5
    assert torch.equal(labels, logits.argmax(dim=1)) and labels.dtype == torch.int64
