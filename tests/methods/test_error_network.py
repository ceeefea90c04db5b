"""The error-localisation network: what it reads, what it may not move, which networks serve."""

from __future__ import annotations

import math

import pytest
import torch

from semiseg_lib.methods.eln.error_network import ErrorNetwork, entropy
from semiseg_lib.models import ModelConfig
from semiseg_lib.models.encoders import PACKAGE_ENCODER, package_weights

CLASSES = 3
UNET = ModelConfig(width=4)
DEEPLAB = ModelConfig(architecture="deeplab", encoder="test_resnet", decoder_width=8)
BOTH = pytest.mark.parametrize("config", [UNET, DEEPLAB], ids=["unet", "deeplab"])


def inputs(size: int = 32, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(2, 3, size, size, generator=generator, requires_grad=True)
    logits = torch.randn(2, CLASSES, size // 2, size // 2, generator=generator, requires_grad=True)
    return images, logits


def built(config: ModelConfig) -> ErrorNetwork:
    torch.manual_seed(0)
    return ErrorNetwork(config, CLASSES)


@BOTH
def test_it_gives_one_logit_a_pixel_and_no_gradient_to_the_prediction(config):
    network, (images, logits) = built(config).train(), inputs()
    right = network(images, logits)
    assert right.shape == (2, 32, 32) and right.dtype == torch.float32
    right.square().sum().backward()
    assert logits.grad is None
    first, *_, last = (p.grad for p in network.parameters())
    assert first.any() and last.any()


@BOTH
def test_it_reads_the_image_and_the_logits(config):
    network, (images, logits) = built(config).eval(), inputs()
    other_images, other_logits = inputs(seed=1)
    before = network(images, logits)
    assert not torch.allclose(network(other_images, logits), before, atol=1e-6)
    assert not torch.allclose(network(images, other_logits), before, atol=1e-6)
    large = torch.nn.functional.interpolate(
        logits, scale_factor=2, mode="bilinear", align_corners=False
    )
    torch.testing.assert_close(network(images, large), before)


def test_entropy_is_largest_where_all_classes_are_as_likely():
    logits = torch.tensor([[0.0, 0, 0], [50, 0, 0], [0, 0, -50]]).view(3, 3, 1, 1)
    expected = torch.tensor([math.log(3), 0, math.log(2)]).view(3, 1, 1, 1)
    torch.testing.assert_close(entropy(logits), expected, atol=1e-6, rtol=1e-6)
    one = torch.randn(4, generator=torch.Generator().manual_seed(0)).double()
    shares = [math.exp(x) / sum(math.exp(y) for y in one.tolist()) for x in one.tolist()]
    by_hand = -sum(share * math.log(share) for share in shares)
    assert entropy(one.view(1, 4, 1, 1)).item() == pytest.approx(by_hand, rel=1e-6)


def test_the_entropy_is_among_what_the_network_reads():
    """Logits moved by a constant mean the same; only their channels change, not the entropy."""
    network, (images, logits) = built(UNET).eval(), inputs()
    seen = []
    network.network.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    network(images, logits)
    network(images, logits + 5)
    first, second = seen
    assert first.shape == (2, CLASSES + 1, 32, 32)
    torch.testing.assert_close(first[:, :1], second[:, :1])
    torch.testing.assert_close(first[:, 1:] + 5, second[:, 1:])


def test_pretrained_weights_are_repeated_for_the_further_channels():
    """timm's rule: the colours' weights in turn, so much weaker that the sum stays as it was."""
    config = ModelConfig(
        architecture="deeplab", encoder=PACKAGE_ENCODER, weights="package", decoder_width=8
    )
    network = ErrorNetwork(config, CLASSES).network.encoder.network
    colours = package_weights()["conv_stem.weight"]
    channels = 3 + CLASSES + 1
    assert network.conv_stem.weight.shape[1] == channels
    for channel in range(channels):
        torch.testing.assert_close(
            network.conv_stem.weight[:, channel], colours[:, channel % 3] * 3 / channels
        )


@pytest.mark.parametrize("architecture", ["vit", "swiftnet", "classifier"])
def test_a_network_that_reads_images_only_is_refused(architecture):
    with pytest.raises(ValueError, match=f"error.architecture.*not '{architecture}'"):
        ErrorNetwork(ModelConfig(architecture=architecture, encoder="test_vit"), CLASSES)
