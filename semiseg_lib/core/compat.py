"""Make `import torchvision` work beside a PyTorch build that it was not compiled for.

On Linux, the torchvision wheel of the Python package index is compiled for CUDA. Beside a CPU-only
PyTorch its compiled operators do not load, and the import stops at the first operator that its
Python code wants to describe. Two operator *schemas* are all that the import needs; this module
declares them, only when the import failed in just that way, and imports again.

Every module that imports torchvision or timm calls :func:`make_torchvision_importable` first.

What then works: models, transforms.v2, tv_tensors, datasets, `ops.masks_to_boxes`, and timm.
What stays missing: `ops.nms`, `ops.roi_align` and torchvision.io's decoders (read with Pillow).
"""

from __future__ import annotations

import importlib
import sys

import torch

MISSING_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# A torch.library.Library withdraws its operators when it is collected, so it is kept for good.
_declared: torch.library.Library | None = None


def _says_schema_is_missing(error: RuntimeError) -> bool:
    """True when `error` says that one of the operators above does not exist."""
    names = [schema.split("(")[0] for schema in MISSING_SCHEMAS]
    return any(f"operator torchvision::{name} does not exist" in str(error) for name in names)


def make_torchvision_importable() -> bool:
    """Import torchvision; return True when its operator schemas had to be declared for that.

    A torchvision that imports by itself is left untouched. Every other error is passed on.
    """
    global _declared
    if _declared is not None:
        return True
    try:
        importlib.import_module("torchvision")
        return False
    except RuntimeError as error:
        if not _says_schema_is_missing(error):
            raise

    # The failed import left some submodules behind; the second must start from nothing.
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declared = torch.library.Library("torchvision", "DEF")
    for schema in MISSING_SCHEMAS:
        _declared.define(schema)
    importlib.import_module("torchvision")
    return True
