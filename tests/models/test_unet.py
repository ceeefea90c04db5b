"""The U-Net: shapes, what it sees, and that every part of it learns."""

from __future__ import annotations

import pytest
import torch

from semiseg_lib.models import ModelConfig, build
from semiseg_lib.models.unet import UNet


def network(**options) -> UNet:
    torch.manual_seed(0)
    return UNet(5, **{"width": 4, **options})


@pytest.mark.parametrize("size", [(64, 64), (32, 48), (16, 16)])
def test_logits_come_at_half_the_size(size):
    logits = network().eval()(torch.rand(2, 3, *size))
    assert logits.shape == (2, 5, size[0] // UNet.stride, size[1] // UNet.stride)


def test_every_parameter_learns():
    model = network(box_channels=5)
    model(torch.rand(2, 3, 32, 32), torch.rand(2, 5, 32, 32).round()).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_box_maps_are_asked_for_and_refused():
    images, boxes = torch.rand(1, 3, 16, 16), torch.ones(1, 5, 16, 16)
    with pytest.raises(ValueError, match="reads images only; leave the box maps out"):
        network()(images, boxes)
    with pytest.raises(ValueError, match="also reads 5 box maps; pass box_maps"):
        network(box_channels=5)(images)


def test_a_pixel_sees_far_but_what_is_near_moves_its_logit():
    """Skip connections keep place: a dot changes the logits under it more than those far away."""
    model = network().eval()
    images = torch.full((1, 3, 64, 64), 0.5)
    dotted = images.clone()
    dotted[..., 20:22, 40:42] = 1.0
    with torch.inference_mode():
        change = (model(dotted) - model(images)).abs().sum(dim=1)[0]
    row, column = divmod(int(change.argmax()), 32)
    assert abs(row - 10) <= 2 and abs(column - 20) <= 2


def test_images_are_normalised_inside_and_the_constants_are_not_stored():
    model = network()
    assert not {"mean", "std"} & set(model.state_dict())
    seen = []
    model.stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1).expand(2, 3, 16, 16))
    assert seen[0].abs().max() < 1e-6


def test_the_default_is_small_and_box_channels_only_widen_the_stem():
    plain, boxed = (build(ModelConfig(), 5, boxes) for boxes in (0, 5))
    count = sum(p.numel() for p in plain.parameters())
    assert 150_000 < count < 300_000
    assert sum(p.numel() for p in boxed.parameters()) - count == 5 * 16 * 9


def test_images_of_a_batch_do_not_mix_at_test_time():
    model, images = network().eval(), torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-5)


def test_group_norm_does_not_depend_on_the_other_images_of_a_batch():
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for norm, alone in (("group", True), ("batch", False)):
        model = network(norm=norm).train()
        with torch.inference_mode():
            both = [model(images)[1:2], model(images[1:2])]
        assert torch.allclose(*both, rtol=1e-4, atol=1e-5) is alone
