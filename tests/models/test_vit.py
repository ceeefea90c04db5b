"""The vision transformer: sizes, where its features lie, and boxes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from semiseg_lib.methods.self_correcting.method import BoxAttention
from semiseg_lib.models import ModelConfig, build
from semiseg_lib.models.vit import ViTSegmenter

DINO = "vit_small_patch14_dinov2.lvd142m"


def network(box_channels: int = 0, encoder: str = "test_vit") -> ViTSegmenter:
    torch.manual_seed(0)
    config = ModelConfig(architecture="vit", encoder=encoder, decoder_width=8)
    return build(config, 5, box_channels, BoxAttention)


@pytest.mark.parametrize("encoder", ["test_vit", DINO])
@pytest.mark.parametrize("size", [(64, 96), (112, 48)])
def test_logits_come_at_a_quarter_of_any_size(encoder, size):
    model = network(encoder=encoder).eval()
    with torch.inference_mode():
        logits = model(torch.rand(1, 3, *size))
    assert logits.shape == (1, 5, size[0] // 4, size[1] // 4)


def test_features_are_the_transformers_normed_patch_tokens():
    encoder = network().eval().encoder
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        tokens = encoder.network.forward_features((images - 0.5) / 0.5)
        patches = tokens[:, encoder.network.num_prefix_tokens :]
        features = encoder(images)
    torch.testing.assert_close(features, patches.transpose(1, 2).reshape(1, -1, 4, 6))


class Ramp(nn.Module):
    """Stands for an encoder: each patch's feature is the column of its centre, in pixels."""

    channels = 1

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        rows, columns = (-(-size // self.patch) for size in images.shape[-2:])
        centres = (torch.arange(columns) + 0.5) * self.patch
        return centres.expand(images.shape[0], 1, rows, columns)


@pytest.mark.parametrize("patch", [14, 16])
def test_enlarged_features_lie_where_their_patches_lie(patch):
    """A linear ramp stays exact under bilinear enlarging, if the pixels' areas are aligned."""
    model, seen = ViTSegmenter(Ramp(patch), 5, width=2).eval(), []
    model.project = nn.Identity()
    model.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with pytest.raises(RuntimeError):  # The stub has one channel, the decoder wants two.
        model(torch.zeros(1, 3, 32, 96))
    columns = seen[0][0, 0, 0]
    inner = slice(2, -4)
    torch.testing.assert_close(columns[inner], (torch.arange(24)[inner] + 0.5) * 4)


def test_boxes_change_the_logits_and_every_parameter_learns():
    model, images = network(box_channels=3), torch.rand(1, 3, 64, 64)
    none, some = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64)
    some[:, 1, :16, :16] = 1
    model(images, some).square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    with torch.inference_mode():
        change = (model.eval()(images, some) - model(images, none)).abs().sum(1)[0]
    assert change[:4, :4].min() > 0 and change[8:, 8:].max() == 0


def test_what_it_cannot_take_is_refused():
    with pytest.raises(ValueError, match="needs a vision transformer"):
        network(encoder="resnet18")
    with pytest.raises(ValueError, match="66x64; pad them to multiples of 4"):
        network()(torch.rand(1, 3, 66, 64))
    with pytest.raises(ValueError, match="reads images only"):
        network()(torch.rand(1, 3, 64, 64), torch.ones(1, 3, 64, 64))
