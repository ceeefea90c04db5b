"""The parameter groups that the optimiser gets, and what a method starts from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from semiseg_lib import methods
from semiseg_lib.methods import SupervisedConfig
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.supervised.method import Supervised
from semiseg_lib.models import ModelConfig


class Pretrained(nn.Module):
    """A network with a pretrained encoder, in which one weight is frozen."""

    def __init__(self, encoder_lr: float) -> None:
        super().__init__()
        self.encoder_lr = encoder_lr
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.encoder[0].bias.requires_grad_(False)
        self.head = nn.Conv2d(4, 2, 1)


def test_a_pretrained_encoder_learns_at_its_own_rate():
    network = Pretrained(0.1)
    method = Supervised(SupervisedConfig(), network)
    groups = {group["lr_scale"]: group["params"] for group in method.parameter_groups()}
    trainable = [p for p in network.encoder.parameters() if p.requires_grad]
    assert [id(p) for p in groups.pop(0.1)] == [id(p) for p in trainable]
    assert [id(p) for p in groups.pop(1.0)] == [id(p) for p in network.head.parameters()]
    assert groups == {}


def test_without_an_encoder_of_its_own_rate_there_is_one_group_in_the_networks_order():
    torch.manual_seed(0)
    unet = methods.build(SupervisedConfig(), ModelConfig(width=4), 3)
    equal = Supervised(SupervisedConfig(), Pretrained(1.0))
    for method in (unet, equal):
        (group,) = method.parameter_groups()
        expected = [p for p in method.network.parameters() if p.requires_grad]
        assert group["lr_scale"] == 1.0
        assert [id(p) for p in group["params"]] == [id(p) for p in expected]


def test_a_method_without_an_average_is_no_start():
    method = Supervised(SupervisedConfig(), Pretrained(0.1))
    with pytest.raises(RuntimeError, match="Method has no network with a moving average"):
        method.load_start([Method()])
