"""Make `import torchvision` work with a PyTorch build that it was not compiled for.

On Linux, the torchvision wheel of the Python package index is compiled for CUDA. With a CPU-only
PyTorch its compiled operators do not load, and the import fails at the first operator that its
Python code refers to. The import needs only two operator *schemas*; if it failed for this reason,
and only then, this module declares them and imports again.

Every module that imports torchvision or timm calls :func:`make_torchvision_importable` first.

What then works: models, transforms.v2, tv_tensors, datasets, `ops.masks_to_boxes`, and timm.
Still missing: `ops.nms`, `ops.roi_align` and torchvision.io's decoders (read with Pillow).
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MISSING_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

# A garbage-collected torch.library.Library removes its operators, so keep a reference.
_declared: torch.library.Library | None = None


def _says_schema_is_missing(error: RuntimeError) -> bool:
    """Return whether `error` reports that one of the operators above does not exist."""
    names = [schema.split("(")[0] for schema in MISSING_SCHEMAS]
    return any(f"operator torchvision::{name} does not exist" in str(error) for name in names)


def make_torchvision_importable() -> bool:
    """Import torchvision; return True if its operator schemas had to be declared first.

    A torchvision that imports without help is left unchanged. Any other error is re-raised.
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

    import torch

    # The failed import leaves submodules in sys.modules; the second import must start clean.
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declared = torch.library.Library("torchvision", "DEF")
    for schema in MISSING_SCHEMAS:
        _declared.define(schema)
    importlib.import_module("torchvision")
    return True
