"""Mean Teacher against a loop over pixels in double precision; its ramp; whom it teaches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pixel_loops import Pixelwise, supervised_by_loop

from semiseg_lib import methods
from semiseg_lib.batches.options import StrongConfig
from semiseg_lib.batches.strong_view import strong_view
from semiseg_lib.methods import MeanTeacherConfig, SupervisedConfig
from semiseg_lib.methods.mean_teacher.method import MeanTeacher, ramp_up, squared_difference
from semiseg_lib.models import ModelConfig


def built(config: MeanTeacherConfig) -> MeanTeacher:
    """A student and a teacher that differ."""
    method = MeanTeacher(config, Pixelwise(0))
    method.average.module.load_state_dict(Pixelwise(1).state_dict())
    return method


def padded(batch):
    """The unlabelled images with padding that is not the same in each."""
    inside = torch.ones(3, 32, 32, dtype=torch.bool)
    inside[0, :5] = inside[1, :, 11:] = inside[2, 9:, 3:] = False
    return replace(batch, unlabelled=replace(batch.unlabelled, inside=inside))


def softmax_by_loop(values: list[float]) -> list[float]:
    powers = [math.exp(value) for value in values]
    return [power / sum(powers) for power in powers]


def difference_by_loop(logits, taught, inside) -> float:
    """Mean over the shown pixels of the squared distance of two lists of probabilities."""
    total = count = 0
    for number, row, column in np.argwhere(inside.numpy()):
        own = softmax_by_loop(logits[number, :, row, column].tolist())
        other = softmax_by_loop(taught[number, :, row, column].tolist())
        total += sum((p - q) ** 2 for p, q in zip(own, other, strict=True))
        count += 1
    return total / max(count, 1)


@pytest.mark.parametrize("config", [
    MeanTeacherConfig(weight=2.0, ramp=0.0),
    MeanTeacherConfig(strong=None, ramp=0.5),
], ids=repr)
@torch.no_grad()
def test_the_loss_is_the_one_of_a_loop_over_pixels(config, make_batch):
    method, batch = built(config), replace(padded(make_batch()), seed=7)
    losses = method.losses(batch, 0.5)
    images = batch.unlabelled.images
    views = images
    if config.strong:
        views = strong_view(images, config.strong, np.random.default_rng(7))
    expected = config.weight * difference_by_loop(
        method.network(views), method.average(images), batch.unlabelled.inside
    )
    # The library takes probabilities in single precision, the loop in double.
    assert losses["unlabelled"].item() == pytest.approx(expected, rel=1e-5) and expected > 0
    supervised = supervised_by_loop(method.network(batch.labelled.images), batch.labelled.masks)
    assert losses["labelled"].item() == pytest.approx(supervised, rel=1e-9)


def test_the_difference_of_two_opposite_certainties_is_two_and_of_padding_nothing():
    logits = torch.tensor([50.0, -50.0]).view(1, 2, 1, 1)
    shown = torch.ones(1, 2, 2, dtype=torch.bool)
    for taught, expected in ((logits.flip(1), 2.0), (logits, 0.0), (0 * logits, 0.5)):
        taught = taught.softmax(dim=1).expand(1, 2, 2, 2)
        assert squared_difference(logits, taught, shown).item() == pytest.approx(expected)
    assert squared_difference(logits, taught, ~shown).item() == 0


def test_the_weight_rises_as_published():
    assert ramp_up(0.0, 0.4) == pytest.approx(math.exp(-5))
    assert ramp_up(0.2, 0.4) == pytest.approx(math.exp(-5 / 4))
    assert ramp_up(0.4, 0.4) == ramp_up(0.9, 0.4) == ramp_up(0.0, 0.0) == 1.0
    rising = [ramp_up(step / 20, 1.0) for step in range(21)]
    assert rising == sorted(rising) and len(set(rising)) == 21


def test_only_the_student_learns_and_only_the_shown_pixels_teach(make_batch):
    method, batch = built(MeanTeacherConfig(ramp=0.0)), padded(make_batch())
    loss = method.losses(batch, 0.5)["unlabelled"]
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in method.network.parameters())
    assert all(p.grad is None for p in method.average.parameters())
    images = batch.unlabelled.images.clone()
    images[~batch.unlabelled.inside[:, None].expand_as(images)] = 0.9
    painted = replace(batch, unlabelled=replace(batch.unlabelled, images=images))
    plain = MeanTeacherConfig(strong=None)  # a strong view blurs padding into the image
    assert torch.equal(*(built(plain).losses(one, 0.5)["unlabelled"] for one in (batch, painted)))


def test_a_student_that_agrees_with_its_teacher_is_left_alone(make_batch):
    method = MeanTeacher(MeanTeacherConfig(strong=None), Pixelwise(0))
    loss = method.losses(make_batch(), 1.0)["unlabelled"]
    loss.backward()
    assert loss.item() < 1e-12
    assert all(p.grad.abs().max() < 1e-6 for p in method.network.parameters())


def test_with_weight_zero_it_is_supervised_training_to_the_last_bit(make_batch):
    def trained(config):
        torch.manual_seed(0)
        method = methods.build(config, ModelConfig(width=4), 3).train()
        optimizer = torch.optim.AdamW(method.network.parameters(), lr=0.02)
        for step in range(4):
            optimizer.zero_grad()
            batch = make_batch(step)
            if "unlabelled" not in method.learns_from(config):
                batch = replace(batch, unlabelled=None)
            sum(method.losses(batch, step / 4).values()).backward()
            optimizer.step()
            method.after_step(step)
        return method.state_dict()

    expected, off, on = (trained(config) for config in (
        SupervisedConfig(), MeanTeacherConfig(weight=0.0), MeanTeacherConfig(strong=StrongConfig())
    ))
    assert all(torch.equal(off[key], expected[key]) for key in expected)
    assert not all(torch.equal(on[key], expected[key]) for key in expected)


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"ramp": 1.5}, {"ramp": -0.1}])
def test_options_that_make_no_sense_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"mean-teacher\.{name} is {wrong[name]};"):
        MeanTeacherConfig(**wrong)
