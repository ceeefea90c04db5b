"""One file a paper, and the one place that knows them all by name."""

from __future__ import annotations

from semiseg_lib import models
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.self_correcting import (
    Ancillary,
    AncillaryConfig,
    ConvPrimary,
    ConvPrimaryConfig,
    Primary,
    PrimaryConfig,
)
from semiseg_lib.methods.supervised import Supervised, SupervisedConfig

MethodConfig = SupervisedConfig | AncillaryConfig | PrimaryConfig | ConvPrimaryConfig

_METHODS: dict[type, type[Method]] = {
    SupervisedConfig: Supervised,
    AncillaryConfig: Ancillary,
    PrimaryConfig: Primary,
    ConvPrimaryConfig: ConvPrimary,
}


def build(config: MethodConfig, model: models.ModelConfig, num_classes: int) -> Method:
    """Build a method around a fresh network.

    Args:
        config: which method, with its options.
        model: which network.
        num_classes: C, background included.
    """
    method = _METHODS[type(config)]
    network = models.build(model, num_classes, method.box_channels(config, num_classes))
    return method.of(config, network, num_classes)
