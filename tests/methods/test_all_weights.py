"""Whether each step's losses depend on every weight: what several processes need to know."""

from __future__ import annotations

import pytest
import torch
from every_method import CONFIGS, build

from semiseg_lib import models
from semiseg_lib.methods.self_correcting.method import BoxAttention
from semiseg_lib.models import ModelConfig

CLAIMING = [config for config in CONFIGS if build(config).uses_all_weights]


def left_out(config, make_batch, progress: float, void: bool = False) -> list[str]:
    """The trained weights that no loss of a step depends on."""
    method = build(config).train()
    sum(method.losses(make_batch(void=void), progress).values()).backward()
    return [name for name, one in method.named_parameters()
            if one.requires_grad and one.grad is None]


@pytest.mark.parametrize("void", [False, True], ids=["labelled", "void"])
@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("config", CLAIMING, ids=repr)
def test_a_method_that_claims_to_use_all_weights_does_so_in_every_step(
    config, make_batch, progress, void
):
    assert left_out(config, make_batch, progress, void) == []


def test_the_claim_is_made_where_it_holds_and_not_where_weights_come_in_later(make_batch):
    silent = {config.name for config in CONFIGS} - {config.name for config in CLAIMING}
    assert silent == {"eln", "cac"}
    (eln,) = [config for config in CONFIGS if config.name == "eln" and config.weight == 0]
    late = type(eln)(auxiliary_from=0.5, unlabelled_from=0.5, ratios=eln.ratios, error=eln.error)
    assert left_out(late, make_batch, 0.1)


@pytest.mark.parametrize("boxes", [0, 3])
@pytest.mark.parametrize("network", [
    ModelConfig(width=4), ModelConfig("deeplab", encoder="tf_efficientnet_lite0"),
    ModelConfig("deeplab", encoder="resnet50", output_stride=8),
    ModelConfig("vit", encoder="vit_tiny_patch16_224"),
    ModelConfig("swiftnet", encoder="resnet18"),
    ModelConfig("classifier", encoder="resnet18"),
], ids=lambda one: f"{one.architecture} {one.encoder}")
def test_every_network_uses_all_its_weights(network, boxes):
    if boxes and network.architecture in ("swiftnet", "classifier"):
        pytest.skip("sees images only")
    with torch.device("meta"):
        built = models.build(network, 3, boxes, BoxAttention)
        images, maps = torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 64, 64)
    built(*([images, maps] if boxes else [images])).sum().backward()
    assert [name for name, one in built.named_parameters() if one.grad is None] == []
