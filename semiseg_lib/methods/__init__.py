"""One file a paper, and the one place that knows them all by name."""

from __future__ import annotations

from typing import Annotated

from pydantic import SerializeAsAny, WrapValidator

from semiseg_lib import models
from semiseg_lib.methods.base import Method
from semiseg_lib.methods.cac import CACConfig
from semiseg_lib.methods.cac.method import CAC
from semiseg_lib.methods.cps import CPS, CPSConfig
from semiseg_lib.methods.eln import ELNConfig
from semiseg_lib.methods.eln.method import ELN
from semiseg_lib.methods.fixmatch import FixMatch, FixMatchConfig
from semiseg_lib.methods.mean_teacher import MeanTeacher, MeanTeacherConfig
from semiseg_lib.methods.pseudo_label import PseudoLabel, PseudoLabelConfig
from semiseg_lib.methods.registry import UnknownMethod, kind, read, register, ship
from semiseg_lib.methods.s4mc import S4MCConfig
from semiseg_lib.methods.s4mc.method import S4MC
from semiseg_lib.methods.self_correcting import (
    Ancillary,
    AncillaryConfig,
    ConvPrimary,
    ConvPrimaryConfig,
    Primary,
    PrimaryConfig,
)
from semiseg_lib.methods.supervised import Supervised, SupervisedConfig

__all__ = [
    "AncillaryConfig", "AnyMethodConfig", "CACConfig", "CPSConfig", "ConvPrimaryConfig",
    "ELNConfig", "FixMatchConfig", "MeanTeacherConfig", "MethodConfig", "PrimaryConfig",
    "PseudoLabelConfig", "S4MCConfig", "SupervisedConfig", "UnknownMethod", "UnlabelledConfig",
    "build", "kind", "register",
]

UnlabelledConfig = (
    FixMatchConfig | CPSConfig | CACConfig | ELNConfig | S4MCConfig | MeanTeacherConfig
)
"""Methods that learn from labelled and unlabelled images together."""

MethodConfig = (
    SupervisedConfig | AncillaryConfig | PrimaryConfig | ConvPrimaryConfig | PseudoLabelConfig
    | UnlabelledConfig
)

_METHODS: dict[type, type[Method]] = {
    SupervisedConfig: Supervised,
    AncillaryConfig: Ancillary,
    PrimaryConfig: Primary,
    ConvPrimaryConfig: ConvPrimary,
    PseudoLabelConfig: PseudoLabel,
    FixMatchConfig: FixMatch,
    CPSConfig: CPS,
    CACConfig: CAC,
    ELNConfig: ELN,
    S4MCConfig: S4MC,
    MeanTeacherConfig: MeanTeacher,
}
ship(_METHODS)

AnyMethodConfig = Annotated[MethodConfig, WrapValidator(read), SerializeAsAny()]
"""Options of a method in this folder, or of one that was registered."""


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
