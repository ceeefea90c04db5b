"""One file a paper, and the one place that knows them all by name."""

from __future__ import annotations

from semiseg_lib import models
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.cps import CPS, CPSConfig
from semiseg_lib.methods.fixmatch import FixMatch, FixMatchConfig
from semiseg_lib.methods.pseudo_label import PseudoLabel, PseudoLabelConfig
from semiseg_lib.methods.self_correcting import (
    Ancillary,
    AncillaryConfig,
    ConvPrimary,
    ConvPrimaryConfig,
    Primary,
    PrimaryConfig,
)
from semiseg_lib.methods.supervised import Supervised, SupervisedConfig

MethodConfig = (
    SupervisedConfig | AncillaryConfig | PrimaryConfig | ConvPrimaryConfig
    | PseudoLabelConfig | FixMatchConfig | CPSConfig
)

_METHODS: dict[type, type[Method]] = {
    SupervisedConfig: Supervised,
    AncillaryConfig: Ancillary,
    PrimaryConfig: Primary,
    ConvPrimaryConfig: ConvPrimary,
    PseudoLabelConfig: PseudoLabel,
    FixMatchConfig: FixMatch,
    CPSConfig: CPS,
}


def build(config: MethodConfig, model: models.ModelConfig, num_classes: int) -> Method:
    """Build a method around fresh networks.

    Args:
        config: which method, with its options.
        model: which network.
        num_classes: C, background included.
    """
    method = kind(config)
    box_channels = method.box_channels(config, num_classes)
    return method.of(
        config, lambda: models.build(model, num_classes, box_channels), num_classes
    )


def kind(config: MethodConfig) -> type[Method]:
    """The class of the method that these are options of."""
    return _METHODS[type(config)]
