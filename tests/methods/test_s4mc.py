"""S4MC against a loop over pixels in double precision; what it counts, keeps and may not touch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from neighbour_loops import refined_by_loop, sure_by_loop
from pixel_loops import Pixelwise, loss_by_loop, mixed_by_loop, supervised_by_loop, sure_labels

from semiseg_lib import methods
from semiseg_lib.batches.cutmix import draw_mix
from semiseg_lib.batches.options import CutMixConfig, StrongConfig
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import FixMatchConfig, S4MCConfig, SupervisedConfig
from semiseg_lib.methods.fixmatch.method import FixMatch
from semiseg_lib.methods.s4mc.method import S4MC, agreement
from semiseg_lib.models import ModelConfig
from semiseg_lib.training.memory import estimate, example_batch
from semiseg_lib.training.run_folder import RunFolder

ALWAYS = CutMixConfig(chance=1.0, area=(0.5, 0.5), aspect=0.25)
EXPECTED = (0.9, 0.7, 0.2)


def built(config: S4MCConfig) -> S4MC:
    """A student and a teacher that differ."""
    method = S4MC(config, Pixelwise(0), 3)
    method.average.module.load_state_dict(Pixelwise(1).state_dict())
    return method


def unet(config, width: int = 4):
    torch.manual_seed(0)
    return methods.build(config, ModelConfig(width=width), 3).train()


def small(batch, padded: bool):
    """Images of 16x16 pixels, with or without padding that is not the same in each."""
    inside = torch.ones(3, 16, 16, dtype=torch.bool)
    inside[0, :5] = inside[1, :, 11:] = inside[2, 9:, 3:] = False

    def cut(part, **others):
        return replace(part, images=part.images[..., :16, :16], **others)

    labelled = cut(batch.labelled, masks=batch.labelled.masks[:, :16, :16])
    unlabelled = cut(batch.unlabelled, inside=inside if padded else None)
    return replace(batch, seed=7, labelled=labelled, unlabelled=unlabelled)


@pytest.mark.parametrize("progress, share", [(0.0, 0.4), (0.25, 0.3), (0.5, 0.2), (1.0, 0.0)])
def test_fewer_pixels_are_dropped_as_the_training_goes_on(progress, share, make_batch):
    """Not refined, it is the share of what is shown, but for ties in single precision."""
    method = built(S4MCConfig(beta=0.0, cutmix=ALWAYS))
    for padded in (False, True):
        part = method.student_part(
            small(make_batch(), padded).unlabelled, progress, np.random.default_rng(0)
        )
        shown = part.inside.sum().item()
        dropped = ((part.masks == VOID) & part.inside).sum().item()
        assert round(share * shown) <= dropped <= round(share * shown) + 2 * (share > 0)
        assert (part.masks[~part.inside] == VOID).all()


def by_loop(method: S4MC, batch, progress: float) -> float:
    """The unlabelled loss; draws are taken in the order: mask, colours."""
    config, images = method.config, batch.unlabelled.images
    rng = np.random.default_rng(batch.seed)
    mix = draw_mix(images, config.cutmix, rng)
    student = strong_view(images, config.strong, rng) if config.strong else images
    inside = batch.unlabelled.inside
    inside = np.ones((3, 16, 16), bool) if inside is None else inside.numpy()
    inside = mixed_by_loop(inside, mix)
    labels = mixed_by_loop(sure_labels(method.average(images)), mix)
    assert len({*labels.ravel()}) > 1, "labels that are all the same prove little"

    if config.indicator_of == "mixed":
        maps = method.average(mix(images)).softmax(dim=1).numpy().copy()
    else:
        maps = method.average(images).softmax(dim=1).numpy()
        maps = np.stack([mixed_by_loop(maps[:, c], mix) for c in range(3)], axis=1)
    maps[np.broadcast_to(~inside[:, None], maps.shape)] = 0
    plain = sure_by_loop(maps, config.indicator)
    refined = sure_by_loop(refined_by_loop(
        maps, EXPECTED, config.neighbours, config.support, config.beta), config.indicator)
    rank = round(config.drop * (1 - progress) * inside.sum())
    least = sorted(plain[inside])[rank - 1] if rank else -math.inf
    kept = inside & (refined > least)
    assert kept.sum() > 20
    loss = loss_by_loop(method.network(mix(student)), labels, kept)
    scale = inside.sum() / kept.sum() if config.by_kept else 1
    return config.weight * config.list_ratio * scale * loss


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("config", [
    S4MCConfig(cutmix=ALWAYS),
    S4MCConfig(cutmix=ALWAYS, strong=None, by_kept=False, weight=0.7, neighbours=8, support=3),
    S4MCConfig(cutmix=ALWAYS, indicator_of="unmixed", indicator="entropy", list_ratio=0.1),
    S4MCConfig(cutmix=None, indicator="confidence", drop=0.6, beta=0.2),
    S4MCConfig(cutmix=ALWAYS, indicator_of="unmixed", strong=None, drop=0.8),
], ids=repr)
@torch.no_grad()
def test_the_loss_is_the_one_of_a_loop_over_pixels(config, padded, make_batch):
    method = built(replace(config, expectation=EXPECTED))
    batch = small(make_batch(), padded)
    losses = method.losses(batch, 0.25)
    assert losses["unlabelled"].item() == pytest.approx(by_loop(method, batch, 0.25), rel=1e-9)
    assert losses["unlabelled"] > 0
    expected = supervised_by_loop(method.network(batch.labelled.images), batch.labelled.masks)
    assert losses["labelled"].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("by_kept", [True, False])
@pytest.mark.parametrize("beta, drop", [(0.0, 0.0), (0.6, 0.0)])
def test_where_nothing_is_dropped_it_is_fixmatch_without_a_threshold(
    beta, drop, by_kept, make_batch
):
    shared = {"strong": StrongConfig(), "cutmix": ALWAYS, "ema_decay": 0.9}
    fixmatch = FixMatch(FixMatchConfig(threshold=0.0, **shared), Pixelwise(0))
    ours = S4MC(S4MCConfig(beta=beta, drop=drop, by_kept=by_kept, **shared), Pixelwise(0), 3)
    for padded in (False, True):
        batch = small(make_batch(), padded)
        expected, found = (one.losses(batch, 0.3) for one in (fixmatch, ours))
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_expectation_is_counted_in_training_over_all_steps_or_given(make_batch):
    method = unet(S4MCConfig())
    assert method.expectation().tolist() == [1, 1, 1]
    for step in range(3):
        method.losses(make_batch(step), 0.5)
    method.eval().losses(make_batch(9), 0.5)
    same, pairs = agreement(torch.cat([make_batch(step).labelled.masks for step in range(3)]), 3)
    assert torch.equal(method.expectation(), same / pairs)
    padded, plain = unet(S4MCConfig()), unet(S4MCConfig(void_differs=False))
    inside = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) < 0.7
    batch = make_batch()
    labelled = replace(batch.labelled, inside=inside)
    padded.losses(replace(batch, labelled=labelled), 0.5)
    plain.losses(batch, 0.5)
    masks = labelled.masks
    assert torch.equal(padded.pairs, agreement(masks, 3, inside=inside)[1])
    assert torch.equal(plain.pairs, agreement(masks, 3, void_differs=False)[1])
    given = S4MC(S4MCConfig(expectation=EXPECTED), Pixelwise(0), 3)
    given.losses(make_batch(), 0.5)
    assert given.expectation().tolist() == pytest.approx(EXPECTED)
    with pytest.raises(ValueError, match="expectation has 3 values for 4 classes"):
        S4MC(S4MCConfig(expectation=EXPECTED), Pixelwise(0), 4)


def test_a_class_that_was_not_seen_is_expected_to_agree(make_batch):
    method, batch = unet(S4MCConfig()), make_batch(void=True)
    assert torch.isfinite(method.losses(batch, 0.0)["unlabelled"])
    assert method.expectation().tolist() == [1, 1, 1] and not method.pairs.any()


def test_counts_are_kept_in_the_weights_and_forgotten_at_a_warm_start(make_batch, tmp_path):
    method = unet(S4MCConfig())
    method.losses(make_batch(), 0.5)
    RunFolder(tmp_path).finish(method.state_dict(), {"history": []})
    loaded, fresh = unet(S4MCConfig()), unet(S4MCConfig())
    RunFolder(tmp_path).load_weights(loaded)
    assert loaded.pairs.any() and torch.equal(loaded.expectation(), method.expectation())
    fresh.load_start([method])
    assert not fresh.pairs.any()
    fresh.load_start([unet(SupervisedConfig())])


def test_nothing_kept_is_a_loss_of_zero_with_a_gradient(make_batch):
    """Where all pixels are equally sure, none is above any quantile: a NaN as published."""
    method, batch = built(S4MCConfig(beta=0.0)), small(make_batch(), False)
    for weight in method.average.parameters():
        weight.zero_()
    loss = method.losses(batch, 0.0)["unlabelled"]
    loss.backward()
    assert loss.item() == 0
    assert all(not p.grad.any() for p in method.network.parameters())
    assert method.losses(batch, 1.0)["unlabelled"] > 0


def test_before_its_start_and_with_weight_zero_it_is_supervised_training(make_batch):
    batch = make_batch()
    expected = unet(SupervisedConfig()).losses(batch, 0.2)["labelled"]
    late = unet(S4MCConfig(start=0.3)).losses(replace(batch, unlabelled=None), 0.2)
    assert torch.equal(late["labelled"], expected) and late["unlabelled"] == 0
    assert unet(S4MCConfig(start=0.3)).losses(batch, 0.3)["unlabelled"] > 0
    never = unet(S4MCConfig(weight=0.0))
    assert never.learns_from(never.config) == {"labelled"}
    (loss,) = never.losses(replace(batch, unlabelled=None), 0.2).values()
    assert torch.equal(loss, expected)


def test_no_gradient_reaches_the_teacher_and_its_statistics_stay(make_batch):
    method = unet(S4MCConfig())
    method.average.requires_grad_(True)
    before = {name: value.clone() for name, value in method.average.state_dict().items()}
    sum(method.losses(make_batch(), 0.5).values()).backward()
    assert all(p.grad is None for p in method.average.parameters())
    assert any(p.grad.any() for p in method.network.parameters())
    assert all(torch.equal(before[key], value)
               for key, value in method.average.state_dict().items())


def test_the_label_is_the_unrefined_one_of_the_unmixed_image(make_batch):
    method, batch = built(S4MCConfig(cutmix=ALWAYS, beta=1.0, drop=0.2)), small(make_batch(), True)
    part = method.student_part(batch.unlabelled, 0.0, np.random.default_rng(5))
    mix = draw_mix(batch.unlabelled.images, ALWAYS, np.random.default_rng(5))
    labels = mix(method.average(batch.unlabelled.images).argmax(dim=1))
    kept = part.masks != VOID
    assert torch.equal(part.masks[kept], labels[kept]) and 0 < kept.sum() < part.inside.sum()


def test_what_lies_in_the_padding_has_no_say(make_batch):
    batch = small(make_batch(), True)
    other = torch.rand(batch.unlabelled.images.shape, generator=torch.Generator().manual_seed(8))
    changed = batch.unlabelled.images.where(batch.unlabelled.inside[:, None], other)
    method = built(S4MCConfig(cutmix=ALWAYS, strong=None, neighbours=8, drop=0.8))
    parts = (replace(batch.unlabelled, images=images)
             for images in (batch.unlabelled.images, changed))
    one, two = (method.losses(replace(batch, unlabelled=part), 0.2)["unlabelled"] for part in parts)
    assert one.item() == pytest.approx(two.item(), rel=1e-12)


@pytest.mark.parametrize("config", [
    S4MCConfig(), S4MCConfig(strong=None, indicator="entropy", neighbours=8, support=2),
    S4MCConfig(indicator_of="unmixed", expectation=EXPECTED),
], ids=repr)
def test_memory_is_told_without_values_and_half_precision_is_finite(config, make_batch):
    method = unet(config, width=8)
    batch = example_batch(method, 3, labelled=2, unlabelled=3, size=(32, 32))
    assert estimate(method, batch, "bf16").activations > 10_000
    with torch.autocast("cpu", torch.bfloat16):
        losses = method.losses(make_batch(), 0.2)
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())


@pytest.mark.parametrize("options, name", [
    ({"weight": -1.0}, "weight"), ({"beta": 1.5}, "beta"), ({"drop": -0.1}, "drop"),
    ({"support": 5}, "support 5"), ({"neighbours": 6}, "neighbours is 6"), ({"start": 2}, "start"),
    ({"expectation": (0.5, 1.2)}, "expectation"), ({"list_ratio": -1}, "list_ratio"),
])
def test_options_that_make_no_sense_are_refused(options, name):
    with pytest.raises(ValueError, match=rf"s4mc\..*{name}"):
        S4MCConfig(**options)
