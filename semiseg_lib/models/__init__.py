"""Segmentation networks: images in, logits at head resolution out.

Importing this package does not import torch: a recipe names a network without building it.
"""

from semiseg_lib.core import lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
