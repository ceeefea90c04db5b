"""Segmentation networks: images in, logits at head resolution out.

Importing this package does not import torch: a recipe names a network without building it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
