"""Every method with options that a tiny network on tiny images can learn something from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from semiseg_lib import methods, recipes
from semiseg_lib.batches.options import THREE_BOXES, CutMixConfig, StrongConfig
from semiseg_lib.experiments import Identity, Run
from semiseg_lib.experiments.trained import read_run
from semiseg_lib.methods import (
    AncillaryConfig,
    CACConfig,
    ConvPrimaryConfig,
    CPSConfig,
    ELNConfig,
    FixMatchConfig,
    PrimaryConfig,
    PseudoLabelConfig,
    S4MCConfig,
    SupervisedConfig,
)
from semiseg_lib.models import ModelConfig
from semiseg_lib.training.run_folder import CONFIG, RunFolder

LEARNS_ALL = {  # a fresh network is never sure, and an image of 32 pixels has few cells
    FixMatchConfig: FixMatchConfig(threshold=0.0),
    CACConfig: CACConfig(threshold=0.0, crop=0.5, stride=4, negatives=50, channels=8),
    ELNConfig: ELNConfig(
        threshold=0.0, ratios=(0.0, 0.0), auxiliary_from=0.0, unlabelled_from=0.0,
        error=ModelConfig(width=4), pixels=50, channels=8,
    ),
}
KINDS = [one.options for one in methods.declared()]
CAC, ELN = LEARNS_ALL[CACConfig], LEARNS_ALL[ELNConfig]
CONFIGS = [LEARNS_ALL.get(kind) or kind() for kind in KINDS] + [
    FixMatchConfig(threshold=0.0, cutmix=None, views=2, feature_dropout=0.5),
    FixMatchConfig(weight=0.0),
    CPSConfig(cutmix=THREE_BOXES),
    CPSConfig(cutmix=THREE_BOXES, label_passes="eval"),
    PseudoLabelConfig(stage="fine-tune"),
    SupervisedConfig(strong=StrongConfig(), cutmix=CutMixConfig(chance=1.0)),
    PrimaryConfig(correction="none"),
    PrimaryConfig(constrain=True),
    AncillaryConfig(boxes="heat map"),
    ConvPrimaryConfig(stage="start", width=8),
    ConvPrimaryConfig(through=False, width=8),
    replace(CAC, directional=False, bank=0, crop=1.0),
    replace(CAC, filtered=False, negatives=1_000),
    CACConfig(weight=0.0, crop=0.5, stride=4),
    replace(ELN, contrast=0.0, ratios=(0.0,), reset=2),
    replace(ELN, weight=0.0),
    S4MCConfig(strong=None),
    S4MCConfig(indicator_of="unmixed", indicator="entropy", neighbours=8, support=2),
    S4MCConfig(beta=0.0, drop=0.0, cutmix=None, by_kept=False),
    S4MCConfig(weight=0.0),
]
CLASSES, SIZE = 3, 32


def run_of(config) -> Run:
    """Return a run of the method, as a value; it reads no stored logits."""
    smoke = recipes.load("smoke")
    return Run.of(smoke, 3, config, smoke.train_unlabelled)


def store(run: Run, folder: Path) -> None:
    """Write what a run's folder says of it, for images that nobody looks at."""
    identity = Identity(run, ("paper", "circle", "square"), {"labelled": 64 * "0"})
    RunFolder(folder, identity.description, identity.parents).begin({})


def read_back(folder: Path) -> Run:
    """Return the run that a folder describes."""
    return read_run(RunFolder.open(folder).description, folder / CONFIG)


def build(config, seed: int = 0, width: int = 4) -> methods.Method:
    """The method around a small U-Net."""
    torch.manual_seed(seed)
    method = methods.build(config, ModelConfig(width=width), CLASSES)
    for name, parameter in method.named_parameters():
        if name.endswith("head.bias"):  # or a fresh network may call every pixel one class
            torch.nn.init.zeros_(parameter)
    return method
