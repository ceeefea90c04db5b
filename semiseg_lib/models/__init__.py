"""Segmentation networks: images in, logits at head resolution out.

Importing this package does not import torch: a recipe names a network without building it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"options": ["ModelConfig"], "factory": ["build", "decoder_alone"]}
)
