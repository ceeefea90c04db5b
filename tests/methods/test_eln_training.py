"""Error localisation in training: its phases, what crosses steps, other networks, precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from semiseg_lib import methods
from semiseg_lib.datasets.labels import VOID
from semiseg_lib.methods import ELNConfig, SupervisedConfig
from semiseg_lib.models import ModelConfig
from semiseg_lib.training.memory import estimate, example_batch, saved_bytes

NOW = ELNConfig(ratios=(0.0, 0.0), auxiliary_from=0.0, unlabelled_from=0.0, threshold=0.0)
SMALL = ModelConfig(width=4)


def unet(config, seed: int = 0, model: ModelConfig = SMALL):
    torch.manual_seed(seed)
    method = methods.build(config, model, 3).train()
    for network in (method.network, method.average.module):
        if isinstance(network.head, torch.nn.Conv2d):
            torch.nn.init.zeros_(network.head.bias)  # or one class would win everywhere
    return method


def trained(method, make_batch, steps=range(5)):
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.02)
    for step in steps:
        optimizer.zero_grad()
        batch = replace(make_batch(step), seed=step)
        sum(method.losses(batch, step / 6).values()).backward()
        optimizer.step()
        method.after_step(step)
    return method


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("progress, active", [
    (0.0, set()), (0.19, set()), (0.2, {"auxiliary", "error"}), (0.59, {"auxiliary", "error"}),
    (0.6, {"auxiliary", "error", "unlabelled"}), (1.0, {"auxiliary", "error", "unlabelled"}),
])
def test_the_phases_begin_when_they_should(progress, active, make_batch):
    method = unet(replace(NOW, auxiliary_from=0.2, unlabelled_from=0.6))
    batch, seen = make_batch(), []
    method.network.stem.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    losses = method.losses(batch, progress)
    assert {name for name, loss in losses.items() if loss > 0} == active | {"labelled"}
    assert losses.keys() == {"labelled", "auxiliary", "error", "unlabelled"}
    expected = [9 if "unlabelled" in active else 3]
    assert seen == expected, "one pass, of both views where they are learnt"


def test_with_weight_zero_the_network_is_supervised_to_the_last_bit(make_batch):
    expected = trained(unet(SupervisedConfig()), make_batch).state_dict()
    method = unet(replace(NOW, weight=0.0))
    assert method.learns_from(method.config) == {"labelled"} and method.projector is None
    before = [p.clone() for p in method.error.parameters()]
    found = trained(method, lambda step: replace(make_batch(step), unlabelled=None)).state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    moved = [not torch.equal(*pair) for pair in zip(before, method.error.parameters(), strict=True)]
    assert all(moved), "yet the error network learns what is wrong with it"
    on = trained(unet(NOW), make_batch).state_dict()
    assert not torch.equal(on["network.head.weight"], expected["network.head.weight"])


def test_resets_hand_the_student_its_teachers_weights_at_set_steps_only(make_batch):
    method = unet(replace(NOW, reset=2, unlabelled_from=0.5))
    equal = []
    for step in range(6):
        trained(method, make_batch, [step])
        equal.append(same(method.network.state_dict(), method.average.module.state_dict()))
    assert equal == [True, False, False, True, False, True]  # the average begins as the student


def test_a_training_with_resets_goes_on_as_if_it_had_not_been_interrupted(make_batch):
    config = replace(NOW, reset=2, ema_decay=0.5)
    whole = trained(unet(config), make_batch, range(6)).state_dict()
    first, second = unet(config), unet(config, seed=9)
    second.load_state_dict(trained(first, make_batch, range(3)).state_dict())
    assert same(trained(second, make_batch, range(3, 6)).state_dict(), whole)
    without = trained(unet(replace(config, reset=0)), make_batch, range(6)).state_dict()
    assert not same(without, whole)


def test_labels_and_maps_leave_modes_and_statistics_as_they_were(make_batch):
    method, batch = unet(NOW), make_batch()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.teach(batch.unlabelled)
    method.error_map(batch.unlabelled.images)
    assert method.error.training and method.network.training and not method.average.training
    assert same(method.state_dict(), before)
    method.eval()
    method.losses(batch, 0.5)
    assert not any(module.training for module in method.modules())
    assert same(method.state_dict(), before)


def test_the_error_map_is_of_the_deployed_model_and_filters_its_labels(make_batch):
    method = trained(unet(replace(NOW, threshold=0.55)), make_batch).eval()
    images = make_batch(7).unlabelled.images
    right, labels = method.error_map(images), method.trusted_labels(images)
    assert right.shape == labels.shape == (3, 32, 32) and not right.requires_grad
    expected = method.error(images, method(images)).sigmoid()
    torch.testing.assert_close(right, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(labels != VOID, right >= 0.55) and (labels == VOID).any()
    kept = labels != VOID
    assert torch.equal(labels[kept], method(images).argmax(dim=1)[kept])


def test_noise_is_drawn_from_the_batchs_seed_alone(make_batch):
    def loss(seed: int, other: int) -> float:
        method = unet(replace(NOW, pixels=50))
        torch.manual_seed(other)
        return method.losses(replace(make_batch(), seed=seed), 0.5)["unlabelled"].item()

    assert loss(1, 0) == loss(1, 5) != loss(2, 0)


@pytest.mark.parametrize("config", [
    ELNConfig(), replace(NOW, contrast=0.0), replace(NOW, weight=0.0),
], ids=["published", "no contrast", "no unlabelled"])
@pytest.mark.parametrize("precision, off", [("no", 0.02), ("bf16", 0.03)])
def test_its_memory_can_be_counted_without_values(config, precision, off):
    def build():
        torch.manual_seed(0)
        return methods.build(config, ModelConfig(width=8), 6)

    method = build()
    batch = example_batch(method, 6, labelled=2, unlabelled=3, size=(64, 64))
    parts = [part and replace(part, **{
        name: torch.ones(value.shape, dtype=value.dtype)
        for name, value in vars(part).items() if isinstance(value, torch.Tensor)
    }) for part in (batch.labelled, batch.unlabelled)]
    exact = saved_bytes(build().train(), type(batch)(*parts), precision)
    assert estimate(method, batch, precision).activations == pytest.approx(exact, rel=off)


@pytest.mark.parametrize("void", [False, True])
def test_half_precision_learns_too(void, make_batch):
    method = unet(replace(NOW, threshold=0.5))
    with torch.autocast("cpu", torch.bfloat16):
        losses = method.losses(make_batch(void=void), 0.5)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert all(torch.isfinite(p.grad).all() for p in method.network.parameters())
    parts = (method.network, method.auxiliary, method.error)
    learns = [any(p.grad is not None and p.grad.any() for p in part.parameters()) for part in parts]
    assert learns == [True, not void, not void]
    with torch.autocast("cpu", torch.bfloat16):
        assert method.error_map(make_batch().unlabelled.images).dtype == torch.float32


@pytest.mark.parametrize("model", [
    ModelConfig(architecture="deeplab", encoder="test_resnet", decoder_width=8),
    ModelConfig(architecture="vit", encoder="test_vit", decoder_width=8),
    ModelConfig(architecture="swiftnet", encoder="test_resnet", decoder_width=8),
], ids=lambda model: model.architecture)
def test_every_network_with_a_decoder_serves(model, make_batch):
    method = unet(NOW, model=model)
    losses = method.losses(make_batch(), 0.5)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
    learnt = sum(p.numel() for p in method.network.parameters())
    own = sum(p.numel() for p in method.auxiliary[0].parameters())
    assert 0 < own < learnt and method.network.encode(make_batch().unlabelled.images)


def test_a_network_without_a_decoder_is_refused():
    with pytest.raises(ValueError, match=r"a network with a decoder, not Classifier"):
        methods.build(NOW, ModelConfig(architecture="classifier", encoder="resnet18"), 3)


def test_it_begins_with_a_finished_network_and_its_own_parts_fresh(make_batch):
    start = trained(unet(SupervisedConfig(), seed=3), make_batch)
    method = unet(NOW)
    fresh = {name: value.clone() for name, value in method.state_dict().items()}
    method.load_start([start])
    for name, value in method.state_dict().items():
        begun = name.startswith(("network.", "average."))
        assert torch.equal(value, start.state_dict()[name] if begun else fresh[name]), name
    one, two = (decoder.head.weight for decoder in method.auxiliary)
    assert not torch.equal(one, two), "the decoders start apart"


@pytest.mark.parametrize("options, message", [
    ({"ratios": (2.0, -1.0)}, "ratios"), ({"weight": -1.0}, "weight"),
    ({"threshold": 1.5}, "threshold is 1.5"), ({"unlabelled_from": 0.1}, "in this order"),
    ({"balance": 0.5}, "balance"), ({"temperature": 0.0}, "temperature"), ({"pixels": 0}, "pixels"),
])
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ELNConfig(**options)
