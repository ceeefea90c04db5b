"""What the training loop may count on, for every method that there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from every_method import CLASSES, CONFIGS, SIZE, build, read_back, run_of, store

from semiseg_lib.training.run_folder import RunFolder
from semiseg_lib.training.weights import CheckpointMismatch


def trained(config, make_batch, steps: int = 3):
    method = build(config).train()
    optimizer = torch.optim.SGD([dict(g, lr=0.05) for g in strip(method.parameter_groups())])
    for step in range(steps):
        optimizer.zero_grad()
        sum(method.losses(make_batch(step), step / steps).values()).backward()
        optimizer.step()
        method.after_step(step)
    return method


def strip(groups) -> list[dict]:
    return [{"params": group["params"]} for group in groups]


def same_weights(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


pytestmark = pytest.mark.parametrize("config", CONFIGS, ids=repr)


def test_every_method_is_registered_under_its_own_name(config):
    assert {type(c) for c in CONFIGS if c.name == config.name} == {type(config)}
    method = build(config)
    assert {"labelled"} <= method.learns_from(config) <= {"labelled", "unlabelled"}
    assert method.needs_logits <= method.learns_from(config)


def test_the_parts_whose_logits_are_read_are_the_ones_that_are_named(config, make_batch):
    method, batch = build(config).eval(), make_batch()
    expected = method.losses(batch, 0.5)
    for name in ("labelled", "unlabelled"):
        part = getattr(batch, name)
        without = replace(batch, **{name: replace(part, logits_ancillary=None)})
        if name in method.needs_logits:
            with pytest.raises(ValueError, match="ancillary logits"):
                method.losses(without, 0.5)
        else:
            again = method.losses(without, 0.5)
            assert all(torch.equal(again[term], expected[term]) for term in expected)
    if "unlabelled" not in method.learns_from(config):
        assert method.losses(replace(batch, unlabelled=None), 0.5).keys() == expected.keys()


def test_a_configuration_is_read_back_as_the_same_method(config, tmp_path):
    store(run_of(config), tmp_path)
    assert read_back(tmp_path) == run_of(config)


def test_losses_are_finite_scalars_that_teach_every_trainable_parameter(config, make_batch):
    method = build(config).train()
    losses = method.losses(make_batch(), 0.4)
    assert ("unlabelled" in losses) == ("unlabelled" in method.learns_from(config))
    assert ("correction" in losses) == (config.name == "conv-primary")
    for name, loss in losses.items():
        assert loss.shape == () and torch.isfinite(loss) and loss.requires_grad, name
        assert loss > 0, name
    sum(losses.values()).backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_optimiser_gets_each_trainable_parameter_once_and_no_other(config):
    method = build(config)
    grouped = [id(p) for group in method.parameter_groups() for p in group["params"]]
    trainable = [id(p) for p in method.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)
    assert all(group["lr_scale"] > 0 for group in method.parameter_groups())


def test_a_batch_without_a_label_gives_finite_losses_and_gradients(config, make_batch):
    method = build(config).train()
    losses = method.losses(make_batch(void=True), 0.4)
    assert all(loss.item() == 0 for name, loss in losses.items() if name != "unlabelled")
    sum(losses.values()).backward()
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.999, 1.0])
def test_losses_exist_at_both_ends_of_the_training(config, progress, make_batch):
    losses = build(config).losses(make_batch(), progress)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_the_deployed_model_gives_logits_at_the_images_size(config, make_batch):
    method, part = build(config).eval(), make_batch().labelled
    boxes = part.box_maps if method.uses_boxes else None
    with torch.inference_mode():
        logits, head = method(part.images, boxes), method.head_logits(part.images, boxes)
    assert logits.shape == (3, CLASSES, SIZE, SIZE) and logits.dtype == torch.float32
    assert head.shape == (3, CLASSES, SIZE // 2, SIZE // 2) and torch.isfinite(logits).all()


def test_what_is_deployed_is_the_average_and_takes_no_gradient(config, make_batch):
    method = trained(config, make_batch)
    part = make_batch().labelled
    boxes = part.box_maps if method.uses_boxes else None
    assert not any(p.requires_grad for p in method.average.parameters())
    before = method.eval()(part.images, boxes)
    with torch.no_grad():
        for parameter in method.network.parameters():
            parameter.zero_()
    assert torch.equal(method(part.images, boxes), before)
    assert not before.requires_grad


def test_the_deployed_model_follows_the_training(config, make_batch):
    part = make_batch().labelled
    fresh, later = build(config).eval(), trained(config, make_batch).eval()
    boxes = part.box_maps if fresh.uses_boxes else None
    assert not torch.allclose(fresh(part.images, boxes), later(part.images, boxes), atol=1e-3)


def test_the_same_seed_gives_the_same_training_bit_by_bit(config, make_batch):
    one, two = (trained(config, make_batch).state_dict() for _ in range(2))
    assert same_weights(one, two)
    assert not same_weights(build(config, seed=1).state_dict(), build(config).state_dict())


def test_losses_leave_the_batch_as_it_was(config, make_batch):
    batch, untouched = make_batch(), make_batch()
    sum(build(config).losses(batch, 0.5).values()).backward()
    for which in ("labelled", "unlabelled"):
        part = getattr(batch, which)
        for name, value in vars(getattr(untouched, which)).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(part, name), value), name


def test_weights_survive_the_run_folder_and_fit_no_other_model(config, make_batch, tmp_path):
    method, folder = trained(config, make_batch), RunFolder(tmp_path)
    folder.finish(method.state_dict(), {"history": []})
    loaded = build(config, seed=9)
    folder.load_weights(loaded)
    assert same_weights(loaded.state_dict(), method.state_dict())
    with pytest.raises(CheckpointMismatch, match=r"model\.safetensors does not fit.*config\.json"):
        folder.load_weights(build(config, width=8))


def test_the_moving_average_is_an_option_of_the_method(config, make_batch):
    """With decay 0 the deployed weights are the trained ones themselves."""
    method = trained(replace(config, ema_decay=0.0), make_batch)
    for averaged, current in zip(
        method.average.module.parameters(), method.network.parameters(), strict=True
    ):
        assert torch.equal(averaged, current)
