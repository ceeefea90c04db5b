"""DeepLabv3+: sizes, parameter counts, one image a batch, and boxes as attention."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from semiseg_lib.methods.self_correcting.method import BoxAttention
from semiseg_lib.models import ModelConfig, build
from semiseg_lib.models.deeplab import DeepLab

CLASSES = 5


def network(box_channels: int = 0, seed: int = 0, **options) -> DeepLab:
    torch.manual_seed(seed)
    options = {"encoder": "test_resnet", "decoder_width": 16, **options}
    config = ModelConfig(architecture="deeplab", **options)
    return build(config, CLASSES, box_channels, BoxAttention)


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("encoder", ["test_resnet", "tf_efficientnet_lite0"])
@pytest.mark.parametrize("size", [(64, 96), (32, 32), (75, 101)])
def test_logits_come_at_a_quarter_of_the_size(encoder, stride, size):
    model = network(encoder=encoder, output_stride=stride).eval()
    with torch.inference_mode():
        logits = model(noise(2, 3, *size))
    assert logits.shape == (2, CLASSES, -(-size[0] // 4), -(-size[1] // 4))
    assert model.stride == 4


@pytest.mark.parametrize(("stride", "given", "rates"), [
    (16, (), [6, 12, 18]), (8, (), [12, 24, 36]), (16, (2, 3, 5), [2, 3, 5]),
])
def test_the_pyramids_rates_follow_the_output_stride_where_none_are_given(stride, given, rates):
    model = network(output_stride=stride, rates=given)
    assert [branch[0].dilation[0] for branch in model.aspp.convs[1:4]] == rates


@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
def test_parameters_are_those_of_torchvisions_parts_and_a_counted_decoder(name):
    with torch.device("meta"):
        model = network(encoder=name, decoder_width=256)
        backbone = getattr(torchvision.models, name)()
        pyramid = torchvision.models.segmentation.deeplabv3.ASPP(2048, (6, 12, 18))
    count = {k: sum(p.numel() for p in m.parameters()) for k, m in model.named_children()}
    assert count["encoder"] == sum(p.numel() for p in backbone.parameters()) - 2049 * 1000
    assert count["aspp"] == sum(p.numel() for p in pyramid.parameters())
    first = 304 * 9 + 2 * 304 + 304 * 256 + 2 * 256
    second = 256 * 9 + 2 * 256 + 256 * 256 + 2 * 256
    assert count["project"] == 256 * 48 + 2 * 48
    assert (count["decoder"], count["head"]) == (first + second, 257 * CLASSES)


def test_one_image_trains_every_parameter_and_the_boxes_too():
    model = network(box_channels=3, encoder="tf_efficientnet_lite0").train()
    loss = model(noise(1, 3, 64, 64), noise(1, 3, 64, 64).round()).square().mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_images_of_a_batch_do_not_mix_at_test_time():
    model, images = network().eval(), noise(3, 3, 48, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-5)


def test_box_maps_are_asked_for_and_refused():
    images, boxes = noise(1, 3, 32, 32), torch.ones(1, 3, 32, 32)
    with pytest.raises(ValueError, match="reads images only; leave the box maps out"):
        network()(images, boxes)
    with pytest.raises(ValueError, match="also reads 3 box maps; pass box_maps"):
        network(box_channels=3)(images)


def test_attention_is_the_sigmoid_of_the_boxes_share_of_a_cell():
    attention, boxes = BoxAttention(2, 4), torch.zeros(1, 2, 16, 16)
    boxes[0, 0, :8, :4] = 1  # half of the first 8x8 cell
    nn.init.zeros_(attention.convolution.weight)
    features = torch.full((1, 4, 2, 2), 6.0)
    torch.testing.assert_close(attention(features, boxes), features / 2, rtol=0, atol=0)
    attention.convolution.weight.data[:, 0, 1, 1] = 3
    expected = torch.full((2, 2), 3.0)
    expected[0, 0] = 6 / (1 + torch.exp(torch.tensor(-1.5)))
    torch.testing.assert_close(attention(features, boxes)[0, 2], expected)


def with_attention(bias: float) -> tuple[DeepLab, DeepLab]:
    """The plain network, and the same with boxes whose attention is sigmoid(bias) everywhere."""
    boxed, plain_one = network(box_channels=3, seed=1), network(seed=2)
    plain_one.load_state_dict(boxed.state_dict(), strict=False)
    for attend in (boxed.attend_deep, boxed.attend_low):
        nn.init.zeros_(attend.convolution.weight)
        nn.init.constant_(attend.convolution.bias, bias)
    for model in (plain_one, boxed):
        model.aspp.project[3].p = 0.0
    return plain_one, boxed


def test_attention_of_one_leaves_the_network_as_it_is():
    plain_one, boxed = with_attention(bias=100.0)
    images, boxes = noise(2, 3, 64, 64), noise(2, 3, 64, 64).round()
    with torch.inference_mode():
        assert torch.equal(boxed.eval()(images, boxes), plain_one.eval()(images))


def test_attention_of_a_half_cancels_while_training():
    """Both attended features next meet a batch norm, so the start of training costs nothing.

    With the running statistics of an untrained network, which do not adapt, it does not cancel.
    """
    plain_one, boxed = with_attention(bias=0.0)
    images, boxes = noise(2, 3, 64, 64), noise(2, 3, 64, 64).round()
    apart = {}
    for training in (False, True):
        with torch.inference_mode():
            before = plain_one.train(training)(images)
            difference = boxed.train(training)(images, boxes) - before
        apart[training] = (difference.std() / (before - before.mean((2, 3), True)).std()).item()
    assert apart[True] < 0.05 < 0.3 < apart[False], apart


def test_a_box_moves_the_logits_near_it_and_no_others():
    model, images, boxes = network(box_channels=3).eval(), noise(1, 3, 64, 192), {}
    for side in ("none", "left"):
        boxes[side] = torch.zeros(1, 3, 64, 192)
    boxes["left"][:, 1, :, :16] = 1
    with torch.inference_mode():
        change = (model(images, boxes["left"]) - model(images, boxes["none"])).abs()[0].sum(0)
    assert (change[:, :4] > 0).all()
    assert (change[:, 16:] == 0).all()


def test_each_of_the_two_scales_reads_the_boxes():
    model, images = network(box_channels=3).eval(), noise(1, 3, 64, 64)
    boxes = torch.zeros(1, 3, 64, 64)
    with torch.inference_mode():
        for attend in (model.attend_deep, model.attend_low):
            before = model(images, boxes)
            attend.convolution.bias.add_(3)
            assert not torch.equal(model(images, boxes), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"norm": "group"}, '"unet" only'), ({"output_stride": 4}, "8 or 16, not 4")],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_the_encoders_learning_rate_is_handed_on():
    assert network(encoder_lr=0.1).encoder_lr == 0.1
